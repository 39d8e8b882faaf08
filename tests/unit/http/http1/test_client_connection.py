"""The client codec as a transcript: calls on encoders, bytes out; bytes in, calls on decoders."""

import gc
from typing import Any

import pytest

from proxeny.http.codec import ResponseDecoder, StreamResetReason
from proxeny.http.http1.client_connection import ClientStream, Http1ClientConnection
from proxeny.http.http1.settings import Http1Settings
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap


class FakeConnection:
    def __init__(self) -> None:
        self.sent = b""
        self.half_closed = False
        self.half_close_enabled = False
        self.disabled = 0

    def write(self, data: bytes | Buffer, end_stream: bool = False) -> None:
        self.sent += data if isinstance(data, bytes) else data.take()
        self.half_closed |= end_stream

    def enable_half_close(self, enabled: bool) -> None:
        self.half_close_enabled = enabled

    def read_disable(self, disable: bool) -> None:
        self.disabled += 1 if disable else -1
        assert self.disabled >= 0


class Client(ResponseDecoder):
    """A codec's user and decoder in one."""

    def __init__(self, **settings: Any) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.connection = FakeConnection()
        self.codec = Http1ClientConnection(self.connection, None, Http1Settings(**settings))  # type: ignore[arg-type]

    def request(self, method: bytes = b"GET", *fields: tuple[bytes, bytes], end_stream: bool = True) -> ClientStream:
        encoder = self.codec.new_stream(self)
        encoder.stream.callbacks = self
        headers = HeaderMap([(b":method", method), (b":path", b"/"), (b":authority", b"a"), *fields])
        assert encoder.encode_headers(headers, end_stream) is None
        return encoder

    def receive(self, data: bytes, end_stream: bool = False) -> Any:
        return self.codec.dispatch(Buffer(data), end_stream)

    def take_log(self) -> list[tuple[Any, ...]]:
        log = self.log[:]
        self.log.clear()
        return log

    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        self.log.append(("1xx", headers.get(b":status")))

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.log.append(("headers", headers.get(b":status"), end_stream))

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        self.log.append(("data", data.peek(), end_stream))

    def decode_trailers(self, trailers: HeaderMap) -> None:
        self.log.append(("trailers", trailers.items()))

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        self.log.append(("reset", reason))

    def on_above_write_buffer_high_watermark(self) -> None:
        self.log.append(("above",))

    def on_below_write_buffer_low_watermark(self) -> None:
        self.log.append(("below",))


OK = b"HTTP/1.1 200 OK\r\n"


def test_an_exchange_and_another_one() -> None:
    client = Client()
    stream = client.request()
    assert client.connection.sent == b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    assert client.receive(OK + b"content-length: 2\r\n\r\no") is None
    assert client.receive(b"k") is None
    assert client.take_log() == [("headers", b"200", False), ("data", b"o", False), ("data", b"k", True)]
    assert stream.bytes_sent == len(client.connection.sent)
    assert stream.bytes_received == len(OK) + 23
    assert client.codec.keep_alive
    client.request()
    client.receive(OK + b"content-length: 0\r\n\r\n")
    assert client.take_log() == [("headers", b"200", True)]


def test_request_bodies() -> None:
    client = Client(enable_trailers=True)
    encoder = client.request(b"POST", end_stream=False)
    encoder.encode_data(Buffer(b"abc"), False)
    encoder.encode_trailers(HeaderMap([(b"t", b"1")]))
    assert client.connection.sent.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\n")
    client = Client()
    encoder = client.request(b"POST", (b"content-length", b"3"), end_stream=False)
    encoder.encode_data(Buffer(b"abc"), True)
    assert client.connection.sent.endswith(b"content-length: 3\r\n\r\nabc")


def test_a_missing_header_sends_nothing() -> None:
    client = Client()
    encoder = client.codec.new_stream(client)
    error = encoder.encode_headers(HeaderMap([(b":method", b"GET")]), True)
    assert error is not None and error.message == "missing required header: :path"
    assert client.connection.sent == b""


def test_one_request_at_a_time() -> None:
    client = Client()
    client.request()
    with pytest.raises(RuntimeError):
        client.request()


def test_informational_responses_and_head() -> None:
    client = Client()
    client.request(b"HEAD")
    client.receive(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK + b"content-length: 5\r\n\r\n")
    assert client.take_log() == [("1xx", b"103"), ("headers", b"200", True)]


def test_a_body_that_ends_at_fin() -> None:
    client = Client()
    client.request()
    assert client.receive(OK + b"\r\nabc") is None
    assert client.receive(b"", end_stream=True) is None
    assert client.take_log() == [("headers", b"200", False), ("data", b"abc", False), ("data", b"", True)]
    assert not client.codec.keep_alive


@pytest.mark.parametrize(
    "raw", [b"H", OK + b"content-length: 5\r\n\r\nabc", OK + b"transfer-encoding: chunked\r\n\r\n3\r\n"]
)
def test_fin_inside_a_message_is_an_error(raw: bytes) -> None:
    client = Client()
    client.request()
    assert client.receive(raw, end_stream=True).details == "http1.codec_error"


def test_fin_before_any_byte_is_the_connections_affair() -> None:
    client = Client()
    client.request()
    assert not client.codec.response_started
    assert client.receive(b"", end_stream=True) is None
    assert client.take_log() == []


def test_malformed_and_extraneous_bytes() -> None:
    client = Client()
    assert "unsolicited" in client.receive(OK).message
    client.request()
    assert client.receive(b"garbage\r\n\r\n").details == "http1.codec_error"
    client = Client()
    client.request()
    error = client.receive(OK + b"content-length: 2\r\n\r\nokEXTRA")
    assert "extraneous data" in error.message
    assert client.take_log()[-1] == ("data", b"ok", True)
    assert not client.codec.keep_alive


def test_trailers() -> None:
    client = Client(enable_trailers=True)
    client.request()
    client.receive(OK + b"transfer-encoding: chunked\r\n\r\n0\r\nt: 1\r\n\r\n")
    assert client.take_log() == [("headers", b"200", False), ("trailers", [(b"t", b"1")])]


def test_upgrade() -> None:
    client = Client()
    encoder = client.request(b"GET", (b"connection", b"upgrade"), (b"upgrade", b"x"), end_stream=False)
    client.receive(b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw")
    assert client.take_log() == [("headers", b"101", False), ("data", b"raw", False)]
    client.connection.sent = b""
    encoder.encode_data(Buffer(b"more"), False)
    assert client.connection.sent == b"more"
    # The end of a tunnel is no end of a message: whoever owns the connection resets the stream.
    client.receive(b"", end_stream=True)
    assert client.take_log() == []


def test_connect_ends_with_a_fin() -> None:
    client = Client()
    encoder = client.request(b"CONNECT", end_stream=False)
    assert client.connection.half_close_enabled
    assert client.connection.sent == b"CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n"
    client.receive(OK + b"\r\nraw")
    assert client.take_log()[-1] == ("data", b"raw", False)
    encoder.encode_data(Buffer(), True)
    assert client.connection.half_closed


def test_reset_watermarks_and_read_disables() -> None:
    client = Client()
    stream = client.request()
    client.codec.on_underlying_connection_above_write_buffer_high_watermark()
    client.codec.on_underlying_connection_below_write_buffer_low_watermark()
    stream.read_disable(True)
    assert client.connection.disabled == 1
    stream.reset_stream(StreamResetReason.LOCAL_RESET)
    stream.reset_stream(StreamResetReason.LOCAL_RESET)
    assert client.connection.disabled == 0
    assert client.take_log() == [("above",), ("below",), ("reset", StreamResetReason.LOCAL_RESET)]


def test_a_finished_exchange_leaves_nothing_to_the_collector() -> None:
    client = Client()
    gc.collect()
    for _ in range(10):
        stream = client.request()
        client.receive(OK + b"content-length: 0\r\n\r\n")
        stream.callbacks = None
    assert gc.collect() == 0
