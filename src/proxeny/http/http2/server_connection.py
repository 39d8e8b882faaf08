"""The server side of HTTP/2 (Envoy: ``Http2::ServerConnectionImpl``): many requests at a time on one connection.

The kernel's session calls the methods of ``Http2ServerConnection``; they pass on to each stream's decoder. A stream's
manager lets go of it when its response was sent (``on_codec_complete``), when it was reset, or with the connection.
Extended CONNECT (RFC 8441) looks like an upgrade of HTTP/1 to the manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.http.codec import CodecError, GoneDecoder, RequestDecoder, ResponseEncoder, StreamResetReason
from proxeny.http.header_sanitizing import is_upgrade
from proxeny.http.http2.keepalive import KeepaliveTimers
from proxeny.http.http2.stats import NGHTTP2_DOWNSTREAM_CONNECTIONS, TX_FLUSH_TIMEOUT
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.http2_session import Http2Session
from proxeny.network.filter import ConnectionCloseType

if TYPE_CHECKING:
    from proxeny.http.codec import StreamCallbacks
    from proxeny.http.http2.settings import Http2Settings
    from proxeny.http.stream_manager import StreamManager
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.http2_stream import Http2Stream
    from proxeny.kernel.randomness import RandomGenerator
    from proxeny.kernel.stats import Block
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import Connection

HTTP_2 = "HTTP/2"
METHOD = b":method"
STATUS = b":status"
PROTOCOL = b":protocol"
UPGRADE = b"upgrade"
CONNECTION = b"connection"
CONTENT_LENGTH = b"content-length"
CONNECT = b"CONNECT"

NO_ERROR = 0
ERROR_OF_PROTOCOL = 1
REFUSED_STREAM = 7
CONNECT_ERROR = 10

LOCAL_RESET = StreamResetReason.LOCAL_RESET
REMOTE_RESET = StreamResetReason.REMOTE_RESET
REMOTE_RESET_NO_ERROR = StreamResetReason.REMOTE_RESET_NO_ERROR
REMOTE_REFUSED = StreamResetReason.REMOTE_REFUSED_STREAM_RESET
CONNECT_FAILED = StreamResetReason.CONNECT_ERROR
LOCAL_REFUSED = StreamResetReason.LOCAL_REFUSED_STREAM_RESET
PROTOCOL_ERROR = StreamResetReason.PROTOCOL_ERROR
OVERLOAD = StreamResetReason.OVERLOAD_MANAGER

GONE = GoneDecoder()


class Http2ServerStream(ResponseEncoder):
    """One request and its response; the response encoder and the stream in one object."""

    __slots__ = (
        "_codec",
        "decoder",
        "extended_connect",
        "flush_timer",
        "h2",
        "header_bytes_of_head",
    )

    def __init__(self, codec: Http2ServerConnection, h2: Http2Stream) -> None:
        self._codec = codec
        self.h2 = h2
        self.decoder: RequestDecoder = GONE
        self.callbacks: StreamCallbacks | None = None
        self.extended_connect = False
        self.header_bytes_of_head = 0
        self.flush_timer: Timer | None = None

    def __repr__(self) -> str:
        return f"<Http2ServerStream {self.h2!r}>"

    @property
    def stream(self) -> Http2ServerStream:
        """The stream of this encoder."""
        return self

    def is_sent(self) -> bool:
        """Whether the last frame of the response is on its way."""
        return self.h2.local_end_sent or self.h2.session is None

    @property
    def above_high_watermark(self) -> bool:
        """Whether too much of the response waits for the client's window."""
        return self.h2.above_high_watermark

    @property
    def details(self) -> str:
        """What the codec knows of the stream's end, as a response-code detail."""
        return self.h2.details or ""

    # What logs count (``formatter.byte_counts``), under the names that HTTP/1 has for it.

    @property
    def bytes_received(self) -> int:
        """Bytes of the request's frames."""
        return self.h2.bytes_received

    @property
    def bytes_sent(self) -> int:
        """Bytes of the response's frames."""
        return self.h2.bytes_sent

    @property
    def field_bytes(self) -> int:
        """Those of the request's head."""
        return self.header_bytes_of_head

    @property
    def trailer_bytes(self) -> int:
        """Those of its trailers."""
        return self.h2.header_bytes_received - self.header_bytes_of_head

    @property
    def extra_header_bytes(self) -> int:
        """Those of all heads and trailers that were sent."""
        return self.h2.header_bytes_sent

    @property
    def head_bytes(self) -> int:
        """None apart from those."""
        return 0

    @property
    def head_seen(self) -> bool:
        """A head without bytes counts for nothing."""
        return False

    # ResponseEncoder

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response."""
        self._codec.submit_1xx(self.h2, headers)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head."""
        if self.extended_connect and is_upgrade(headers):
            headers = as_response_to_connect(headers)
        self._codec.submit_response(self.h2, headers, end_stream)

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: moved out of ``data``."""
        self._codec.send_data(self.h2, data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers end the response."""
        self._codec.send_trailers(self.h2, trailers)

    # Stream

    def reset_stream(self, reason: StreamResetReason) -> None:
        """RST_STREAM, behind a response that is complete; the manager is told at once."""
        callbacks = self.callbacks
        self.decoder = GONE
        if callbacks is not None:
            callbacks.on_reset_stream(reason, self.details)
        code = NO_ERROR
        if reason is LOCAL_REFUSED:
            code = REFUSED_STREAM
        elif reason is CONNECT_FAILED:
            code = CONNECT_ERROR
        self._codec.reset(self.h2, code, reason is not OVERLOAD)

    def read_disable(self, disable: bool) -> None:
        """Keep the stream's window, or give it back (counted)."""
        self._codec.read_disable(self.h2, disable)

    def on_blocked(self) -> None:
        """The end of the response waits for the client's window."""
        timeout_ms = 0 if self.callbacks is None else self.callbacks.on_codec_blocked()
        if timeout_ms:
            self.flush_timer = self._codec.connection.dispatcher.create_timer(self.on_timer)
            self.flush_timer.enable(timeout_ms)

    def on_timer(self) -> None:
        """The client did not make room for the end of the response in time."""
        if self._codec.stats is not None:
            self._codec.stats.inc(TX_FLUSH_TIMEOUT)
        self._codec.reset(self.h2, NO_ERROR, False)

    def let_go(self) -> None:
        """The stream is over: break the cycles."""
        self.decoder = GONE
        if self.flush_timer is not None:
            self.flush_timer.close()
            self.flush_timer = None


def as_response_to_connect(headers: HeaderMap) -> HeaderMap:
    """A granted upgrade as HTTP/2 says it; the manager keeps its own headers (Envoy: transformUpgradeResponse...)."""
    response = headers.copy()
    if response.get(STATUS) == b"101":
        response.set(STATUS, b"200")
    response.remove(UPGRADE)
    response.remove(CONNECTION)
    if response.get(CONTENT_LENGTH) == b"0":
        response.remove(CONTENT_LENGTH)
    return response


def is_extended_connect(headers: HeaderMap) -> bool:
    """Whether this is an upgrade in the words of RFC 8441."""
    protocol = headers.get(PROTOCOL)
    return bool(protocol) and protocol != b"bytestream" and headers.get(METHOD) == CONNECT


class Http2ServerConnection(Http2Session):
    """The codec of one downstream connection."""

    __slots__ = ("_callbacks", "keepalive", "protocol", "settings")

    def __init__(
        self,
        connection: Connection,
        options: object,
        callbacks: StreamManager,
        settings: Http2Settings,
        stats: Block,
        random: RandomGenerator,
    ) -> None:
        self._callbacks = callbacks
        self.settings = settings
        self.stats = stats
        self.protocol = HTTP_2
        self.keepalive: KeepaliveTimers | None = None
        stats.inc(NGHTTP2_DOWNSTREAM_CONNECTIONS)
        if settings.keepalive is not None:
            self.keepalive = KeepaliveTimers(self, settings.keepalive, stats, random)
            self.watches_frames = True

    def __repr__(self) -> str:
        return f"<Http2ServerConnection streams={self.active} failure={self.failure!r}>"

    # ServerCodec

    def dispatch(self, data: Buffer, end_stream: bool) -> CodecError | None:
        """Feed bytes; an error ends the connection. ``status`` of the error 0: it was a flood."""
        failure = self.receive(data)
        if failure is None:
            return None
        return CodecError(0 if self.flooded else 400, "", failure)

    def wants_to_write(self) -> bool:
        """What was submitted is sent late in the turn."""
        return False

    def go_away(self) -> None:
        """The last streams are served; no further ones."""
        self.goaway()

    def wind_up(self) -> None:
        """The connection is about to be closed: send what was submitted, take nothing further."""
        self.flush()
        self.stopped = True

    def on_underlying_connection_above_write_buffer_high_watermark(self) -> None:
        """The client reads too slowly."""
        for h2 in self.streams():
            owner = h2.owner
            callbacks = None if owner is None else owner.callbacks
            if callbacks is not None:
                callbacks.on_above_write_buffer_high_watermark()

    def on_underlying_connection_below_write_buffer_low_watermark(self) -> None:
        """It caught up; who was served longest ago comes first."""
        for h2 in reversed(self.streams()):
            owner = h2.owner
            callbacks = None if owner is None else owner.callbacks
            if callbacks is not None:
                callbacks.on_below_write_buffer_low_watermark()

    def close(self) -> None:
        """The connection is closed."""
        if self.keepalive is not None:
            self.keepalive.close()
            self.keepalive = None
        for h2 in self.streams():
            h2.owner.let_go()
        self.abandon()

    # From the session

    def begin_stream(self, stream: Http2Stream) -> None:
        """A request begins."""
        owner = Http2ServerStream(self, stream)
        stream.owner = owner
        owner.decoder = self._callbacks.new_stream(owner)

    def headers_received(self, stream: Http2Stream, headers: HeaderMap, end_stream: bool) -> None:
        """The request's head."""
        owner = stream.owner
        owner.header_bytes_of_head = stream.header_bytes_received
        if headers.get(PROTOCOL) is not None and is_extended_connect(headers):
            owner.extended_connect = True
            headers.set(METHOD, b"GET")
            headers.set(UPGRADE, headers.get(PROTOCOL) or b"")
            headers.set(CONNECTION, UPGRADE)
            headers.remove(PROTOCOL)
        decoder = owner.decoder
        decoder.decode_headers(headers, end_stream)

    def data_received(self, stream: Http2Stream, data: Buffer, end_stream: bool) -> None:
        """Body bytes."""
        owner = stream.owner
        decoder = owner.decoder
        decoder.decode_data(data, end_stream)

    def trailers_received(self, stream: Http2Stream, trailers: HeaderMap) -> None:
        """Trailers; they end the request."""
        decoder = stream.owner.decoder
        decoder.decode_trailers(trailers)

    def end_stream_sent(self, stream: Http2Stream) -> None:
        """The response is on its way: the manager is done with the stream, if it has all of the request."""
        owner = stream.owner
        callbacks = owner.callbacks
        if callbacks is not None:
            callbacks.on_codec_complete()

    def end_stream_blocked(self, stream: Http2Stream) -> None:
        """The end of the response waits for the client's window."""
        stream.owner.on_blocked()

    def stream_closed(self, stream: Http2Stream, error_code: int) -> None:
        """The stream is over; if not because both sides ended it, its manager is told why."""
        owner = stream.owner
        callbacks = owner.callbacks
        if callbacks is not None:
            if not stream.remote_end or not stream.local_end or stream.remote_reset:
                callbacks.on_reset_stream(self._reset_reason(stream, error_code), owner.details)
            else:
                callbacks.on_codec_complete()
        owner.let_go()

    def _reset_reason(self, stream: Http2Stream, error_code: int) -> StreamResetReason:
        if stream.messaging_error:
            return LOCAL_RESET
        if error_code == REFUSED_STREAM:
            stream.details = stream.details or "http2.remote_refuse"
            return REMOTE_REFUSED
        if error_code == NO_ERROR and stream.remote_reset:
            return REMOTE_RESET_NO_ERROR
        if stream.details is None:
            stream.details = "http2.remote_reset"
        if error_code == ERROR_OF_PROTOCOL:
            return PROTOCOL_ERROR
        return CONNECT_FAILED if error_code == CONNECT_ERROR else REMOTE_RESET

    def stream_above(self, stream: Http2Stream) -> None:
        """The client's window does not let the response out."""
        callbacks = stream.owner.callbacks
        if callbacks is not None:
            callbacks.on_above_write_buffer_high_watermark()

    def stream_below(self, stream: Http2Stream) -> None:
        """It does again."""
        callbacks = stream.owner.callbacks
        if callbacks is not None:
            callbacks.on_below_write_buffer_low_watermark()

    def frame_received(self) -> None:
        """The client is alive."""
        if self.keepalive is not None:
            self.keepalive.on_frame()

    def ping_answered(self) -> None:
        """It answered our PING."""
        if self.keepalive is not None:
            self.keepalive.on_answer()

    def violated(self) -> None:
        """Sending failed outside ``dispatch``: the client does not read, there is nothing to flush for."""
        self.connection.close(ConnectionCloseType.NO_FLUSH, "http2_connection_protocol_violation")
