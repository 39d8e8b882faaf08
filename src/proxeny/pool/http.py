"""What the HTTP pools share, whatever is spoken on their connections (Envoy: ``Http::HttpConnPoolImplBase``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.network.filter import ConnectionCloseType, ConnectionEvent
from proxeny.pool.base import CLOSED, ActiveClient, ConnPoolBase
from proxeny.pool.cluster_stats import UPSTREAM_CX_IDLE_TIMEOUT, UPSTREAM_CX_PROTOCOL_ERROR, UPSTREAM_RQ_PER_CX

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder
    from proxeny.http.codec_client import CodecClient
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.failure import Cancellable, HttpPoolCallbacks

NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONNECTED = ConnectionEvent.CONNECTED


class ActiveHttpClient(ActiveClient):
    """One HTTP connection of a pool; the pool's side of its codec client. Subclasses make that."""

    __slots__ = ("_idle_timer", "codec_client", "idle_since_ms")

    codec_client: CodecClient

    def __init__(
        self,
        pool: ConnPoolBase,
        connection: ClientConnection,
        concurrent_streams: int = 1,
        before: ActiveClient | None = None,
    ) -> None:
        super().__init__(pool, connection, pool.cluster.http.max_requests_per_connection, concurrent_streams, before)
        self.idle_since_ms = 0
        self._idle_timer: Timer | None = None

    def start(self, codec_client: CodecClient) -> None:
        """Hear of the connection, ``codec_client`` reads it."""
        self.codec_client = codec_client
        self.connection.add_filter(codec_client)
        self.connection.add_connection_callbacks(self)

    # -- the connection's events ---------------------------------------------------------------------------------
    def on_event(self, event: ConnectionEvent) -> None:
        """The codec client first: it ends the active requests, of which the pool then counts what became."""
        codec_client = self.codec_client
        codec_client.on_event(event)
        if event is CONNECTED:
            self.connection.initialize_read_filters()
            self._start_idle_timer()
            self.pool.on_connection_event(self, event)
            return
        if self.state is not CLOSED and codec_client.connected:
            self.pool.stats.record(UPSTREAM_RQ_PER_CX, self.streams)
        self.pool.on_connection_event(self, event)
        codec_client.let_go()

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes bytes slower than they come: the codec tells the active requests."""
        self.codec_client.on_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """It caught up."""
        self.codec_client.on_below_write_buffer_low_watermark()

    def closing_with_incomplete_stream(self) -> bool:
        """Whether the close cut a request short."""
        return self.codec_client.closed_with_active_request

    def close(self) -> None:
        """Close the connection now."""
        self.connection.close(NO_FLUSH)

    # -- idle timeout --------------------------------------------------------------------------------------------
    # Armed once and looked at when it fires, not re-armed per request: requests only note the time.
    def _start_idle_timer(self) -> None:
        timeout = self.pool.cluster.http.idle_timeout_ms
        if timeout is not None:
            self.idle_since_ms = self.pool.dispatcher.now_ms
            self._idle_timer = self.pool.dispatcher.create_timer(self._on_idle_timer)
            self._idle_timer.enable(timeout)

    def _on_idle_timer(self) -> None:
        timeout = self.pool.cluster.http.idle_timeout_ms
        timer = self._idle_timer
        if timeout is None or timer is None:
            return
        if self.active_streams:
            timer.enable(timeout)
            return
        left = self.idle_since_ms + timeout - self.pool.dispatcher.now_ms
        if left > 0:
            timer.enable(left)
            return
        self.pool.stats.inc(UPSTREAM_CX_IDLE_TIMEOUT)
        self.close()

    def stop_timers(self) -> None:
        """The timers refer back to us."""
        super().stop_timers()
        if self._idle_timer is not None:
            self._idle_timer.close()
            self._idle_timer = None

    # -- the codec client's callbacks ----------------------------------------------------------------------------
    def on_protocol_error(self) -> None:
        """The upstream violated the protocol."""
        self.pool.stats.inc(UPSTREAM_CX_PROTOCOL_ERROR)


class HttpConnPool(ConnPoolBase):
    """The HTTP connections to one host at one priority."""

    __slots__ = ()

    def new_stream(self, response_decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) -> Cancellable | None:
        """Ask for a stream: ``on_pool_ready(request_encoder, host, codec_client)`` now (a connection has room for it)
        or later, or ``on_pool_failure(reason, details, host)``.

        None when a callback has been called already, else the handle to give up with.
        """
        return self._new_stream(callbacks, response_decoder)

    def _on_pool_ready(self, client: ActiveHttpClient, callbacks: Any, context: Any) -> None:
        codec_client = client.codec_client
        callbacks.on_pool_ready(codec_client.new_stream(context), self.host, codec_client)
