"""HTTP/2 sessions, server against client, over a socket pair: streams, flow control, resets, floods, errors."""

import socket
import struct
from typing import Any

import pytest

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.epoll import Poller
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http2_options import Http2Options
from proxeny.kernel.http2_session import Http2Session
from proxeny.kernel.http2_stream import Http2Stream
from proxeny.kernel.stream import Stream

REQUEST = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))
POST = ((b":method", b"POST"), *REQUEST[1:])
OK = ((b":status", b"200"),)
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
CANCEL = 8


class Session(Http2Session):
    """Notes what it is told; `act` answers."""

    def __init__(self, connection: Stream, options: Http2Options) -> None:
        self.notes: list[Any] = []
        self.act: Any = None

    def note(self, *what: Any) -> None:
        self.notes.append(what)
        if self.act is not None:
            self.act(*what)

    def begin_stream(self, stream: Http2Stream) -> None:
        stream.owner = "owner"

    def headers_received(self, stream: Http2Stream, headers: HeaderMap, end_stream: bool) -> None:
        self.note("headers", stream, headers, end_stream)

    def data_received(self, stream: Http2Stream, data: Buffer, end_stream: bool) -> None:
        self.note("data", stream, data.take(), end_stream)

    def trailers_received(self, stream: Http2Stream, trailers: HeaderMap) -> None:
        self.note("trailers", stream, trailers)

    def stream_closed(self, stream: Http2Stream, error_code: int) -> None:
        self.note("closed", stream, error_code)

    def end_stream_sent(self, stream: Http2Stream) -> None:
        self.note("sent", stream)

    def stream_above(self, stream: Http2Stream) -> None:
        self.note("above", stream)

    def stream_below(self, stream: Http2Stream) -> None:
        self.note("below", stream)

    def goaway_received(self, last_stream_id: int, error_code: int) -> None:
        self.note("goaway", last_stream_id, error_code)

    def ping_answered(self) -> None:
        self.note("ping")

    def violated(self) -> None:
        self.note("violated")

    def names(self) -> list[str]:
        return [note[0] for note in self.notes]

    def of(self, name: str) -> list[Any]:
        return [note for note in self.notes if note[0] == name]


class Peer(Stream):
    session: Session

    def on_readable(self, eof: bool) -> None:
        self.session.receive(self.read_buffer)

    def on_handler_error(self, error: Exception) -> None:
        self.error = error


class Pair:
    """A client and a server that talk to each other."""

    def __init__(self, poller: Poller, server: Http2Options, client: Http2Options) -> None:
        self.poller = poller
        ends = socket.socketpair()
        self.sessions = []
        for end, options in zip(ends, (server, client), strict=True):
            end.setblocking(False)
            stream = Peer()
            stream.open(poller, end.detach())
            stream.session = Session(stream, options)
            self.sessions.append(stream.session)
        self.server, self.client = self.sessions
        for session in self.sessions:
            session.flush()

    def run(self) -> None:
        """Until nothing moves any more."""
        while self.poller.wait(0) or self.poller.statistics()["ready"]:
            pass

    def request(self, fields: Any = REQUEST, end_stream: bool = True) -> Http2Stream:
        stream = self.client.submit_request("mine", HeaderMap(fields), end_stream)
        assert stream is not None
        return stream


@pytest.fixture
def poller():
    made = Poller()
    made.error_hook = lambda _watcher, error: pytest.fail(repr(error))
    yield made
    made.close()


@pytest.fixture
def pair(poller):
    return Pair(poller, Http2Options(), Http2Options(client=True))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class Raw:
    """A server session and the plain socket of its peer."""

    def __init__(self, poller: Poller, options: Http2Options) -> None:
        self.poller = poller
        mine, self.socket = socket.socketpair()
        mine.setblocking(False)
        stream = Peer()
        stream.open(poller, mine.detach())
        self.server = stream.session = Session(stream, options)
        self.socket.sendall(MAGIC + frame(SETTINGS, 0, 0))
        self.turn()

    def turn(self) -> None:
        while self.poller.wait(0) or self.poller.statistics()["ready"]:
            pass

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)
        self.turn()


@pytest.fixture
def raw(poller):
    made = Raw(poller, Http2Options())
    yield made
    made.socket.close()


HEAD = b"\x82\x86\x84\x01\x01a"  # GET http / a


class TestMessages:
    def test_request_and_response(self, pair):
        def answer(what, stream, *rest):
            if what == "headers":
                pair.server.submit_response(stream, HeaderMap((*OK, (b"x", b"y"))), False)
                pair.server.send_data(stream, Buffer(b"hello"), True)

        pair.server.act = answer
        stream = pair.request()
        pair.run()
        _, _, headers, end_stream = pair.server.notes[0]
        assert (headers.items(), end_stream) == (list(REQUEST), True)
        assert pair.server.names() == ["headers", "sent", "closed"]
        assert pair.client.names() == ["sent", "headers", "data", "closed"]
        assert pair.client.of("headers")[0][2].items() == [*OK, (b"x", b"y")]
        assert pair.client.of("data")[0][2:] == (b"hello", True)
        assert stream.session is None and stream.owner is None
        assert pair.server.active == pair.client.active == 0

    def test_many_fields(self, pair):
        fields = [(b"n%d" % number, b"v" * number) for number in range(90)]
        pair.request((*REQUEST, *fields))
        pair.run()
        assert pair.server.of("headers")[0][2].items() == [*REQUEST, *fields]

    def test_bodies_both_ways_in_order(self, pair):
        body = bytes(range(256)) * 5000
        got = {}

        def collect(what, stream, *rest):
            if what == "data":
                got.setdefault(stream.id, b"")
                got[stream.id] += rest[0]
                if rest[1]:
                    pair.server.submit_response(stream, HeaderMap(OK), False)
                    pair.server.send_data(stream, Buffer(got[stream.id]), True)

        pair.server.act = collect
        streams = [pair.request(POST, False) for _ in range(3)]
        for stream in streams:
            pair.client.send_data(stream, Buffer(body), True)
        pair.run()
        assert all(value == body for value in got.values()) and len(got) == 3
        for stream in streams:
            assert b"".join(note[2] for note in pair.client.of("data") if note[1] is stream) == body
        assert pair.server.names().count("closed") == 3

    def test_trailers_behind_a_body(self, pair):
        def answer(what, stream, *rest):
            if what == "trailers":
                pair.server.submit_response(stream, HeaderMap(OK), False)
                pair.server.send_data(stream, Buffer(b"body"), False)
                pair.server.send_trailers(stream, HeaderMap(((b"grpc-status", b"0"),)))

        pair.server.act = answer
        stream = pair.request(POST, False)
        pair.client.send_data(stream, Buffer(b"x"), False)
        pair.run()
        pair.client.send_trailers(stream, HeaderMap(((b"t", b"1"),)))
        pair.run()
        assert pair.server.of("trailers")[0][2].items() == [(b"t", b"1")]
        assert pair.client.names() == ["sent", "headers", "data", "trailers", "closed"]
        assert pair.client.of("trailers")[0][2].items() == [(b"grpc-status", b"0")]

    def test_trailers_without_fields_are_an_empty_data_frame(self, pair):
        stream = pair.request(POST, False)
        pair.client.send_trailers(stream, HeaderMap())
        pair.run()
        assert pair.server.names() == ["headers", "data"]
        assert pair.server.of("data")[0][2:] == (b"", True)

    def test_informational_responses(self, pair):
        stream = pair.request()
        pair.run()
        server_stream = pair.server.notes[0][1]
        pair.server.submit_1xx(server_stream, HeaderMap(((b":status", b"103"),)))
        pair.server.submit_response(server_stream, HeaderMap(OK), False)
        pair.server.send_trailers(server_stream, HeaderMap(((b"t", b"1"),)))
        pair.run()
        assert pair.client.names() == ["sent", "headers", "headers", "trailers", "closed"]
        assert stream.remote_end

    def test_cookies_are_joined_and_come_last(self, pair):
        crumbs = ((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"))
        pair.request((*REQUEST, *crumbs))
        pair.run()
        assert pair.server.of("headers")[0][2].items() == [*REQUEST, (b"x", b"y"), (b"cookie", b"a=1; b=2")]


class TestFlowControl:
    def test_windows_return_when_reading_goes_on(self, poller):
        pair = Pair(poller, Http2Options(((4, 65535),), connection_window=65535), Http2Options(client=True))

        def stop(what, stream, *rest):
            if what == "headers":
                pair.server.read_disable(stream, True)

        pair.server.act = stop
        stream = pair.request(POST, False)
        pair.client.send_data(stream, Buffer(b"x" * 200_000), True)
        pair.run()
        taken = sum(len(note[2]) for note in pair.server.of("data"))
        assert taken == 65535
        assert stream.pending == 200_000 - 65535
        pair.server.read_disable(pair.server.notes[0][1], False)
        pair.run()
        assert sum(len(note[2]) for note in pair.server.of("data")) == 200_000

    def test_a_closed_stream_gives_its_share_of_the_connection_back(self, poller):
        pair = Pair(poller, Http2Options(connection_window=65535), Http2Options(client=True))
        pair.server.act = lambda what, stream, *rest: (
            pair.server.read_disable(stream, True) if what == "headers" else None
        )
        first = pair.request(POST, False)
        pair.client.send_data(first, Buffer(b"x" * 65535), False)
        pair.run()
        pair.client.reset(first, CANCEL, False)
        second = pair.request(POST, False)
        pair.client.send_data(second, Buffer(b"y" * 60000), True)
        pair.run()
        received = [note for note in pair.server.of("data") if note[1].id == second.id]
        assert sum(len(note[2]) for note in received) == 60000

    def test_watermarks_of_a_stream(self, poller):
        options = Http2Options(client=True)
        options.stream_buffer_limit = 1000
        pair = Pair(poller, Http2Options(connection_window=65535), options)
        stream = pair.request(POST, False)
        pair.run()
        pair.client.send_data(stream, Buffer(b"x" * 60000), False)
        assert "above" not in pair.client.names()
        pair.client.send_data(stream, Buffer(b"x" * 7000), False)
        assert pair.client.names()[-1] == "above" and stream.above_high_watermark
        pair.run()
        assert pair.client.names()[-1] == "below" and not stream.above_high_watermark


class TestResets:
    def test_by_the_peer(self, pair):
        stream = pair.request(POST, False)
        pair.run()
        pair.client.reset(stream, CANCEL, False)
        pair.run()
        assert pair.server.of("closed")[0][2] == CANCEL
        assert pair.server.of("closed")[0][1].remote_reset
        assert pair.client.of("closed")[0][2] == CANCEL

    def test_within_a_frame_whose_beginning_is_nobody_elses(self, raw):
        """The part that came before the reset must not go to the stream of the next frame."""
        raw.send(frame(HEADERS, 4, 1, HEAD) + frame(HEADERS, 4, 3, HEAD))
        first = raw.server.of("headers")[0][1]
        body = frame(DATA, 0, 1, b"s" * 1000)
        raw.send(body[:500])
        raw.server.reset(first, CANCEL, False)
        raw.server.flush()
        raw.send(body[500:] + frame(DATA, 1, 3, b"own"))
        assert [(note[1].id, note[2]) for note in raw.server.of("data")] == [(3, b"own")]

    def test_behind_the_answer(self, pair):
        def answer(what, stream, *rest):
            if what == "headers":
                pair.server.submit_response(stream, HeaderMap(OK), False)
                pair.server.send_data(stream, Buffer(b"no"), True)
                pair.server.reset(stream, 0, True)

        pair.server.act = answer
        pair.request(POST, False)
        pair.run()
        assert pair.client.names() == ["headers", "data", "closed"]

    def test_of_a_request_that_was_not_sent_yet(self, pair):
        stream = pair.request(POST, False)
        pair.client.reset(stream, CANCEL, False)
        pair.run()
        assert "closed" in pair.client.names()
        assert pair.client.active == 0 and stream.session is None

    def test_requests_behind_a_goaway_are_refused(self, pair):
        pair.run()
        pair.server.goaway()
        pair.run()
        assert pair.client.of("goaway") == [("goaway", 0, 0)]
        stream = pair.client.submit_request(None, HeaderMap(REQUEST), True)
        pair.run()
        assert stream is None or stream.session is None

    def test_an_error_of_a_callback_comes_out_of_receive(self, pair):
        def fail(*what):
            raise ValueError("mine")

        errors = []
        pair.poller.error_hook = lambda _watcher, error: errors.append(error)
        pair.server.act = fail
        pair.request()
        pair.run()
        assert [str(error) for error in errors] == ["mine"]


class TestErrors:
    def test_a_frame_that_is_none_ends_with_goaway(self, raw):
        raw.send(frame(DATA, 0, 0, b"x"))
        assert raw.server.failure == "The user callback function failed"
        goaway = struct.pack(">II", 0, 1) + b"DATA: stream_id == 0"
        assert raw.socket.recv(1000).endswith(frame(GOAWAY, 0, 0, goaway))

    def test_a_bad_field_ends_at_once(self, raw):
        raw.send(frame(HEADERS, 5, 1, HEAD + b"\x00\x03A-B\x01x"))
        assert raw.server.failure == "The user callback function failed"
        assert raw.server.names() == []

    def test_a_bad_field_ends_the_stream_where_that_is_wished(self, poller):
        options = Http2Options()
        options.stream_error_on_invalid = True
        raw = Raw(poller, options)
        raw.send(frame(HEADERS, 5, 1, HEAD + b"\x00\x03A-B\x01x"))
        assert raw.server.failure is None
        assert raw.server.of("closed")[0][1].details == "http2.invalid.header.field"
        raw.socket.close()

    def test_too_many_headers_end_the_stream(self, raw):
        raw.send(frame(HEADERS, 5, 1, HEAD + b"\x00\x01a\x01b" * 101))
        assert raw.server.failure is None
        assert raw.server.of("closed")[0][1].details == "http2.too_many_headers"

    def test_crumbs_count(self, raw):
        # A cookie of 2,000 bytes, by its index in the static table.
        crumb = b"\x60\x7f\xd1\x0e" + b"x" * 2000
        raw.send(frame(HEADERS, 5, 1, HEAD + crumb * 6))
        assert raw.server.names() == ["headers"]
        raw.send(frame(HEADERS, 1, 3, HEAD + crumb * 6) + frame(CONTINUATION, 0, 3, crumb * 8) * 2)
        raw.send(frame(CONTINUATION, 0, 3, crumb * 8) + frame(CONTINUATION, 4, 3, crumb * 8))
        assert raw.server.of("closed")[0][1].details == "http2.header_list_size_too_large"


class TestFloods:
    def test_empty_frames(self, raw):
        raw.send(frame(HEADERS, 4, 1, HEAD) + frame(DATA, 0, 1) + frame(DATA, 0, 1))
        assert raw.server.flooded and raw.server.failure.startswith("Too many consecutive frames")

    def test_pings_that_are_answered(self, raw):
        raw.send(frame(PING, 0, 0, b"x" * 8) * 1000)
        assert raw.server.failure is None
        raw.send(frame(PING, 0, 0, b"x" * 8) * 1001)
        assert raw.server.failure == "Too many control frames in the outbound queue."

    def test_priorities(self, raw):
        raw.send(frame(PRIORITY, 0, 1, b"\0\0\0\3\1") * 101)
        assert raw.server.failure == "Too many PRIORITY frames"

    def test_window_updates(self, raw):
        raw.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 6)
        assert raw.server.failure == "Too many WINDOW_UPDATE frames"

    def test_of_frames_that_nobody_reads(self, poller):
        options = Http2Options()
        options.max_outbound_control_frames = 100
        raw = Raw(poller, options)
        ping = frame(PING, 0, 0, b"x" * 8) * 100
        sent = 0
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        while raw.server.failure is None:
            raw.send(ping)
            sent += 1
            assert sent < 100_000
        assert raw.server.failure == "Too many control frames in the outbound queue."
        raw.socket.close()
