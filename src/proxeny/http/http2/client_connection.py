"""The HTTP/2 client codec (Envoy: ``Http2::ClientConnectionImpl``): many requests at a time on one upstream connection.

A stream is over for its owner when both messages ended or it was reset; that may be before it is over for the session,
which has still to send. Its user is told of the last event only after the owner was told of the end, so that the
connection has room for whatever the user begins then. Extended CONNECT and CONNECT look like HTTP/1's to users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.http.codec import CodecError, StreamResetReason
from proxeny.http.header_sanitizing import is_upgrade
from proxeny.http.http2.extended_connect import as_connect, as_extended_connect, as_upgraded
from proxeny.http.http2.keepalive import KeepaliveTimers
from proxeny.kernel.http2_session import Http2Session

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder, StreamCallbacks
    from proxeny.http.http2.settings import Keepalive
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.http2_options import Http2Options
    from proxeny.kernel.http2_stream import Http2Stream
    from proxeny.kernel.randomness import RandomGenerator
    from proxeny.network.connection import Connection

METHOD = b":method"
PATH = b":path"
AUTHORITY = b":authority"
STATUS = b":status"
CONNECT = b"CONNECT"
UPGRADE = b"upgrade"

MAX_CONCURRENT_STREAMS = 3
"""SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 6.5.2)."""
PROTOCOL_ERROR = 1
INTERNAL_ERROR = 2
REFUSED_STREAM = 7
CONNECT_ERROR = 10
ERROR_CODES = {
    StreamResetReason.LOCAL_REFUSED_STREAM_RESET: REFUSED_STREAM,
    StreamResetReason.CONNECT_ERROR: CONNECT_ERROR,
    StreamResetReason.PROTOCOL_ERROR: PROTOCOL_ERROR,
}
"""What a reset says to the peer (Envoy: ``reasonToReset``); INTERNAL_ERROR for all else."""
REMOTE_RESETS = {
    PROTOCOL_ERROR: StreamResetReason.PROTOCOL_ERROR,
    REFUSED_STREAM: StreamResetReason.REMOTE_REFUSED_STREAM_RESET,
    CONNECT_ERROR: StreamResetReason.CONNECT_ERROR,
}
"""What the peer's say to us; REMOTE_RESET for all else."""


class Http2ClientCallbacks(Protocol):
    """The owner of the codec: the codec client."""

    def on_stream_over(self, reason: StreamResetReason | None) -> None:
        """A stream is over; ``reason``: it was reset."""

    def on_goaway(self) -> None:
        """The peer begins to go away: no new stream."""

    def on_settings(self, max_concurrent_streams: int) -> None:
        """How many streams the peer lets be open at a time."""

    def on_violated(self) -> None:
        """Sending failed: the connection is of no more use (``failure`` says why)."""


class Http2ClientStream:
    """One request and its response; the request encoder and the stream in one object."""

    framed = True
    """Whether its bytes are counted by frames."""

    __slots__ = (
        "_above",
        "_stream",
        "_upgrade",
        "callbacks",
        "codec",
        "decoder",
        "decompressed_sent",
        "local_complete",
        "remote_complete",
    )

    def __init__(self, codec: Http2ClientConnection, decoder: ResponseDecoder) -> None:
        self.codec = codec
        self.decoder: ResponseDecoder | None = decoder
        """None once nothing more is to be told."""
        self.callbacks: StreamCallbacks | None = None
        self.decompressed_sent = 0
        """Bytes of the names and values that were sent."""
        self.local_complete = False
        self.remote_complete = False
        self._stream: Http2Stream | None = None
        """None until the head is sent."""
        self._above = 0
        """How many high watermarks the user knows of."""
        self._upgrade: bytes | None = None
        """What the request wants to be upgraded to."""

    def __repr__(self) -> str:
        return f"<Http2ClientStream {self._stream!r} local={self.local_complete} remote={self.remote_complete}>"

    @property
    def stream(self) -> Http2ClientStream:
        """The stream of this encoder."""
        return self

    @property
    def tunnel_connection(self) -> None:
        """A tunnel's bytes are framed: they cannot go to the connection directly."""

    @property
    def bytes_received(self) -> int:
        """Wire bytes of this stream's frames."""
        return 0 if self._stream is None else self._stream.bytes_received

    @property
    def bytes_sent(self) -> int:
        """Wire bytes of this stream's frames."""
        return 0 if self._stream is None else self._stream.bytes_sent

    @property
    def header_bytes_received(self) -> int:
        """Those of its header blocks."""
        return 0 if self._stream is None else self._stream.header_bytes_received

    @property
    def header_bytes_sent(self) -> int:
        """Those of its header blocks."""
        return 0 if self._stream is None else self._stream.header_bytes_sent

    @property
    def decompressed_received(self) -> int:
        """Bytes of the names and values that came."""
        return 0 if self._stream is None else self._stream.field_bytes_received

    # RequestEncoder

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> CodecError | None:
        """The request head; an error, and nothing sent, when a required header is missing."""
        codec = self.codec
        method = headers.get(METHOD)
        if method is None:
            return CodecError(503, "", "missing required header: :method")
        if method == CONNECT:
            if AUTHORITY not in headers:
                return CodecError(503, "", "missing required header: :authority")
            headers = as_connect(headers)
        elif PATH not in headers:
            return CodecError(503, "", "missing required header: :path")
        elif UPGRADE in headers and is_upgrade(headers):
            self._upgrade = headers.get(UPGRADE)
            headers = as_extended_connect(headers)
        self.local_complete = end_stream
        self.decompressed_sent = headers.byte_size()
        self._stream = codec.submit_request(self, headers, end_stream)
        if codec.write_buffer_full:
            self.raise_above()
        return None

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: moved out of ``data``."""
        stream = self._stream
        if stream is not None:
            self.codec.send_data(stream, data, end_stream)
        if end_stream:
            self._end()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers end the request."""
        stream = self._stream
        if stream is not None:
            self.decompressed_sent += trailers.byte_size()
            self.codec.send_trailers(stream, trailers)
        self._end()

    def _end(self) -> None:
        self.local_complete = True
        if self.remote_complete:
            self.codec.end_stream(self, None, "")

    # Stream

    def reset_stream(self, reason: StreamResetReason) -> None:
        """Give the exchange up."""
        stream = self._stream
        codec = self.codec
        if stream is not None:
            codec.reset(stream, ERROR_CODES.get(reason, INTERNAL_ERROR), False)
        codec.end_stream(self, reason, "")

    def read_disable(self, disable: bool) -> None:
        """Keep the stream's window back, or give it back (counted)."""
        stream = self._stream
        if stream is not None:
            self.codec.read_disable(stream, disable)

    def raise_above(self) -> None:
        """Something between us and the peer has too much to send."""
        callbacks = self.callbacks
        if callbacks is not None:
            self._above += 1
            callbacks.on_above_write_buffer_high_watermark()

    def raise_below(self) -> None:
        """It no longer has."""
        callbacks = self.callbacks
        if self._above:
            self._above -= 1
            if callbacks is not None:
                callbacks.on_below_write_buffer_low_watermark()


class Http2ClientConnection(Http2Session):
    """The codec of one upstream connection."""

    __slots__ = (
        "_idle_ping_ms",
        "_keepalive",
        "_received_ms",
        "_streams",
        "callbacks",
        "protocol",
        "write_buffer_full",
    )

    def __init__(self, connection: Connection, options: Http2Options, callbacks: Http2ClientCallbacks) -> None:
        self.protocol = "HTTP/2"
        self._keepalive: KeepaliveTimers | None = None
        self._idle_ping_ms = 0
        self._received_ms = 0
        self.callbacks: Http2ClientCallbacks | None = callbacks
        self.write_buffer_full = False
        self._streams: dict[Http2ClientStream, None] = {}
        """Those that are not over."""

    def __repr__(self) -> str:
        return f"<Http2ClientConnection streams={len(self._streams)} failure={self.failure!r}>"

    @property
    def is_idle(self) -> bool:
        """Whether nobody is inside the session at this moment."""
        return self.depth == 0

    @property
    def is_active(self) -> bool:
        """Whether a stream is not over."""
        return bool(self._streams)

    def keep_alive(self, keepalive: Keepalive, random: RandomGenerator) -> None:
        """The connection is established: send PINGs on it from now on."""
        self._keepalive = KeepaliveTimers(self, keepalive, self.stats, random)
        self.watches_frames = True
        self._idle_ping_ms = keepalive.idle_interval_ms
        self.note_received()

    def note_received(self) -> None:
        """Something came; only while PINGs depend on it."""
        self._received_ms = self.connection.dispatcher.now_ms

    def new_stream(self, response_decoder: ResponseDecoder) -> Http2ClientStream:
        """Begin a request."""
        if self._idle_ping_ms:
            self._ping_if_idle()
        stream = Http2ClientStream(self, response_decoder)
        self._streams[stream] = None
        return stream

    def _ping_if_idle(self) -> None:
        """Whether a connection still lives that was silent for long is asked together with the request."""
        if self._keepalive is not None and self.connection.dispatcher.now_ms - self._received_ms > self._idle_ping_ms:
            self._keepalive.send()

    def close_streams(self, reason: StreamResetReason, details: str) -> None:
        """The connection is closed: so is everything on it."""
        self.stopped = True
        for stream in list(self._streams):
            self.end_stream(stream, reason, details)
        self.abandon()

    def let_go(self) -> None:
        """Break the cycles."""
        self.callbacks = None
        if self._keepalive is not None:
            self._keepalive.close()
            self._keepalive = None

    def on_underlying_connection_above_write_buffer_high_watermark(self) -> None:
        """The upstream reads too slowly."""
        self.write_buffer_full = True
        for stream in list(self._streams):
            stream.raise_above()

    def on_underlying_connection_below_write_buffer_low_watermark(self) -> None:
        """The upstream caught up."""
        self.write_buffer_full = False
        for stream in list(self._streams):
            stream.raise_below()

    # The session's events

    def headers_received(self, raw: Http2Stream, headers: HeaderMap, end_stream: bool) -> None:
        """A head, or that of an informational response."""
        stream: Http2ClientStream | None = raw.owner
        if stream is None:
            return
        decoder = stream.decoder
        if decoder is None:
            return
        status = headers.get(STATUS) or b""
        if status[:1] == b"1" and status != b"101" and not end_stream:
            decoder.decode_1xx_headers(headers)
            return
        if stream._upgrade is not None and status == b"200":
            as_upgraded(headers, stream._upgrade)
        if end_stream:
            self._end_of_response(stream)
        decoder.decode_headers(headers, end_stream)

    def data_received(self, raw: Http2Stream, data: Buffer, end_stream: bool) -> None:
        """A piece of body."""
        stream: Http2ClientStream | None = raw.owner
        if stream is None:
            return
        decoder = stream.decoder
        if decoder is None:
            return
        if end_stream:
            self._end_of_response(stream)
        decoder.decode_data(data, end_stream)

    def trailers_received(self, raw: Http2Stream, trailers: HeaderMap) -> None:
        """Trailers; they end the response."""
        stream: Http2ClientStream | None = raw.owner
        if stream is None:
            return
        decoder = stream.decoder
        if decoder is None:
            return
        self._end_of_response(stream)
        decoder.decode_trailers(trailers)

    def stream_closed(self, raw: Http2Stream, error_code: int) -> None:
        """The session has done with a stream: if it is not over, it was reset."""
        stream: Http2ClientStream | None = raw.owner
        if stream is None or stream not in self._streams:
            return
        if raw.messaging_error:
            self.end_stream(stream, StreamResetReason.PROTOCOL_ERROR, "")
        else:
            self.end_stream(stream, REMOTE_RESETS.get(error_code, StreamResetReason.REMOTE_RESET), "")

    def stream_above(self, raw: Http2Stream) -> None:
        """The peer's window is smaller than what the stream has to send."""
        stream: Http2ClientStream | None = raw.owner
        if stream is not None:
            stream.raise_above()

    def stream_below(self, raw: Http2Stream) -> None:
        """It can send again."""
        stream: Http2ClientStream | None = raw.owner
        if stream is not None:
            stream.raise_below()

    def goaway_received(self, last_stream_id: int, error_code: int) -> None:
        """The streams above ``last_stream_id`` are closed next, as refused."""
        callbacks = self.callbacks
        if callbacks is not None:
            callbacks.on_goaway()

    def settings_received(self, settings: dict[int, int]) -> None:
        """The peer's SETTINGS."""
        callbacks = self.callbacks
        if callbacks is not None and MAX_CONCURRENT_STREAMS in settings:
            callbacks.on_settings(settings[MAX_CONCURRENT_STREAMS])

    def frame_received(self) -> None:
        """While a PING is unanswered, whatever comes shows life."""
        if self._keepalive is not None:
            self._keepalive.on_frame()
            if self._idle_ping_ms:
                self.note_received()

    def ping_answered(self) -> None:
        """The answer to a PING."""
        if self._keepalive is not None:
            self._keepalive.on_answer()

    def violated(self) -> None:
        """What was to be sent did not go."""
        callbacks = self.callbacks
        if callbacks is not None:
            callbacks.on_violated()

    # Streams

    def _end_of_response(self, stream: Http2ClientStream) -> None:
        stream.remote_complete = True
        # Encoder and decoder refer to each other: without this every request would wait for the collector.
        stream.decoder = None
        if stream.local_complete:
            self.end_stream(stream, None, "")

    def end_stream(self, stream: Http2ClientStream, reason: StreamResetReason | None, details: str) -> None:
        """A stream is over, once: first the books, then its user, if it was reset."""
        if stream not in self._streams:
            return
        del self._streams[stream]
        stream.decoder = None
        while stream._above:
            stream.raise_below()
        user, stream.callbacks = stream.callbacks, None
        callbacks = self.callbacks
        if callbacks is not None:
            callbacks.on_stream_over(reason)
        if reason is not None and user is not None:
            user.on_reset_stream(reason, details)

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"streams": len(self._streams), "open": self.active, "failure": self.failure}
