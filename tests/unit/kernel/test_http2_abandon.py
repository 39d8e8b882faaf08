"""HTTP/2 sessions whose connection is closed by their own callbacks: nothing is touched that was let go of."""

import pytest
from tests.unit.kernel.test_http2_session import OK, REQUEST, Pair

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.epoll import Poller
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http2_options import Http2Options
from proxeny.kernel.http2_stream import Http2Stream


@pytest.fixture
def pair():
    poller = Poller()
    poller.error_hook = lambda _watcher, error: pytest.fail(repr(error))
    yield Pair(poller, Http2Options(), Http2Options(client=True))
    poller.close()


@pytest.mark.parametrize("event", ["headers", "sent", "closed"])
@pytest.mark.parametrize("closes", [True, False], ids=["closed", "abandoned"])
def test_by_the_server(pair, event, closes):
    server = pair.server
    junk = []

    def act(what, stream, *rest):
        if what == "headers":
            server.submit_response(stream, HeaderMap(OK), False)
            server.send_data(stream, Buffer(b"x" * 1000), True)
        if what == event and not junk:
            server.notes.clear()
            if closes:
                server.connection.close_stream()
            server.abandon()
            server.abandon()
            # Whoever still looks at the streams looks at these.
            junk.extend(Http2Stream() for _ in range(100))

    server.act = act
    for _ in range(5):
        pair.request()
    pair.run()
    assert junk
    assert server.active == 0
    assert server.names() == []


@pytest.mark.parametrize("event", ["headers", "data", "sent", "below"])
def test_by_the_client(pair, event):
    client, server = pair.client, pair.server
    junk = []

    def serve(what, stream, *rest):
        if what == "headers":
            server.submit_response(stream, HeaderMap(OK), False)
            server.send_data(stream, Buffer(b"y" * 1000), True)

    def act(what, *rest):
        if what == event and not junk:
            client.notes.clear()
            client.connection.close_stream()
            client.abandon()
            junk.extend(Http2Stream() for _ in range(100))

    server.act = serve
    client.act = act
    client.options.stream_buffer_limit = 1000
    for _ in range(5):
        stream = pair.request(REQUEST, False)
        client.send_data(stream, Buffer(b"z" * 100_000), True)
    pair.run()
    assert junk
    assert client.active == 0
    assert client.names() == []
    # Nothing is said of the failure: the connection is closed.
    assert "violated" not in client.names()
