"""The server codec as a transcript: bytes in, calls on decoders; calls on encoders, bytes out."""

import gc
from typing import Any

import pytest

from proxeny.http.codec import RequestDecoder, StreamResetReason
from proxeny.http.http1.server_connection import Http1ServerConnection, ServerStream
from proxeny.http.http1.settings import Http1Settings
from proxeny.http.http1.stats import CodecStats
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class FakeConnection:
    def __init__(self) -> None:
        self.sent = b""
        self.disabled = 0
        self.above_high_watermark = False

    def write(self, data: bytes | Buffer, end_stream: bool = False) -> None:
        self.sent += data if isinstance(data, bytes) else data.take()

    def read_disable(self, disable: bool) -> None:
        self.disabled += 1 if disable else -1
        assert self.disabled >= 0


class Decoder(RequestDecoder):
    """Records what it is told; answers at once when told to."""

    def __init__(self, manager: "Manager", encoder: ServerStream) -> None:
        self.manager = manager
        self.encoder = encoder
        encoder.stream.callbacks = self

    def note(self, *event: Any) -> None:
        self.manager.log.append(event)

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.note("headers", headers.get(b":path"), end_stream)
        if self.manager.answers:
            self.encoder.encode_headers(HeaderMap([(b":status", b"200")]), True)

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        self.note("data", data.peek(), end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        self.note("trailers", trailers.items())

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        self.note("reset", reason)

    def on_above_write_buffer_high_watermark(self) -> None:
        self.note("above")

    def on_below_write_buffer_low_watermark(self) -> None:
        self.note("below")


class Stats(CodecStats):
    def __init__(self) -> None:
        self.dropped = 0
        self.rejected = 0

    def dropped_headers_with_underscores(self, n: int) -> None:
        self.dropped += n

    def request_rejected_with_underscores(self) -> None:
        self.rejected += 1


class Manager:
    """The codec's user."""

    def __init__(self, answers: bool = False, **settings: Any) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.answers = answers
        self.connection = FakeConnection()
        self.stats = Stats()
        self.data = Buffer()
        self.encoders: list[ServerStream] = []
        self.codec = Http1ServerConnection(
            self.connection,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            Http1Settings(**settings),
            self.stats,
        )

    def new_stream(self, encoder: ServerStream) -> Decoder:
        self.log.append(("new",))
        self.encoders.append(encoder)
        return Decoder(self, encoder)

    def receive(self, data: bytes) -> Any:
        self.data.append(data)
        return self.codec.dispatch(self.data, False)

    def take_log(self) -> list[tuple[Any, ...]]:
        log = self.log[:]
        self.log.clear()
        return log

    def take_sent(self) -> bytes:
        sent, self.connection.sent = self.connection.sent, b""
        return sent

    def respond(self, status: bytes = b"200", *fields: tuple[bytes, bytes], end_stream: bool = True) -> None:
        self.encoders[-1].encode_headers(HeaderMap([(b":status", status), *fields]), end_stream)


def test_a_request_and_its_response() -> None:
    manager = Manager()
    assert manager.receive(GET % 1) is None
    assert manager.take_log() == [("new",), ("headers", b"/1", True)]
    manager.respond()
    assert manager.take_sent() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    assert manager.connection.disabled == 0
    stream = manager.encoders[0]
    assert (stream.bytes_received, stream.bytes_sent) == (len(GET % 1), 38)


def test_a_request_begins_with_its_first_byte() -> None:
    manager = Manager()
    manager.receive(b"\r\n")
    assert manager.take_log() == []
    manager.receive(b"G")
    assert manager.take_log() == [("new",)]
    manager.receive((GET % 1)[1:])
    assert manager.take_log() == [("headers", b"/1", True)]


def test_the_next_request_waits_for_the_response() -> None:
    manager = Manager()
    manager.receive(GET % 1 + GET % 2)
    assert manager.take_log() == [("new",), ("headers", b"/1", True)]
    assert manager.connection.disabled == 1
    manager.receive(b"")
    assert manager.connection.disabled == 1
    assert len(manager.data) == len(GET % 2)
    manager.respond()
    assert manager.connection.disabled == 0
    manager.receive(b"")
    assert manager.take_log() == [("new",), ("headers", b"/2", True)]


def test_an_answer_inside_decode_headers_frees_the_codec() -> None:
    manager = Manager(answers=True)
    manager.receive(GET % 1 + GET % 2)
    assert manager.connection.disabled == 0
    manager.receive(b"")
    assert [event[:2] for event in manager.take_log()] == [("new",), ("headers", b"/1"), ("new",), ("headers", b"/2")]


def test_bodies_and_trailers() -> None:
    manager = Manager(enable_trailers=True)
    head = b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    manager.receive(head + b"3\r\nab")
    manager.receive(b"c\r\n0\r\nt: 1\r\n\r\n")
    assert manager.take_log() == [
        ("new",),
        ("headers", b"/1", False),
        ("data", b"ab", False),
        ("data", b"c", False),
        ("trailers", [(b"t", b"1")]),
    ]
    encoder = manager.encoders[0]
    encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    encoder.encode_data(Buffer(b"xyz"), False)
    encoder.encode_trailers(HeaderMap([(b"u", b"2")]))
    assert manager.take_sent() == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nu: 2\r\n\r\n"
    )


def test_trailers_are_dropped_unless_enabled() -> None:
    manager = Manager()
    manager.receive(b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nt: 1\r\n\r\n")
    assert manager.take_log()[1:] == [("headers", b"/1", False), ("data", b"", True)]
    encoder = manager.encoders[0]
    encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    encoder.encode_trailers(HeaderMap([(b"u", b"2")]))
    assert manager.take_sent().endswith(b"\r\n\r\n0\r\n\r\n")


def test_a_response_with_length_and_one_to_head() -> None:
    manager = Manager()
    manager.receive(GET % 1)
    encoder = manager.encoders[0]
    encoder.encode_headers(HeaderMap([(b":status", b"200"), (b"content-length", b"3")]), False)
    encoder.encode_data(Buffer(b"xyz"), True)
    assert manager.take_sent().endswith(b"\r\n\r\nxyz")
    manager.receive(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    manager.respond(b"200", (b"content-length", b"3"), end_stream=False)
    manager.encoders[-1].encode_data(Buffer(b"xyz"), True)
    assert manager.take_sent() == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"


def test_informational_responses() -> None:
    manager = Manager()
    manager.receive(GET % 1)
    manager.encoders[0].encode_1xx_headers(HeaderMap([(b":status", b"100")]))
    manager.respond()
    assert manager.take_sent().startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_errors_begin_a_stream_and_are_returned() -> None:
    manager = Manager()
    error = manager.receive(b"\x16\x03\x01")
    assert (error.status, error.details) == (400, "http1.codec_error")
    assert manager.take_log() == [("new",)]
    manager = Manager()
    error = manager.receive(b"GET / HTTP/1.0\r\n\r\n")
    assert (error.status, error.details) == (426, "low_version")
    assert manager.codec.protocol == "HTTP/1.1"


def test_an_error_in_the_body() -> None:
    """Data that came before the broken bytes was delivered, data that came with them is not (as in Envoy)."""
    manager = Manager()
    manager.receive(b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabc")
    error = manager.receive(b"defX")
    assert manager.take_log() == [("new",), ("headers", b"/1", False), ("data", b"abc", False)]
    assert error.details == "http1.codec_error"


def test_http_10() -> None:
    manager = Manager(accept_http_10=True)
    manager.receive(b"GET /1 HTTP/1.0\r\n\r\n")
    assert manager.codec.protocol == "HTTP/1.0"
    manager.respond(end_stream=False)
    manager.encoders[0].encode_data(Buffer(b"x"), True)
    assert manager.take_sent() == b"HTTP/1.0 200 OK\r\n\r\nx"
    manager.receive(GET % 2)
    assert manager.codec.protocol == "HTTP/1.1"


@pytest.mark.parametrize("accepted", [True, False])
def test_bytes_behind_an_upgrade_are_held(accepted: bool) -> None:
    manager = Manager()
    manager.receive(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
    assert manager.take_log() == [("new",), ("headers", b"/1", False)]
    assert manager.connection.disabled == 1
    if not accepted:
        manager.respond(b"403")
        assert manager.connection.disabled == 1
        return
    manager.respond(b"101", (b"upgrade", b"x"), (b"connection", b"upgrade"), end_stream=False)
    assert manager.connection.disabled == 0
    manager.receive(b" late")
    assert manager.take_log() == [("data", b"early late", False)]
    manager.take_sent()
    manager.encoders[0].encode_data(Buffer(b"raw"), False)
    assert manager.take_sent() == b"raw"


def test_connect() -> None:
    manager = Manager()
    manager.receive(b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\nearly")
    manager.respond(b"200", end_stream=False)
    assert manager.take_sent() == b"HTTP/1.1 200 OK\r\n\r\n"
    manager.receive(b"")
    assert manager.take_log()[-1] == ("data", b"early", False)


def test_read_disables_of_a_stream_end_with_it() -> None:
    manager = Manager()
    manager.receive(GET % 1)
    stream = manager.encoders[0]
    stream.read_disable(True)
    stream.read_disable(True)
    stream.read_disable(False)
    assert manager.connection.disabled == 1
    manager.respond()
    assert manager.connection.disabled == 0
    stream.read_disable(False)
    assert manager.connection.disabled == 0


def test_reset() -> None:
    manager = Manager()
    manager.receive(GET % 1 + GET % 2)
    manager.take_log()
    manager.encoders[0].reset_stream(StreamResetReason.LOCAL_RESET)
    assert manager.take_log() == [("reset", StreamResetReason.LOCAL_RESET)]
    assert manager.receive(GET % 3) is None
    assert manager.take_log() == [] and len(manager.data) == 0
    manager.encoders[0].reset_stream(StreamResetReason.LOCAL_RESET)
    assert manager.take_log() == []


def test_watermarks() -> None:
    manager = Manager()
    codec = manager.codec
    codec.on_underlying_connection_above_write_buffer_high_watermark()
    manager.receive(GET % 1)
    manager.take_log()
    codec.on_underlying_connection_above_write_buffer_high_watermark()
    codec.on_underlying_connection_below_write_buffer_low_watermark()
    assert manager.take_log() == [("above",), ("below",)]


def test_no_request_is_taken_while_responses_pile_up() -> None:
    manager = Manager()
    manager.connection.above_high_watermark = True
    manager.receive(GET % 1)
    assert manager.take_log() == [] and manager.connection.disabled == 1
    manager.connection.above_high_watermark = False
    manager.codec.on_underlying_connection_below_write_buffer_low_watermark()
    assert manager.connection.disabled == 0
    manager.receive(b"")
    assert manager.take_log()[1] == ("headers", b"/1", True)


def test_underscores_are_counted() -> None:
    raw = b"GET /1 HTTP/1.1\r\nHost: a\r\na_b: 1\r\nc_d: 1\r\n\r\n"
    manager = Manager(headers_with_underscores_action=2, answers=True)
    manager.receive(raw)
    manager.receive(raw)
    assert manager.stats.dropped == 4
    manager = Manager(headers_with_underscores_action=1)
    assert manager.receive(raw).details == "http1.unexpected_underscore"
    assert manager.stats.rejected == 1


def test_a_finished_exchange_leaves_nothing_to_the_collector() -> None:
    manager = Manager(answers=True)
    gc.collect()
    for number in range(10):
        manager.receive(GET % number)
        manager.encoders.pop().callbacks = None
    assert gc.collect() == 0


def test_a_connection_that_closes_within_a_request_leaves_nothing_to_the_collector() -> None:
    manager = Manager()
    gc.collect()
    manager.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    manager.codec.close()
    manager.take_log()
    assert manager.receive(b"defghi") is None
    assert manager.take_log() == []
    manager.encoders.pop().callbacks = None
    del manager.codec
    assert gc.collect() == 0


def test_what_comes_for_a_stream_that_is_over_is_ignored() -> None:
    manager = Manager()
    manager.receive(GET % 1)
    stream = manager.encoders[0]
    manager.respond()
    manager.take_log()
    stream.decoder.decode_headers(HeaderMap(), False)
    stream.decoder.decode_data(Buffer(b"x"), False)
    stream.decoder.decode_trailers(HeaderMap())
    assert manager.take_log() == []
