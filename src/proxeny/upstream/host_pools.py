"""Which pool of a host a request gets (Envoy: ``ClusterEntry::httpConnPool``, ``ConnPoolMap``).

Nearly every request takes the one pool that its host has for its priority; ``ThreadLocalCluster`` finds that itself.
Here is the rest: pools apart from others (socket options of the downstream, what internal listeners are brought, one
pool per downstream connection), pools that are counted (``max_connection_pools``), connections opened ahead of need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.pool.failure import PoolFailureReason
from proxeny.pool.http import HttpConnPool
from proxeny.pool.http1 import Http1ConnPool
from proxeny.pool.http2 import Http2ConnPool
from proxeny.pool.mixed import MixedConnPool
from proxeny.pool.options import PoolOptions
from proxeny.pool.tcp import TcpConnPool
from proxeny.upstream.http_protocol_options import UpstreamProtocol
from proxeny.upstream.internal_upstream import SharedState, hash_key, shared_state
from proxeny.upstream.stats import UPSTREAM_CX_POOL_OVERFLOW
from proxeny.upstream.transport_options import has_filter_state, transport_options

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.limits import Resource
    from proxeny.network.socket_options import SocketOption
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.context import LbContext
    from proxeny.upstream.preconnect import Ahead


class NoPool:
    """What is handed out where there may be no further pool: every request fails at once."""

    __slots__ = ()

    def new_stream(self, response_decoder: Any, callbacks: Any) -> None:
        """As HttpConnPool.new_stream."""
        callbacks.on_pool_failure(PoolFailureReason.NO_POOL, "", None)

    def preconnect(self, ratio: float) -> bool:
        """As HttpConnPool.preconnect."""
        return False


NO_POOL = NoPool()

_POOLS: Final[dict[UpstreamProtocol, type[HttpConnPool]]] = {
    UpstreamProtocol.HTTP1: Http1ConnPool,
    UpstreamProtocol.HTTP2: Http2ConnPool,
    UpstreamProtocol.AUTO: MixedConnPool,
}


class HostPools:
    """Makes and finds the pools of one cluster's hosts."""

    __slots__ = ("_ahead", "_dispatcher", "_info", "_per_downstream", "always_special", "special")

    def __init__(self, config: ClusterConfig, dispatcher: Dispatcher, ahead: Ahead | None = None) -> None:
        self._dispatcher = dispatcher
        self._ahead = ahead
        self._info = config.info
        self._per_downstream = config.pool_per_downstream
        sockets = self._info.transport_sockets or self._info.transport_socket
        as_downstream = self._info.http.protocol is UpstreamProtocol.DOWNSTREAM
        others = self._per_downstream or ahead is not None or as_downstream
        self.special = sockets.special or others
        """Whether requests have to ask here."""
        self.always_special = sockets.always_special or others
        """Whether those without filter state have to ask as well."""

    def http_pool(
        self,
        host: Host,
        priority: int,
        downstream_protocol: str | None,
        options: tuple[SocketOption, ...],
        context: LbContext | None,
    ) -> HttpConnPool | NoPool:
        """The HTTP pool of a host for a request like this one."""
        protocol = self._info.http.spoken_for(downstream_protocol)
        if self._ahead is not None:
            self._ahead.before_stream(
                context, lambda other: self._http_pool(other, priority, protocol, options, context)
            )
        return self._http_pool(host, priority, protocol, options, context)

    def _http_pool(
        self,
        host: Host,
        priority: int,
        protocol: UpstreamProtocol,
        options: tuple[SocketOption, ...],
        context: LbContext | None,
    ) -> HttpConnPool | NoPool:
        apart, shared = self._apart(host, priority, options, context, self._per_downstream)
        key = self._key(priority, protocol, apart)
        pool = host.http_pools.get(key)
        if pool is not None:
            return pool
        if apart is not None:
            self._bring_along(apart, host, shared)
        return self.make_http_pool(host, priority, protocol, apart)

    def make_http_pool(
        self, host: Host, priority: int, protocol: UpstreamProtocol, apart: PoolOptions | None = None
    ) -> HttpConnPool | NoPool:
        """A fresh pool, if there may be one more."""
        manager = self._info.resource_manager(priority)
        limit = manager.connection_pools if manager.counts_pools else None
        if limit is not None and not limit.try_acquire() and not (_free_one(host, priority) and limit.try_acquire()):
            self._info.stats.inc(UPSTREAM_CX_POOL_OVERFLOW)
            return NO_POOL
        pool = _POOLS[protocol](self._dispatcher, host, priority, apart)
        key = self._key(priority, protocol, apart)
        host.http_pools[key] = pool
        if apart is not None or limit is not None:
            _forget_when_idle(pool, host, key, limit)
        return pool

    def _key(self, priority: int, protocol: UpstreamProtocol, apart: PoolOptions | None) -> Hashable:
        """Under which a host keeps a pool; the protocol tells them apart where a cluster speaks what its clients do."""
        key: Hashable = priority if apart is None else apart.key
        return key if self._info.http.protocol is protocol else (key, protocol)

    def tcp_pool(
        self, host: Host, priority: int, options: tuple[SocketOption, ...], context: LbContext | None
    ) -> TcpConnPool:
        """The TCP pool of a host, likewise; TCP connections serve one downstream each anyway."""
        if self._ahead is not None:
            self._ahead.before_stream(context, lambda other: self._tcp_pool(other, priority, options, context))
        return self._tcp_pool(host, priority, options, context)

    def _tcp_pool(
        self, host: Host, priority: int, options: tuple[SocketOption, ...], context: LbContext | None
    ) -> TcpConnPool:
        apart, shared = self._apart(host, priority, options, context, False)
        key: Hashable = priority if apart is None else apart.key
        pool = host.tcp_pools.get(key)
        if pool is None:
            if apart is not None:
                self._bring_along(apart, host, shared)
            pool = host.tcp_pools[key] = TcpConnPool(self._dispatcher, host, priority, apart)
            if apart is not None:
                _forget_when_idle(pool, host, key, None)
        return pool

    def _apart(
        self,
        host: Host,
        priority: int,
        options: tuple[SocketOption, ...],
        context: LbContext | None,
        per_downstream: bool,
    ) -> tuple[PoolOptions | None, SharedState]:
        """What sets a pool apart, and the filter state that goes along with its connections."""
        extra: tuple[Hashable, ...] = ()
        if per_downstream and context is not None and context.downstream_connection is not None:
            extra = (("downstream", context.downstream_connection.id),)
        shared: SharedState = {}
        socket = host.transport_socket
        asked = None
        if socket.special and (socket.always_special or has_filter_state(context)):
            shared = shared_state(context)
            if socket.internal is not None:
                extra += hash_key(shared)
            if socket.factory.uses_options:
                asked = transport_options(context, shared, socket.factory.uses_addresses)
                extra += socket.factory.hash_key(asked)
        if not options and not extra and socket.internal is None:
            return None, shared
        apart = PoolOptions(priority, options, extra)
        apart.transport = asked
        return apart, shared

    def _bring_along(self, apart: PoolOptions, host: Host, shared: SharedState) -> None:
        internal = host.transport_socket.internal
        if internal is not None:
            apart.passthrough = internal.passthrough(host, shared)


def _forget_when_idle(pool: HttpConnPool | TcpConnPool, host: Host, key: Hashable, limit: Resource | None) -> None:
    def forget() -> None:
        host.forget_pool(pool, key)
        if limit is not None:
            limit.dec()

    pool.on_idle(forget)


def _free_one(host: Host, priority: int) -> bool:
    """Close a pool of the host that does nothing; whether there was one."""
    for pool in host.http_pools.values():
        if pool.priority == priority and not pool.has_active_connections():
            pool.drain()
            if pool.is_idle:
                pool.tell_idle()
            return True
    return False
