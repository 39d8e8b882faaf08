"""The HTTP/2 pool (Envoy: ``Http::Http2::ConnPoolImpl``): many requests at a time on each of a few connections.

A connection takes requests until it carries as many as its peer's SETTINGS and our ``max_concurrent_streams`` allow;
before the SETTINGS came, as many as ours. ``new_stream`` with room on a connection is on every request's path: it does
in one function what ``ConnPoolBase`` does in steps (keep it like ``_attach``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.codec import StreamResetReason
from proxeny.http.http2.codec_client import Http2CodecClient
from proxeny.http.http2.stats import NGHTTP2_UPSTREAM_CONNECTIONS
from proxeny.network.filter import ConnectionEvent
from proxeny.pool.base import BUSY, CONNECTING, DRAINING, READY, ActiveClient, ConnPoolBase
from proxeny.pool.cluster_stats import (
    HOST_RQ_ACTIVE,
    HOST_RQ_TOTAL,
    UPSTREAM_CX_CLOSE_NOTIFY,
    UPSTREAM_CX_HTTP2_TOTAL,
    UPSTREAM_RQ_ACTIVE,
    UPSTREAM_RQ_PENDING_FAILURE_EJECT,
    UPSTREAM_RQ_RX_RESET,
    UPSTREAM_RQ_TOTAL,
    UPSTREAM_RQ_TX_RESET,
)
from proxeny.pool.http import ActiveHttpClient, HttpConnPool

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.failure import Cancellable, HttpPoolCallbacks

CONNECTED = ConnectionEvent.CONNECTED
ALPN = ("h2",)

MAX_STREAMS = 1 << 29
"""Requests of one connection without ``max_requests_per_connection`` (Envoy: ``DEFAULT_MAX_STREAMS``): stream numbers
are finite."""
_CONNECTION_LOST = (
    StreamResetReason.CONNECTION_TERMINATION,
    StreamResetReason.LOCAL_CONNECTION_FAILURE,
    StreamResetReason.REMOTE_CONNECTION_FAILURE,
    StreamResetReason.CONNECTION_TIMEOUT,
)
_OURS = (StreamResetReason.LOCAL_RESET, StreamResetReason.PROTOCOL_ERROR, StreamResetReason.OVERLOAD_MANAGER)


class ActiveHttp2Client(ActiveHttpClient):
    """One HTTP/2 connection."""

    __slots__ = ()

    def __init__(self, pool: ConnPoolBase, connection: ClientConnection, before: ActiveClient | None = None) -> None:
        """``before``: whose place in the pool it takes."""
        cluster = pool.cluster
        super().__init__(pool, connection, cluster.http2_settings.max_concurrent_streams, before)
        if not self.remaining_streams:
            self.remaining_streams = MAX_STREAMS
        self.start(Http2CodecClient(connection, self, cluster.http2_settings, cluster.http2_stats, cluster.random))
        pool.stats.inc(UPSTREAM_CX_HTTP2_TOTAL)
        cluster.http2_stats.inc(NGHTTP2_UPSTREAM_CONNECTIONS)

    def on_event(self, event: ConnectionEvent) -> None:
        """As every client's; nobody whose request ends with the connection gets another one here."""
        if event is not CONNECTED:
            self._take_no_more()
        ActiveHttpClient.on_event(self, event)

    def _take_no_more(self) -> None:
        if self.state is READY or self.state is BUSY:
            self.pool._move(self, DRAINING)

    def close(self) -> None:
        """Close the connection, as soon as the codec is not in the middle of something."""
        if self.state is not CONNECTING:
            self._take_no_more()
        self.codec_client.close()

    def assume(self, known_streams: int | None) -> None:
        """How many streams the last connection of this host carried at a time; 1 may have been HTTP/1."""
        if known_streams is not None and known_streams > 1:
            self.concurrent_streams = min(self.concurrent_streams, known_streams)

    # -- the codec client's callbacks ----------------------------------------------------------------------------
    def on_stream_over(self, reason: StreamResetReason | None) -> None:
        """A request is over."""
        pool = self.pool
        self.idle_since_ms = pool.wheel.now_ms
        if reason is not None:
            self._count_reset(reason)
        if self.state is not READY or pool._draining_pool:
            pool.on_stream_closed(self)
            return
        # ``ConnPoolBase.on_stream_closed``, on the hot path.
        self.active_streams -= 1
        pool.host.stats.dec(HOST_RQ_ACTIVE)
        pool.stats.dec(UPSTREAM_RQ_ACTIVE)
        pool.requests.dec()

    def _count_reset(self, reason: StreamResetReason) -> None:
        stats = self.pool.stats
        if reason in _CONNECTION_LOST:
            stats.inc(UPSTREAM_RQ_PENDING_FAILURE_EJECT)
            self.codec_client.closed_with_active_request = True
        elif reason in _OURS:
            stats.inc(UPSTREAM_RQ_TX_RESET)
        elif reason is StreamResetReason.REMOTE_RESET:
            stats.inc(UPSTREAM_RQ_RX_RESET)

    def on_goaway(self) -> None:
        """The peer goes: what it has not begun comes back as refused, the rest is finished."""
        self.pool.stats.inc(UPSTREAM_CX_CLOSE_NOTIFY)
        if self.state is not DRAINING:
            self.pool.drain_client(self)

    def on_settings(self, max_concurrent_streams: int) -> None:
        """The peer's limit, if it is below ours."""
        pool = self.pool
        pool.host.known_streams = max_concurrent_streams
        self.concurrent_streams = min(max_concurrent_streams, pool.cluster.http2_settings.max_concurrent_streams)
        room = self.unused_capacity > 0
        if self.state is READY and not room:
            pool._move(self, BUSY)
        elif self.state is BUSY and room:
            pool._move(self, READY)
            pool._schedule_attach()


class Http2ConnPool(HttpConnPool):
    """The HTTP/2 connections to one host at one priority."""

    __slots__ = ()

    def new_stream(self, response_decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) -> Cancellable | None:
        """As HttpConnPool.new_stream."""
        ready = self._ready
        requests = self.requests
        if not ready or not requests.try_acquire():
            return self._new_stream(callbacks, response_decoder)
        client = next(reversed(ready))
        client.active_streams += 1
        client.remaining_streams -= 1
        if client.remaining_streams == 0:
            self._last_stream(client)
        elif client.active_streams >= client.concurrent_streams:
            self._move(client, BUSY)
        client.streams += 1
        self.host.stats.inc2(HOST_RQ_TOTAL, HOST_RQ_ACTIVE)
        self.stats.inc2(UPSTREAM_RQ_TOTAL, UPSTREAM_RQ_ACTIVE)
        codec_client = client.codec_client
        callbacks.on_pool_ready(codec_client.new_stream(response_decoder), self.host, codec_client)
        if self.preconnects:
            self._try_create_connections()
        return None

    def _provided(self) -> int:
        ready: int = sum([client.unused_capacity for client in self._ready])
        return self._connecting_capacity() + ready

    def _connecting_capacity(self) -> int:
        capacity: int = sum([client.unused_capacity for client in self._connecting])
        return capacity

    def _active(self) -> int:
        active: int = sum([client.active_streams for clients in (self._ready, self._busy) for client in clients])
        return active

    def _instantiate_client(self) -> Any:
        connection = self.host.create_connection(self.dispatcher, self.options, ALPN)
        client = ActiveHttp2Client(self, connection)
        connection.connect()
        return client
