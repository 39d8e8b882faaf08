"""The server codec against a session of the kernel as its client: calls on decoders, and what the client gets."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.core.v3 import protocol_pb2 as pb
from tests.unit.kernel.test_http2_session import OK, POST, REQUEST, Peer, Session

from proxeny.http.codec import RequestDecoder, ResponseEncoder, StreamResetReason
from proxeny.http.http2.server_connection import Http2ServerConnection, Http2ServerStream, is_extended_connect
from proxeny.http.http2.settings import compile_http2
from proxeny.http.http2.stats import HTTP2
from proxeny.http.stream_manager import StreamManager
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.epoll import Poller
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http2_options import Http2Options
from proxeny.kernel.stats import Segment

INITIAL_WINDOW_SIZE = 4
CANCEL = 8
PROTOCOL_ERROR = 1


class Decoder(RequestDecoder):
    """Notes what it is told of its request."""

    def __init__(self, encoder: Http2ServerStream) -> None:
        self.encoder = encoder
        self.notes: list[Any] = []
        encoder.callbacks = self

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        self.notes.append(("headers", headers.items(), end_stream))

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        self.notes.append(("data", data.take(), end_stream))

    def decode_trailers(self, trailers: HeaderMap) -> None:
        self.notes.append(("trailers", trailers.items()))

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        self.notes.append(("reset", reason, details))

    def on_codec_complete(self) -> None:
        self.notes.append("complete")

    def on_codec_blocked(self) -> int:
        self.notes.append("blocked")
        return 0

    def on_above_write_buffer_high_watermark(self) -> None:
        self.notes.append("above")

    def on_below_write_buffer_low_watermark(self) -> None:
        self.notes.append("below")


class Manager(StreamManager):
    """Makes decoders."""

    def __init__(self) -> None:
        self.decoders: list[Decoder] = []

    def new_stream(self, response_encoder: ResponseEncoder) -> RequestDecoder:
        assert isinstance(response_encoder, Http2ServerStream)
        self.decoders.append(Decoder(response_encoder))
        return self.decoders[-1]


class Rig:
    def __init__(self, poller: Poller, options: Http2Options | None = None) -> None:
        self.poller = poller
        self.manager = Manager()
        self.block = Segment.create().block(64, HTTP2.size)
        settings = compile_http2(pb.Http2ProtocolOptions(allow_connect=True))
        ends = socket.socketpair()
        self.ends = []
        for end in ends:
            end.setblocking(False)
            stream = Peer()
            stream.open(poller, end.detach())
            self.ends.append(stream)
        self.codec: Any = Http2ServerConnection(
            self.ends[0], settings.options, self.manager, settings, self.block, None
        )
        self.ends[0].session = self.codec
        self.client = self.ends[1].session = Session(self.ends[1], options or Http2Options(client=True))
        self.client.flush()
        self.run()

    def run(self) -> None:
        while self.poller.wait(0) or self.poller.statistics()["ready"]:
            pass

    def stat(self, name: str) -> int:
        return self.block.get(HTTP2.slot(name))

    def request(self, fields: Any = REQUEST, end_stream: bool = True) -> Decoder:
        self.latest = self.client.submit_request(None, HeaderMap(fields), end_stream)
        self.run()
        return self.manager.decoders[-1]


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller()
    made.error_hook = lambda _watcher, error: pytest.fail(repr(error))
    yield made
    made.close()


@pytest.fixture
def rig(poller: Poller) -> Rig:
    return Rig(poller)


def test_a_request_and_its_response(rig: Rig):
    decoder = rig.request()
    assert decoder.notes == [("headers", list(REQUEST), True)]
    encoder = decoder.encoder
    encoder.encode_headers(HeaderMap(OK), False)
    encoder.encode_data(Buffer(b"hello"), True)
    assert not encoder.is_sent() and rig.stat("streams_active") == 1
    rig.run()
    assert decoder.notes[1:] == ["complete", "complete"] and encoder.is_sent()
    assert rig.client.of("data")[0][2:] == (b"hello", True)
    assert rig.stat("streams_active") == 0
    assert encoder.bytes_received == encoder.field_bytes > 0 and encoder.trailer_bytes == 0
    assert encoder.bytes_sent > encoder.extra_header_bytes > 0


def test_body_and_trailers(rig: Rig):
    decoder = rig.request(POST, False)
    rig.client.send_data(rig.latest, Buffer(b"x"), False)
    rig.client.send_trailers(rig.latest, HeaderMap(((b"t", b"1"),)))
    rig.run()
    assert decoder.notes[1:] == [("data", b"x", False), ("trailers", [(b"t", b"1")])]
    assert decoder.encoder.trailer_bytes > 0


@pytest.mark.parametrize(
    ("code", "reason", "details"),
    [
        (CANCEL, StreamResetReason.REMOTE_RESET, "http2.remote_reset"),
        (0, StreamResetReason.REMOTE_RESET_NO_ERROR, ""),
        (7, StreamResetReason.REMOTE_REFUSED_STREAM_RESET, "http2.remote_refuse"),
        (10, StreamResetReason.CONNECT_ERROR, "http2.remote_reset"),
        (PROTOCOL_ERROR, StreamResetReason.PROTOCOL_ERROR, "http2.remote_reset"),
    ],
)
def test_resets_by_the_client(rig: Rig, code: int, reason: StreamResetReason, details: str):
    decoder = rig.request(POST, False)
    rig.client.reset(rig.latest, code, False)
    rig.run()
    assert decoder.notes[1:] == [("reset", reason, details)]
    assert rig.stat("rx_reset") == 1


def test_a_response_that_breaks_off(rig: Rig):
    decoder = rig.request()
    decoder.encoder.encode_headers(HeaderMap(OK), False)
    decoder.encoder.reset_stream(StreamResetReason.LOCAL_RESET)
    assert decoder.notes[1:] == [("reset", StreamResetReason.LOCAL_RESET, "")]
    decoder.encoder.callbacks = None
    rig.run()
    assert rig.client.of("headers") and rig.client.of("closed")[0][2] == 2
    assert rig.stat("tx_reset") == 1


def test_an_early_answer_is_sent_before_its_reset(rig: Rig):
    decoder = rig.request(POST, False)
    decoder.encoder.encode_headers(HeaderMap(OK), True)
    decoder.encoder.reset_stream(StreamResetReason.LOCAL_RESET)
    decoder.encoder.callbacks = None
    rig.run()
    assert [note[0] for note in rig.client.notes] == ["headers", "closed"]
    assert rig.client.of("closed")[0][2] == 0


def test_the_window_keeps_the_end_back(poller: Poller):
    rig = Rig(poller, Http2Options(((INITIAL_WINDOW_SIZE, 2),), client=True))
    decoder = rig.request()
    rig.client.read_disable(rig.latest, True)
    decoder.encoder.encode_headers(HeaderMap(OK), False)
    decoder.encoder.encode_data(Buffer(b"hello"), True)
    rig.run()
    assert decoder.notes[1:] == ["blocked"] and rig.stat("pending_send_bytes") == 3
    rig.client.reset(rig.latest, CANCEL, False)
    rig.run()
    assert decoder.notes[-1][0] == "reset" and rig.stat("pending_send_bytes") == 0


def test_extended_connect_looks_like_an_upgrade(rig: Rig):
    asked = ((b":method", b"CONNECT"), *REQUEST[1:], (b":protocol", b"websocket"))
    decoder = rig.request(asked, False)
    head = dict(decoder.notes[0][1])
    assert (head[b":method"], head[b"upgrade"], head[b"connection"]) == (b"GET", b"websocket", b"upgrade")
    assert b":protocol" not in head
    granted = HeaderMap(((b":status", b"101"), (b"upgrade", b"websocket"), (b"connection", b"upgrade")))
    decoder.encoder.encode_headers(granted, False)
    rig.run()
    assert rig.client.of("headers")[0][2].items() == list(OK)
    assert granted.get(b":status") == b"101"
    assert not is_extended_connect(HeaderMap(((b":method", b"CONNECT"),)))


def test_the_connection_tells_its_streams(rig: Rig):
    first, second = rig.request(POST, False), rig.request(POST, False)
    rig.codec.on_underlying_connection_above_write_buffer_high_watermark()
    rig.codec.on_underlying_connection_below_write_buffer_low_watermark()
    assert first.notes[1:] == second.notes[1:] == ["above", "below"]


def test_drain(rig: Rig):
    decoder = rig.request()
    rig.codec.shutdown_notice()
    rig.run()
    rig.codec.go_away()
    decoder.encoder.encode_headers(HeaderMap(OK), True)
    rig.run()
    assert rig.client.of("goaway") == [("goaway", (1 << 31) - 1, 0)]
    assert rig.stat("goaway_sent") == 1 and rig.client.of("headers")


def test_errors_and_floods_are_told_apart(rig: Rig):
    error = rig.codec.dispatch(Buffer(b"\0\0\1\0\0\0\0\0\0x"), False)
    assert (error.status, error.message) == (400, "The user callback function failed")


def test_a_flood(rig: Rig):
    error = rig.codec.dispatch(Buffer((b"\0\0\x08\6\0\0\0\0\0" + b"x" * 8) * 1001), False)
    assert (error.status, error.message) == (0, "Too many control frames in the outbound queue.")


def test_a_closed_connection_leaves_nothing(rig: Rig):
    decoder = rig.request(POST, False)
    rig.codec.close()
    assert rig.codec.active == 0 and rig.stat("streams_active") == 0
    assert decoder.encoder.is_sent()
    decoder.encoder.encode_headers(HeaderMap(OK), True)
