"""The HTTP/2 codec client: an upstream connection that carries many requests at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.http.codec_client import NO_FLUSH, CodecClient, CodecClientCallbacks
from proxeny.http.http2.client_connection import Http2ClientConnection
from proxeny.network.filter import ConnectionEvent, FilterStatus

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder, StreamResetReason
    from proxeny.http.http2.settings import Http2Settings
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.randomness import RandomGenerator
    from proxeny.kernel.stats import Block
    from proxeny.network.connection import ClientConnection

log = logging.getLogger("proxeny.client")

CONNECTED = ConnectionEvent.CONNECTED
CONTINUE = FilterStatus.CONTINUE


class Http2PoolCallbacks(CodecClientCallbacks, Protocol):
    """The pool's side of an HTTP/2 client."""

    def on_stream_over(self, reason: StreamResetReason | None) -> None:
        """A request is over; ``reason``: it was reset."""

    def on_goaway(self) -> None:
        """The peer takes no new request."""

    def on_settings(self, max_concurrent_streams: int) -> None:
        """How many requests the peer takes at a time."""


class Http2CodecClient(CodecClient):
    """One HTTP/2 client connection."""

    __slots__ = ("_closing", "_keepalive", "_random", "callbacks", "codec")

    def __init__(
        self,
        connection: ClientConnection,
        callbacks: Http2PoolCallbacks,
        settings: Http2Settings,
        stats: Block | None,
        random: RandomGenerator,
    ) -> None:
        super().__init__(connection)
        self.callbacks: Http2PoolCallbacks | None = callbacks
        self.codec = Http2ClientConnection(connection, settings.options, self)
        self.codec.stats = stats
        self._keepalive = settings.keepalive
        self._random = random
        self._closing = False

    @property
    def active(self) -> bool:
        """Whether a request is under way."""
        return self.codec.is_active

    @property
    def protocol(self) -> str:
        """``HTTP/2``."""
        return self.codec.protocol

    def new_stream(self, response_decoder: ResponseDecoder) -> Any:
        """Begin a request: the RequestEncoder. The response goes to ``response_decoder``."""
        return self.codec.new_stream(response_decoder)

    def close(self) -> None:
        """Send what is to be sent, as far as the socket takes it, and close the connection; requests are reset.

        From inside the codec: when that is done.
        """
        if not self.codec.is_idle:
            if not self._closing:
                self._closing = True
                self.connection.dispatcher.defer(self.close)
            return
        self.codec.flush()
        self.connection.close(NO_FLUSH)

    # -- the connection's side -----------------------------------------------------------------------------------
    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Frames."""
        if self.codec.receive(data) is not None:
            self.on_violated()
        elif self._closing:
            self.close()
        return CONTINUE

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection connected or closed; the pool calls this before it settles its own books."""
        if event is CONNECTED:
            self.connected = True
            if self._keepalive is not None:
                self.codec.keep_alive(self._keepalive, self._random)
            self.codec.flush()
            return
        self.remote_closed = event is ConnectionEvent.REMOTE_CLOSE
        self.codec.close_streams(self.reset_reason(event), self.connection.transport_failure_reason)

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes bytes slower than they come: the codec tells the active requests."""
        self.codec.on_underlying_connection_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """It caught up."""
        self.codec.on_underlying_connection_below_write_buffer_low_watermark()

    def let_go(self) -> None:
        """The connection is closed: break the cycles."""
        self.callbacks = None
        self.codec.let_go()

    # -- the codec's side ----------------------------------------------------------------------------------------
    def on_stream_over(self, reason: StreamResetReason | None) -> None:
        """A request is over."""
        callbacks = self.callbacks
        if callbacks is not None:
            callbacks.on_stream_over(reason)

    def on_goaway(self) -> None:
        """The peer takes no new request."""
        callbacks = self.callbacks
        if callbacks is not None:
            callbacks.on_goaway()

    def on_settings(self, max_concurrent_streams: int) -> None:
        """How many requests the peer takes at a time."""
        callbacks = self.callbacks
        if callbacks is not None:
            callbacks.on_settings(max_concurrent_streams)

    def on_violated(self) -> None:
        """The peer violated the protocol."""
        self.failed = True
        log.debug("%r: %s", self.connection, self.codec.failure)
        if self.callbacks is not None:
            self.callbacks.on_protocol_error()
        self.connection.close(NO_FLUSH)
