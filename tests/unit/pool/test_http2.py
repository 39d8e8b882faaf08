"""The HTTP/2 pool on real sockets, towards a server of the library h2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h2.events
import pytest
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from tests.unit.pool.conftest import Request, World
from tests.unit.pool.http2_upstream import Http2Upstream

from proxeny.http.codec import StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.pool.failure import PoolFailureReason

NAME = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
EMPTY = {"ready": 0, "busy": 0, "connecting": 0, "pending": 0}


def http2(common: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    typed = {
        "@type": f"type.googleapis.com/{NAME}",
        "explicit_http_config": {"http2_protocol_options": options},
        "common_http_protocol_options": common or {},
    }
    return {"typed_extension_protocol_options": {NAME: typed}}


@pytest.fixture
def h2world(world: World) -> Iterator[World]:
    world.make_cluster(**http2())
    yield world


def test_requests_share_a_connection(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    requests = [h2world.ask() for _ in range(3)]
    upstream.wait(3)
    assert {index for index, _, _ in upstream.requests} == {0}
    assert upstream.requests[0][2] == {b":method": b"GET", b":path": b"/", b":authority": b"a", b":scheme": b"http"}
    for i in (1, 0, 2):
        upstream.answer(i, body=b"%d" % i)
    upstream.until(lambda: all(request.done for request in requests))
    assert [request.body for request in requests] == [b"0", b"1", b"2"]
    assert h2world.stats("upstream_cx_total", "upstream_cx_http2_total", "upstream_rq_total") == (1, 1, 3)
    assert h2world.stats("upstream_rq_active", "upstream_rq_pending_total", "upstream_rq_pending_active") == (0, 3, 0)
    assert h2world.pool_state() == {**EMPTY, "ready": 1}
    last = h2world.ask()
    assert h2world.handle is None
    upstream.wait(4)
    upstream.answer(3)
    upstream.until(lambda: last.done)
    assert last.codec_client.protocol == "HTTP/2"


def test_request_and_response_with_bodies_and_trailers(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    request = h2world.ask(Request(head_only=False))
    h2world.until(lambda: request.encoder is not None)
    request.encoder.encode_data(Buffer(b"x" * 100_000), False)
    request.encoder.encode_trailers(HeaderMap([(b"t", b"1")]))
    upstream.until(lambda: (0, 1) in upstream.ended)
    assert len(upstream.bodies[0, 1]) == 100_000
    assert upstream.trailers[0, 1] == {b"t": b"1"}
    upstream.answer(0, body=b"hello", trailers=[(b"grpc-status", b"0")])
    upstream.until(lambda: request.done)
    assert (request.status, request.body, request.trailers) == (b"200", b"hello", [(b"grpc-status", b"0")])
    assert h2world.stat("upstream_rq_active") == 0
    assert request.encoder.bytes_sent > 100_000


def test_the_peers_limit_of_streams_is_kept(h2world: World) -> None:
    upstream = Http2Upstream(h2world, max_concurrent_streams=2)
    first = h2world.ask()
    upstream.wait(1)
    upstream.answer(0)
    upstream.until(lambda: first.done)
    requests = [h2world.ask() for _ in range(3)]
    upstream.wait(4)
    assert sorted(index for index, _, _ in upstream.requests[1:]) == [0, 0, 1]
    assert h2world.pool_state() == {**EMPTY, "busy": 1, "ready": 1}
    for i in range(1, 4):
        upstream.answer(i)
    upstream.until(lambda: all(request.done for request in requests))
    assert h2world.stats("upstream_rq_active", "upstream_cx_total") == (0, 2)
    assert h2world.pool_state() == {**EMPTY, "ready": 2}


def test_our_own_limit_opens_connections(world: World) -> None:
    world.make_cluster(**http2(max_concurrent_streams=1))
    upstream = Http2Upstream(world)
    requests = [world.ask() for _ in range(3)]
    upstream.wait(3)
    assert sorted(index for index, _, _ in upstream.requests) == [0, 1, 2]
    assert world.pool_state() == {**EMPTY, "busy": 3}
    for i in range(3):
        upstream.answer(i)
    upstream.until(lambda: all(request.done for request in requests))
    assert world.pool_state() == {**EMPTY, "ready": 3}


def test_max_requests_per_connection(world: World) -> None:
    world.make_cluster(**http2({"max_requests_per_connection": 2}))
    upstream = Http2Upstream(world)
    requests = [world.ask() for _ in range(3)]
    upstream.wait(3)
    assert [index for index, _, _ in upstream.requests].count(0) == 2
    assert world.stat("upstream_cx_max_requests") == 1
    for i in range(3):
        upstream.answer(i)
    upstream.until(lambda: all(request.done for request in requests) and upstream.world.upstream.closed[0])
    assert world.pool_state() == {**EMPTY, "ready": 1}


def test_goaway_refuses_what_was_not_begun(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    requests = [h2world.ask() for _ in range(2)]
    upstream.wait(2)
    side = upstream.sides[0]
    side.close_connection(0, last_stream_id=1)
    h2world.upstream.send(0, side.data_to_send())
    upstream.until(lambda: requests[1].done)
    assert requests[1].reset == (StreamResetReason.REMOTE_REFUSED_STREAM_RESET, "")
    assert not requests[0].done
    assert h2world.stats("upstream_cx_close_notify", "upstream_rq_rx_reset") == (1, 0)
    assert h2world.pool_state() == {**EMPTY, "busy": 1}
    again = h2world.ask()
    h2world.until(lambda: len(h2world.upstream.received) == 2)
    # The library's connection is closed for it: frames by hand. HEADERS with :status 200 and END_STREAM.
    h2world.upstream.send(0, b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88")
    h2world.until(lambda: requests[0].done)
    assert requests[0].status == b"200"
    h2world.until(lambda: h2world.upstream.closed[0])
    assert not again.done


def test_goaway_closes_an_idle_connection(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    request = h2world.ask()
    upstream.wait(1)
    upstream.answer(0)
    upstream.until(lambda: request.done)
    upstream.sides[0].close_connection(0)
    upstream.flush(0)
    h2world.until(lambda: h2world.upstream.closed[0])
    assert h2world.pool_state() == EMPTY
    assert h2world.stats("upstream_cx_close_notify", "upstream_cx_destroy_local") == (1, 1)


@pytest.mark.parametrize(
    ("code", "reason", "counted"),
    [
        (7, StreamResetReason.REMOTE_REFUSED_STREAM_RESET, 0),
        (10, StreamResetReason.CONNECT_ERROR, 0),
        (2, StreamResetReason.REMOTE_RESET, 1),
        (0, StreamResetReason.REMOTE_RESET, 1),
    ],
)
def test_a_reset_by_the_peer(h2world: World, code: int, reason: StreamResetReason, counted: int) -> None:
    upstream = Http2Upstream(h2world)
    request = h2world.ask()
    upstream.wait(1)
    upstream.sides[0].reset_stream(1, code)
    upstream.flush(0)
    h2world.until(lambda: request.done)
    assert request.reset == (reason, "")
    assert h2world.stats("upstream_rq_rx_reset", "upstream_rq_active", "upstream_cx_active") == (counted, 0, 1)


def test_a_reset_of_ours(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    request = h2world.ask()
    upstream.wait(1)
    request.encoder.stream.reset_stream(StreamResetReason.LOCAL_RESET)
    assert request.reset == (StreamResetReason.LOCAL_RESET, "")
    upstream.until(lambda: (0, 1) in upstream.resets)
    assert upstream.resets == {(0, 1): 2}
    assert h2world.stats("upstream_rq_tx_reset", "upstream_rq_active", "upstream_cx_active") == (1, 0, 1)


def test_a_close_ends_all_requests(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    requests = [h2world.ask() for _ in range(2)]
    upstream.wait(2)
    h2world.upstream.finish(0)
    upstream.until(lambda: all(request.done for request in requests))
    assert [request.reset for request in requests] == [(StreamResetReason.CONNECTION_TERMINATION, "")] * 2
    assert h2world.stats("upstream_rq_pending_failure_eject", "upstream_cx_destroy_remote_with_active_rq") == (2, 1)
    assert h2world.pool_state() == EMPTY


def test_a_violation_ends_the_connection(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    request = h2world.ask()
    upstream.wait(1)
    h2world.upstream.send(0, b"\x00\x00\x01\x01\x05\x00\x00\x00\x02\x88")
    upstream.until(lambda: request.done)
    assert request.reset is not None and request.reset[0] is StreamResetReason.PROTOCOL_ERROR
    assert h2world.stats("upstream_cx_protocol_error", "upstream_cx_active", "upstream_rq_tx_reset") == (1, 0, 1)


def test_a_refused_connection_fails_who_waits(world: World) -> None:
    world.make_cluster(port=1, **http2())
    requests = [world.ask() for _ in range(2)]
    world.until(lambda: all(request.done for request in requests))
    assert {request.failure[0] for request in requests if request.failure} == {
        PoolFailureReason.REMOTE_CONNECTION_FAILURE
    }
    assert world.stats("upstream_cx_connect_fail", "upstream_cx_http2_total") == (1, 1)


def test_a_retry_from_within_a_close_gets_a_fresh_connection(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    again: list[Request] = []

    class Retrying(Request):
        def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
            super().on_reset_stream(reason, details)
            again.append(h2world.ask())

    request = h2world.ask(Retrying())
    upstream.wait(1)
    h2world.upstream.finish(0)
    upstream.wait(2)
    assert request.done and upstream.requests[1][0] == 1
    upstream.answer(1)
    upstream.until(lambda: again[0].done)


def test_idle_timeout(world: World) -> None:
    world.make_cluster(**http2({"idle_timeout": "0.05s"}))
    upstream = Http2Upstream(world)
    request = world.ask()
    upstream.wait(1)
    upstream.answer(0)
    upstream.until(lambda: request.done)
    world.until(lambda: world.upstream.closed[0])
    assert world.stat("upstream_cx_idle_timeout") == 1


def test_draining_waits_for_requests(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    request = h2world.ask()
    upstream.wait(1)
    h2world.cluster.http_pool(h2world.host, 0).drain()  # type: ignore[union-attr]
    assert not request.done
    upstream.answer(0)
    upstream.until(lambda: request.done)
    h2world.until(lambda: h2world.upstream.closed[0])


def test_a_body_waits_for_the_peers_window(world: World) -> None:
    # So much may wait, too.
    world.make_cluster(**http2(initial_stream_window_size=65535))
    upstream = Http2Upstream(world)
    upstream.acknowledges = False

    class Watching(Request):
        events: list[str]

        def on_above_write_buffer_high_watermark(self) -> None:
            self.events.append("above")

        def on_below_write_buffer_low_watermark(self) -> None:
            self.events.append("below")

    request = Watching(head_only=False)
    request.events = []
    world.ask(request)
    upstream.wait(1)
    request.encoder.encode_data(Buffer(b"x" * (300_000)), True)
    assert set(request.events) == {"above"}
    upstream.until(lambda: len(upstream.bodies.get((0, 1), b"")) == 65535)
    side = upstream.sides[0]
    side.increment_flow_control_window(1 << 20)
    side.increment_flow_control_window(1 << 20, 1)
    upstream.flush(0)
    upstream.until(lambda: (0, 1) in upstream.ended)
    # The stream's and the connection's: as many as there were.
    assert request.events.count("above") == request.events.count("below")
    assert len(upstream.bodies[0, 1]) == 300_000


def test_informational_responses(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    interim: list[Any] = []

    class Hearing(Request):
        def decode_1xx_headers(self, headers: HeaderMap) -> None:
            interim.append(headers.get(b":status"))

    request = h2world.ask(Hearing())
    upstream.wait(1)
    upstream.sides[0].send_headers(1, [(b":status", b"103"), (b"link", b"x")])
    upstream.answer(0)
    upstream.until(lambda: request.done)
    assert interim == [b"103"]
    assert request.status == b"200"


def test_a_ping_after_a_silence(world: World) -> None:
    world.make_cluster(**http2(connection_keepalive={"timeout": "5s", "connection_idle_interval": "0.01s"}))
    upstream = Http2Upstream(world)
    for nth in range(2):
        request = world.ask()
        upstream.wait(nth + 1)
        upstream.answer(nth)
        upstream.until(lambda request=request: request.done)  # type: ignore[misc]
        silent_since = world.dispatcher.now_ms
        world.until(lambda since=silent_since: world.dispatcher.now_ms > since + 20)  # type: ignore[misc]
    upstream.until(lambda: any(isinstance(event, h2.events.PingReceived) for event in upstream.events))
    assert world.stat("upstream_cx_total") == 1


def test_an_unanswered_ping_ends_the_connection(world: World) -> None:
    world.make_cluster(**http2(connection_keepalive={"timeout": "0.02s", "interval": "0.02s", "interval_jitter": {}}))
    request = world.ask()
    # An upstream that reads, and says nothing.
    world.until(lambda: request.done)
    assert request.reset == (StreamResetReason.CONNECTION_TERMINATION, "")
    assert world.stats("upstream_cx_destroy_local", "upstream_cx_active") == (1, 0)


def test_a_goaway_that_crosses_a_request(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    first = h2world.ask()
    upstream.wait(1)
    upstream.answer(0)
    upstream.until(lambda: first.done)
    upstream.sides[0].close_connection(0, last_stream_id=1)
    upstream.flush(0)
    # The request is begun before the GOAWAY is read, and sent afterwards.
    crossing = h2world.ask()
    h2world.until(lambda: crossing.done)
    assert crossing.reset == (StreamResetReason.REMOTE_REFUSED_STREAM_RESET, "")
    h2world.until(lambda: h2world.upstream.closed[0])
    assert h2world.pool_state() == EMPTY


def test_a_request_that_is_given_up_at_once(h2world: World) -> None:
    upstream = Http2Upstream(h2world)
    first = h2world.ask()
    upstream.wait(1)
    upstream.answer(0)
    upstream.until(lambda: first.done)
    given_up = h2world.ask()
    given_up.encoder.stream.reset_stream(StreamResetReason.LOCAL_RESET)
    last = h2world.ask()
    upstream.wait(3)
    upstream.answer(2)
    upstream.until(lambda: last.done)
    assert (0, 3) in upstream.resets
    assert (last.status, h2world.stat("upstream_rq_active")) == (b"200", 0)
    assert last.codec_client.codec.active == 0


def test_a_client_that_is_closed_from_within_its_codec(h2world: World) -> None:
    upstream = Http2Upstream(h2world)

    class Closing(Request):
        def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
            super().decode_headers(headers, end_stream)
            self.codec_client.close()

    closing, other = h2world.ask(Closing()), h2world.ask()
    upstream.wait(2)
    upstream.answer(0)
    upstream.until(lambda: other.done)
    assert (closing.body, closing.complete) == (b"ok", True)
    assert other.reset == (StreamResetReason.CONNECTION_TERMINATION, "")
    assert h2world.pool_state() == EMPTY
