"""The HTTP/1 codec client: at most one active request at a time.

The codec calls the user's decoder directly; whether the response is complete is looked at once per read, when the codec
returns. On a close the end of the stream is given to the codec, which completes a body that ends at FIN.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.http.codec_client import CodecClient, CodecClientCallbacks
from proxeny.http.http1.client_connection import ClientStream, Http1ClientConnection
from proxeny.kernel.buffer import Buffer
from proxeny.network.filter import ConnectionEvent, FilterStatus

if TYPE_CHECKING:
    from proxeny.http.codec import CodecError, ResponseDecoder, StreamResetReason
    from proxeny.http.http1.settings import Http1Settings
    from proxeny.network.connection import ClientConnection

log = logging.getLogger("proxeny.client")

REMOTE_CLOSE = ConnectionEvent.REMOTE_CLOSE
CONNECTED = ConnectionEvent.CONNECTED
CONTINUE = FilterStatus.CONTINUE

_REQUEST_TIMEOUT = (b"HTTP/1.1 408", b"HTTP/1.0 408")


class Http1ClientCallbacks(CodecClientCallbacks, Protocol):
    """The pool's side of an HTTP/1 client."""

    def on_response_complete(self) -> None:
        """The response ended, with all of the request sent, and the connection may carry another one."""

    def on_last_response(self, close_notified: bool) -> None:
        """The response ended, and the connection is about to be closed: the peer said so (``close_notified``), has
        closed it, or broke the protocol behind the response."""


class PooledHttp1Codec(Http1ClientConnection):
    """The codec as the codec client sees it: it learns when its user gives a request up."""

    __slots__ = ("client",)

    client: Http1CodecClient | None

    def on_stream_reset(self, stream: ClientStream, reason: StreamResetReason) -> None:
        """HTTP/1 has no reset but closing the connection."""
        active = stream is self._stream
        # By name: compiled, a method that overrides a C method has no super().
        Http1ClientConnection.on_stream_reset(self, stream, reason)
        if active and self.client is not None:
            self.client.on_stream_reset()


class Http1CodecClient(CodecClient):
    """One HTTP/1 client connection."""

    __slots__ = ("_stream", "callbacks", "codec")

    def __init__(self, connection: ClientConnection, callbacks: Http1ClientCallbacks, settings: Http1Settings) -> None:
        super().__init__(connection)
        self.callbacks: Http1ClientCallbacks | None = callbacks
        self.codec = PooledHttp1Codec(connection, None, settings)
        self.codec.client = self
        self._stream: ClientStream | None = None

    @property
    def active(self) -> bool:
        """Whether a response is still awaited."""
        return self._stream is not None

    @property
    def protocol(self) -> str:
        """``HTTP/1.1`` or ``HTTP/1.0``, of the latest response."""
        return self.codec.protocol

    def new_stream(self, response_decoder: ResponseDecoder) -> Any:
        """Begin a request: the RequestEncoder. The response goes to ``response_decoder``."""
        stream = self._stream = self.codec.new_stream(response_decoder)
        return stream

    def on_stream_reset(self) -> None:
        """The user gave the active request up (it has been told, if it wanted to be)."""
        if self._stream is not None:
            self._stream = None
            self.closed_with_active_request = True
            self.close()

    # -- the connection's side -----------------------------------------------------------------------------------
    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes of the response; bytes that nobody asked for close the connection."""
        stream = self._stream
        if stream is None:
            self._unsolicited(data)
            return CONTINUE
        error = self.codec.dispatch(data, False)
        # A decoder may have given the request up, or closed the connection, in the meantime.
        if self._stream is stream:
            if stream.remote_complete:
                self._complete(stream, error)
            elif error is not None:
                self._fail(error)
                self.close()
        if end_stream and self._stream is stream:
            # Half-closing is on for CONNECT only; its end is the end of both directions, as in Envoy.
            self.close()
        return CONTINUE

    def _unsolicited(self, data: Buffer) -> None:
        if not data.length:
            return
        # A server that says 408 to an idle connection is only closing it.
        polite = data.peek(12) in _REQUEST_TIMEOUT
        data.clear()
        if not polite and self.callbacks is not None:
            self.callbacks.on_protocol_error()
        self.close()

    def _fail(self, error: CodecError) -> None:
        self.failed = True
        log.debug("%r: %s", self.connection, error.message)
        if self.callbacks is not None:
            self.callbacks.on_protocol_error()

    def _complete(self, stream: ClientStream, error: CodecError | None) -> None:
        """Keep the connection, or close it: told to, half-closed, or answered before all of the request was sent."""
        self._stream = None
        callbacks = self.callbacks
        if callbacks is None:
            return
        if error is None and stream.local_complete and not self.remote_closed and self.codec.keep_alive:
            # A server that answers without reading must not pile up one request behind the other.
            connection = self.connection
            if not connection.write_buffer.high_watermark_triggered:
                callbacks.on_response_complete()
                return
            callbacks.on_last_response(False)
            self.close()
            return
        if not stream.local_complete:
            self.closed_with_active_request = True
        elif error is not None:
            callbacks.on_protocol_error()
        callbacks.on_last_response(self.codec.close_announced)
        self.close()

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection connected or closed; the pool calls this before it settles its own books."""
        if event is CONNECTED:
            self.connected = True
            return
        if event is REMOTE_CLOSE:
            self.remote_closed = True
            self._finish_at_eof()
        stream = self._stream
        if stream is not None:
            self._stream = None
            self.closed_with_active_request = True
            self._reset(stream, event)

    def _finish_at_eof(self) -> None:
        stream = self._stream
        if stream is None:
            return
        error = self.codec.dispatch(Buffer(), True)
        if self._stream is stream:
            if stream.remote_complete:
                self._complete(stream, error)
            elif error is not None:
                self._fail(error)

    def _reset(self, stream: ClientStream, event: ConnectionEvent) -> None:
        details = self.connection.transport_failure_reason
        reason = self.reset_reason(event)
        callbacks, stream.callbacks = stream.callbacks, None
        stream.reset_stream(reason)
        if callbacks is not None:
            callbacks.on_reset_stream(reason, details)

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes bytes slower than they come: the codec tells the active request."""
        self.codec.on_underlying_connection_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """It caught up."""
        self.codec.on_underlying_connection_below_write_buffer_low_watermark()

    def let_go(self) -> None:
        """The connection is closed: break the cycles."""
        self.callbacks = None
        self._stream = None
        self.codec.client = None
