"""The HTTP/1 pool (Envoy: ``Http::Http1::ConnPoolImpl``): keep-alive connections, one request at a time on each.

``new_stream`` with an idle connection is on every request's path: it does in one function what ``ConnPoolBase`` does in
steps (state change and counting as in ``_attach``; keep the two alike).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.codec_client import CodecClient
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent
from proxeny.pool.base import BUSY, CLOSED, READY, ActiveClient, ConnPoolBase
from proxeny.pool.cluster_stats import (
    HOST_RQ_ACTIVE,
    HOST_RQ_TOTAL,
    UPSTREAM_CX_CLOSE_NOTIFY,
    UPSTREAM_CX_HTTP1_TOTAL,
    UPSTREAM_CX_IDLE_TIMEOUT,
    UPSTREAM_CX_PROTOCOL_ERROR,
    UPSTREAM_RQ_ACTIVE,
    UPSTREAM_RQ_PER_CX,
    UPSTREAM_RQ_TOTAL,
)

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.failure import Cancellable, HttpPoolCallbacks

NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONNECTED = ConnectionEvent.CONNECTED


class ActiveHttp1Client(ActiveClient):
    """One HTTP/1 connection of the pool; the pool's side of its CodecClient."""

    __slots__ = ("_idle_timer", "codec_client", "idle_since_ms")

    pool: HttpConnPool

    def __init__(self, pool: HttpConnPool, connection: ClientConnection) -> None:
        super().__init__(pool, connection, pool.cluster.http.max_requests_per_connection)
        self.codec_client = CodecClient(connection, self, pool.cluster.http1_settings)
        self.idle_since_ms = 0
        self._idle_timer: Timer | None = None
        connection.add_filter(self.codec_client)
        connection.add_connection_callbacks(self)
        pool.stats.inc(UPSTREAM_CX_HTTP1_TOTAL)

    # -- the connection's events ---------------------------------------------------------------------------------
    def on_event(self, event: ConnectionEvent) -> None:
        """The codec client first: it ends the active request, of which the pool then counts what became."""
        codec_client = self.codec_client
        codec_client.on_event(event)
        if event is CONNECTED:
            self.connection.initialize_read_filters()
            self._start_idle_timer()
            self.pool.on_connection_event(self, event)
            return
        if self.state is not CLOSED and self.connected_once():
            self.pool.stats.record(UPSTREAM_RQ_PER_CX, self.streams)
        self.pool.on_connection_event(self, event)
        codec_client.let_go()

    def connected_once(self) -> bool:
        """Whether the connection was ever established."""
        return self.codec_client.connected

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes bytes slower than they come: the codec tells the active request."""
        self.codec_client.codec.on_underlying_connection_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """It caught up."""
        self.codec_client.codec.on_underlying_connection_below_write_buffer_low_watermark()

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
        if self.stream_active:
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

    def on_response_complete(self) -> None:
        """The connection takes the next request: ``ConnPoolBase.on_stream_closed``, on the hot path."""
        pool = self.pool
        self.idle_since_ms = pool.wheel.now_ms
        if self.state is not BUSY or pool._draining_pool:
            pool.on_stream_closed(self)
            return
        self.stream_active = False
        pool.host.stats.dec(HOST_RQ_ACTIVE)
        pool.stats.dec(UPSTREAM_RQ_ACTIVE)
        pool.requests.dec()
        self.state = READY
        del pool._busy[self]
        pool._ready[self] = None
        if pool._pending:
            pool._schedule_attach()

    def on_last_response(self, close_notified: bool) -> None:
        """The codec client is about to close the connection."""
        if close_notified:
            self.pool.stats.inc(UPSTREAM_CX_CLOSE_NOTIFY)
        self.pool.end_stream(self)


class HttpConnPool(ConnPoolBase):
    """The HTTP/1 connections to one host at one priority."""

    __slots__ = ()

    def new_stream(self, response_decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) -> Cancellable | None:
        """Ask for a stream: ``on_pool_ready(request_encoder, host, codec_client)`` now (an idle connection exists) or
        later, or ``on_pool_failure(reason, details, host)``.

        None when a callback has been called already, else the handle to give up with.
        """
        ready = self._ready
        requests = self.requests
        if not ready or not requests.try_acquire():
            return self._new_stream(callbacks, response_decoder)
        client, _ = ready.popitem()
        client.remaining_streams -= 1
        if client.remaining_streams == 0:
            self._last_stream(client)
        else:
            client.state = BUSY
        self._busy[client] = None
        client.streams += 1
        client.stream_active = True
        self.host.stats.inc2(HOST_RQ_TOTAL, HOST_RQ_ACTIVE)
        self.stats.inc2(UPSTREAM_RQ_TOTAL, UPSTREAM_RQ_ACTIVE)
        codec_client = client.codec_client
        callbacks.on_pool_ready(codec_client.new_stream(response_decoder), self.host, codec_client)
        if self.preconnects:
            self._try_create_connections()
        return None

    def _instantiate_client(self) -> ActiveHttp1Client:
        connection = self.host.create_connection(self.dispatcher, self.options)
        client = ActiveHttp1Client(self, connection)
        connection.connect()
        return client

    def _on_pool_ready(self, client: ActiveHttp1Client, callbacks: Any, context: Any) -> None:
        codec_client = client.codec_client
        callbacks.on_pool_ready(codec_client.new_stream(context), self.host, codec_client)
