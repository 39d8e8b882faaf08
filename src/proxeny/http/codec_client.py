"""CodecClient: an upstream connection with its HTTP/1 codec (Envoy: ``Http::CodecClient``).

It is the connection's only read filter, and stands between codec and user as the response's decoder, since it must know
when a response begins and ends. What it does on a close: bytes before the FIN have been decoded already; the end of the
stream is then given to the codec, which completes a body that ends at FIN; a request that is still active afterwards is
reset with the reason that fits (protocol error, connection termination).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.http.codec import CodecError, ResponseDecoder, StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, FilterStatus, NetworkFilter

if TYPE_CHECKING:
    from proxeny.http.codec import RequestEncoder
    from proxeny.http.http1.client_connection import Http1ClientConnection
    from proxeny.kernel.headers import HeaderMap
    from proxeny.upstream.host import Host

NO_FLUSH = ConnectionCloseType.NO_FLUSH
REMOTE_CLOSE = ConnectionEvent.REMOTE_CLOSE
CONNECTED = ConnectionEvent.CONNECTED
CONTINUE = FilterStatus.CONTINUE

_REQUEST_TIMEOUT = (b"HTTP/1.1 408", b"HTTP/1.0 408")


class CodecClientCallbacks(Protocol):
    """The pool's side of a codec client."""

    def on_close_notify(self) -> None:
        """The response's head says that this connection will not be kept alive."""

    def on_response_complete(self, request_complete: bool) -> None:
        """The response ended; ``request_complete`` tells whether all of the request had been sent by then."""

    def on_protocol_error(self) -> None:
        """The peer violated the protocol; the connection is about to be closed."""


class CodecClient(NetworkFilter):
    """One HTTP/1 client connection: at most one active request at a time."""

    __slots__ = (
        "_decoder",
        "_encoder",
        "_error",
        "callbacks",
        "close_notified",
        "closed_with_active_request",
        "codec",
        "connected",
        "host",
        "remote_closed",
    )

    def __init__(self, host: Host, callbacks: CodecClientCallbacks, codec: Http1ClientConnection) -> None:
        self.host = host
        self.callbacks: CodecClientCallbacks | None = callbacks
        self.codec = codec
        self.connected = False
        self.remote_closed = False
        self.close_notified = False
        self.closed_with_active_request = False
        self._decoder: ResponseDecoder | None = None
        self._encoder: RequestEncoder | None = None
        self._error: CodecError | None = None

    @property
    def active(self) -> bool:
        """Whether a response is still awaited."""
        return self._decoder is not None

    @property
    def protocol(self) -> str:
        """``HTTP/1.1`` or ``HTTP/1.0``, of the latest response."""
        return self.codec.protocol

    def new_stream(self, response_decoder: ResponseDecoder) -> RequestEncoder:
        """Begin a request; its response goes to ``response_decoder``."""
        self._decoder = response_decoder
        encoder = self._encoder = self.codec.new_stream(self)
        return encoder

    def close(self) -> None:
        """Close the connection now; an active request is reset."""
        self.connection.close(NO_FLUSH)

    # -- the connection's side -----------------------------------------------------------------------------------
    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes of the response; bytes that nobody asked for close the connection."""
        if self._decoder is None:
            self._unsolicited(data)
            return CONTINUE
        error = self.codec.dispatch(data, False)
        if error is not None:
            self._fail(error)
        elif self._decoder is None and data.length:
            self._unsolicited(data)
        return CONTINUE

    def _unsolicited(self, data: Buffer) -> None:
        # A server that says 408 to an idle connection is only closing it.
        polite = data.peek(12) in _REQUEST_TIMEOUT
        data.clear()
        if not polite and self.callbacks is not None:
            self.callbacks.on_protocol_error()
        self.close()

    def _fail(self, error: CodecError) -> None:
        self._error = error
        if self.callbacks is not None:
            self.callbacks.on_protocol_error()
        self.close()

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection connected or closed; the pool calls this before it settles its own books."""
        if event is CONNECTED:
            self.connected = True
            return
        if event is REMOTE_CLOSE:
            self.remote_closed = True
            if self._decoder is not None:
                error = self.codec.dispatch(Buffer(), True)
                if error is not None and self._decoder is not None:
                    self._error = error
                    if self.callbacks is not None:
                        self.callbacks.on_protocol_error()
        if self._decoder is not None:
            self.closed_with_active_request = True
            self._reset_active(event)

    def _reset_active(self, event: ConnectionEvent) -> None:
        self._decoder = None
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        stream = encoder.stream
        callbacks, stream.callbacks = stream.callbacks, None
        if callbacks is None:
            return
        details = self.connection.transport_failure_reason
        if self._error is not None:
            callbacks.on_reset_stream(StreamResetReason.PROTOCOL_ERROR, self._error.details)
        elif self.connected:
            callbacks.on_reset_stream(StreamResetReason.CONNECTION_TERMINATION, details)
        elif event is REMOTE_CLOSE:
            callbacks.on_reset_stream(StreamResetReason.REMOTE_CONNECTION_FAILURE, details)
        else:
            callbacks.on_reset_stream(StreamResetReason.LOCAL_CONNECTION_FAILURE, details)

    # -- the codec's side: the response goes through to the user -------------------------------------------------
    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response."""
        if self._decoder is not None:
            self._decoder.decode_1xx_headers(headers)

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head; here one learns whether the connection stays."""
        decoder = self._decoder
        if decoder is None:
            return
        if not self.codec.keep_alive:
            self.close_notified = True
            if self.callbacks is not None:
                self.callbacks.on_close_notify()
        if end_stream:
            self._decoder = None
            decoder.decode_headers(headers, True)
            self._complete()
        else:
            decoder.decode_headers(headers, False)

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes."""
        decoder = self._decoder
        if decoder is None:
            return
        if end_stream:
            self._decoder = None
            decoder.decode_data(data, True)
            self._complete()
        else:
            decoder.decode_data(data, False)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers end the response."""
        decoder = self._decoder
        if decoder is None:
            return
        self._decoder = None
        decoder.decode_trailers(trailers)
        self._complete()

    def _complete(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None and self.callbacks is not None:
            self.callbacks.on_response_complete(self.codec.request_complete)

    def let_go(self) -> None:
        """The connection is closed: break the cycles."""
        self.callbacks = None
        self._decoder = None
        self._encoder = None

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"active": self.active, "connected": self.connected, "remote_closed": self.remote_closed}

    def __repr__(self) -> str:
        return f"<CodecClient {self.host!r} active={self.active}>"
