"""The HTTP/1 pool (Envoy: ``Http::Http1::ConnPoolImpl``): keep-alive connections, one request at a time on each.

``new_stream`` with an idle connection is on every request's path: it does in one function what ``ConnPoolBase`` does in
steps (state change and counting as in ``_attach``; keep the two alike).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.http.http1.codec_client import Http1CodecClient
from proxeny.pool.base import BUSY, READY, ActiveClient, ConnPoolBase
from proxeny.pool.cluster_stats import (
    HOST_RQ_ACTIVE,
    HOST_RQ_TOTAL,
    UPSTREAM_CX_CLOSE_NOTIFY,
    UPSTREAM_CX_HTTP1_TOTAL,
    UPSTREAM_RQ_ACTIVE,
    UPSTREAM_RQ_TOTAL,
)
from proxeny.pool.http import ActiveHttpClient, HttpConnPool

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.failure import Cancellable, HttpPoolCallbacks


ALPN = ("http/1.1",)


class ActiveHttp1Client(ActiveHttpClient):
    """One HTTP/1 connection."""

    __slots__ = ()

    def __init__(self, pool: ConnPoolBase, connection: ClientConnection, before: ActiveClient | None = None) -> None:
        """``before``: whose place in the pool it takes."""
        super().__init__(pool, connection, 1, before)
        self.start(Http1CodecClient(connection, self, pool.cluster.http1_settings))
        pool.stats.inc(UPSTREAM_CX_HTTP1_TOTAL)

    # -- the codec client's callbacks ----------------------------------------------------------------------------
    def on_response_complete(self) -> None:
        """The connection takes the next request: ``ConnPoolBase.on_stream_closed``, on the hot path."""
        pool = self.pool
        self.idle_since_ms = pool.wheel.now_ms
        if self.state is not BUSY or pool._draining_pool:
            pool.on_stream_closed(self)
            return
        self.active_streams = 0
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


class Http1ConnPool(HttpConnPool):
    """The HTTP/1 connections to one host at one priority."""

    __slots__ = ()

    def new_stream(self, response_decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) -> Cancellable | None:
        """As HttpConnPool.new_stream."""
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
        client.active_streams = 1
        self.host.stats.inc2(HOST_RQ_TOTAL, HOST_RQ_ACTIVE)
        self.stats.inc2(UPSTREAM_RQ_TOTAL, UPSTREAM_RQ_ACTIVE)
        codec_client = client.codec_client
        callbacks.on_pool_ready(codec_client.new_stream(response_decoder), self.host, codec_client)
        if self.preconnects:
            self._try_create_connections()
        return None

    def _instantiate_client(self) -> ActiveHttp1Client:
        connection = self.host.create_connection(self.dispatcher, self.options, ALPN)
        client = ActiveHttp1Client(self, connection)
        connection.connect()
        return client
