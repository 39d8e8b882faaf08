"""The HTTP codec contract (Envoy: ``envoy/http/codec.h``): connections, streams, encoders and decoders.

Codecs do no I/O of their own: a codec is fed a connection's read buffer and writes through the connection. Decoders
are what a codec calls; encoders are what its user calls.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from proxeny.kernel.timer import TimerTarget

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap


class StreamResetReason(IntEnum):
    """Why a stream was reset (Envoy: ``Http::StreamResetReason``)."""

    LOCAL_RESET = 0
    LOCAL_REFUSED_STREAM_RESET = 1
    REMOTE_RESET = 2
    REMOTE_REFUSED_STREAM_RESET = 3
    LOCAL_CONNECTION_FAILURE = 4
    REMOTE_CONNECTION_FAILURE = 5
    CONNECTION_TIMEOUT = 6
    CONNECTION_TERMINATION = 7
    OVERFLOW = 8
    CONNECT_ERROR = 9
    PROTOCOL_ERROR = 10
    OVERLOAD_MANAGER = 11
    HTTP1_PREMATURE_UPSTREAM_HALF_CLOSE = 12
    REMOTE_RESET_NO_ERROR = 13


RESET_REASON_TEXT = {
    StreamResetReason.LOCAL_RESET: "local_reset",
    StreamResetReason.LOCAL_REFUSED_STREAM_RESET: "local_refused_stream_reset",
    StreamResetReason.REMOTE_RESET: "remote_reset",
    StreamResetReason.REMOTE_REFUSED_STREAM_RESET: "remote_refused_stream_reset",
    StreamResetReason.LOCAL_CONNECTION_FAILURE: "local_connection_failure",
    StreamResetReason.REMOTE_CONNECTION_FAILURE: "remote_connection_failure",
    StreamResetReason.CONNECTION_TIMEOUT: "connection_timeout",
    StreamResetReason.CONNECTION_TERMINATION: "connection_termination",
    StreamResetReason.OVERFLOW: "overflow",
    StreamResetReason.CONNECT_ERROR: "connect_error",
    StreamResetReason.PROTOCOL_ERROR: "protocol_error",
    StreamResetReason.OVERLOAD_MANAGER: "overload_manager_reset",
    StreamResetReason.HTTP1_PREMATURE_UPSTREAM_HALF_CLOSE: "http1_premature_upstream_half_close",
    StreamResetReason.REMOTE_RESET_NO_ERROR: "remote_reset_no_error",
}
"""The words of response-code details and local reply bodies (Envoy: ``Utility::resetReasonToString``)."""


class CodecError:
    """A protocol violation found by a codec.

    ``status`` is the code of the local reply a server sends for it (400, 426, 431, 501...), ``details`` the
    response-code detail (``http1.codec_error``...), ``message`` the text for logs.
    """

    __slots__ = ("details", "message", "status")

    def __init__(self, status: int, details: str, message: str = "") -> None:
        self.status = status
        self.details = details
        self.message = message

    def __repr__(self) -> str:
        return f"CodecError({self.status}, {self.details!r}, {self.message!r})"


def field_bytes_of(headers: HeaderMap) -> int:
    """What the fields of a message take on the wire, without pseudo headers."""
    return sum([len(name) + len(value) + 4 for name, value in headers.items() if not name.startswith(b":")])


class StreamCallbacks(TimerTarget):
    """What the user of a stream wants to hear of it; it may have timers."""

    __slots__ = ()

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        """The stream is gone; nothing else will be called on it."""

    def on_above_write_buffer_high_watermark(self) -> None:
        """The connection under the stream has too much to send."""

    def on_below_write_buffer_low_watermark(self) -> None:
        """It can take more again."""

    def on_codec_complete(self) -> None:
        """The last frame of our message is on its way (HTTP/2)."""

    def on_codec_blocked(self) -> int:
        """All of our message was handed over, and the peer's window keeps its end back (HTTP/2).

        For how long it may, in ms; 0 = for ever.
        """
        return 0


class Stream(Protocol):
    """One request/response exchange on a codec."""

    callbacks: StreamCallbacks | None
    """Exactly one listener: the HCM's ActiveStream, or the pool's/router's upstream request."""

    def reset_stream(self, reason: StreamResetReason) -> None:
        """End the stream now; on HTTP/1 that closes the connection."""

    def read_disable(self, disable: bool) -> None:
        """Stop or resume the flow of body bytes towards the decoder (counted)."""

    @property
    def bytes_received(self) -> int:
        """Wire bytes of this stream read so far."""

    @property
    def bytes_sent(self) -> int:
        """And written."""


class RequestDecoder(StreamCallbacks):
    """Receives one request from a server codec."""

    __slots__ = ()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request head is complete."""

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes; the decoder takes what it wants out of ``data`` before it returns, the rest is dropped."""

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers; they end the request."""


class GoneDecoder(RequestDecoder):
    """Stands in for the decoder of a stream that is over: nobody listens."""

    __slots__ = ()


class ResponseEncoder:
    """Sends one response on a server codec; ``callbacks`` hear of its stream."""

    __slots__ = ("callbacks",)

    callbacks: StreamCallbacks | None

    @property
    def stream(self) -> Stream:
        """The stream of this encoder."""
        raise AssertionError("abstract")

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response (100, 103...)."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head; ``:status`` is in ``headers``."""

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: all of ``data`` is moved out of it."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers; they end the response."""


class ResponseDecoder(StreamCallbacks):
    """Receives one response from a client codec."""

    __slots__ = ()

    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head is complete."""

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes, as for requests."""

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers; they end the response."""


class RequestEncoder(Protocol):
    """Sends one request on a client codec."""

    stream: Stream

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> CodecError | None:
        """The request head; an error (nothing was sent) when a required header is missing."""

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: all of ``data`` is moved out of it."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers; they end the request."""


class ServerConnectionCallbacks(Protocol):
    """The user of a server codec: the connection manager."""

    def new_stream(self, response_encoder: ResponseEncoder) -> RequestDecoder:
        """A request has begun (its head is complete, or is known to be bad)."""


class ServerCodec(Protocol):
    """A server codec. ``dispatch`` consumes what it can and returns an error when the bytes violate the protocol.

    On an error before or in the middle of a request the codec has called ``new_stream`` for it (so that the manager
    can answer and log it); it does not answer by itself.
    """

    protocol: str
    """``HTTP/1.0``, ``HTTP/1.1``, ``HTTP/2`` of the latest request."""

    def dispatch(self, data: Buffer, end_stream: bool) -> CodecError | None:
        """Feed bytes. HTTP/1: stops after one complete request until its response is complete, and is called
        again by ``connection.on_readable``-like resumption: the codec asks the connection to resume reading."""

    def wants_to_write(self) -> bool:
        """Whether something waits to be written (HTTP/2)."""

    def shutdown_notice(self) -> None:
        """Tell the peer that we will close (HTTP/2); nothing on HTTP/1."""

    def go_away(self) -> None:
        """Tell it that no further request is served (HTTP/2)."""

    def wind_up(self) -> None:
        """The connection is about to be closed: write what was submitted, and take nothing further (HTTP/2)."""

    def close(self) -> None:
        """The connection is closed."""

    def on_underlying_connection_above_write_buffer_high_watermark(self) -> None:
        """The connection's write buffer is full: the codec tells its streams."""

    def on_underlying_connection_below_write_buffer_low_watermark(self) -> None:
        """It drained: the codec tells its streams."""


class ClientCodec(Protocol):
    """A client codec; errors as for ServerCodec (the pool's CodecClient closes the connection on one)."""

    protocol: str

    def new_stream(self, response_decoder: ResponseDecoder) -> RequestEncoder:
        """Begin a request."""

    def dispatch(self, data: Buffer, end_stream: bool) -> CodecError | None:
        """Feed bytes; ``end_stream`` completes a body that ends at FIN."""
