"""One upstream host (Envoy: ``Upstream::Host``) as a worker sees it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from envoy.config.core.v3 import base_pb2

from proxeny.kernel.limits import Resource
from proxeny.network.address import InternalAddress, ip_address, pipe_address
from proxeny.network.transport_socket import with_alpn_fallback
from proxeny.pool.cluster_stats import HOST_CX_TOTAL, UPSTREAM_CX_TOTAL
from proxeny.upstream.endpoints import (
    DEGRADED_ACTIVE_HC,
    DEGRADED_EDS_HEALTH,
    DEGRADED_OUTLIER_DETECTION,
    EDS_STATUS_DRAINING,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_ACTIVE_HC,
    FAILED_EDS_HEALTH,
    FAILED_OUTLIER_CHECK,
    HEALTH_FLAG_NAMES,
    INTERNAL,
    PENDING_ACTIVE_HC,
    PIPE,
    HostEntry,
)
from proxeny.upstream.override_host import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN
from proxeny.upstream.resource_manager import COUNTABLE
from proxeny.upstream.stats import HOST_CX_ACTIVE, HOST_RQ_ACTIVE, HOST_RQ_PENDING_ACTIVE
from proxeny.upstream.transport_socket_match import PLAIN

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.outlier import HostMonitor
    from proxeny.kernel.stats import Block
    from proxeny.network.address import Address
    from proxeny.network.connection import ClientConnection
    from proxeny.network.transport_socket import UpstreamTransportSocketFactory
    from proxeny.pool.base import ConnPoolBase
    from proxeny.pool.http import HttpConnPool
    from proxeny.pool.options import PoolOptions
    from proxeny.pool.tcp import TcpConnPool
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.transport_socket_match import ClusterSocket

_UNHEALTHY = FAILED_ACTIVE_HC | FAILED_OUTLIER_CHECK | FAILED_EDS_HEALTH | EDS_STATUS_DRAINING
_DEGRADED = DEGRADED_ACTIVE_HC | DEGRADED_EDS_HEALTH | DEGRADED_OUTLIER_DETECTION


def _to_address(address: str, port: int, endpoint_id: str = "") -> Address:
    if port == PIPE:
        return pipe_address(address)
    if port == INTERNAL:
        return InternalAddress(address, endpoint_id)
    return ip_address(address, port)


class Health(IntEnum):
    """Envoy: ``Upstream::Host::Health``."""

    UNHEALTHY = 0
    DEGRADED = 1
    HEALTHY = 2


def health_of(flags: int) -> Health:
    """The coarse health that flags amount to."""
    if flags & _UNHEALTHY:
        return Health.UNHEALTHY
    return Health.DEGRADED if flags & _DEGRADED else Health.HEALTHY


def is_excluded(flags: int) -> bool:
    """Whether a host does not count at all (panic, spillover): it took itself out of rotation, its endpoint is
    draining, or it is to be ignored until its first check (``ignore_new_hosts_until_first_hc``)."""
    return bool(flags & (EXCLUDED_VIA_IMMEDIATE_HC_FAIL | EDS_STATUS_DRAINING | PENDING_ACTIVE_HC))


def health_flags_text(flags: int) -> str:
    """As /clusters prints them."""
    return "".join([name for flag, name in HEALTH_FLAG_NAMES if flags & flag]) or "healthy"


class Host:
    """A host of one cluster: address, weight, health, its stat block and its pools.

    Pools are kept by priority, those with options of their own by ``PoolOptions.key``.
    """

    __slots__ = (
        "_address",
        "_connections",
        "_metadata",
        "_transport_socket",
        "canary",
        "cluster",
        "entry",
        "health_flags",
        "healthy_since_ms",
        "hostname",
        "http_pools",
        "known_streams",
        "lb_data",
        "locality",
        "outlier",
        "priority",
        "stats",
        "tcp_pools",
        "weight",
    )

    def __init__(self, cluster: ClusterInfo, entry: HostEntry, stats: Block) -> None:
        self.cluster = cluster
        self.stats = stats
        self.http_pools: dict[Hashable, HttpConnPool] = {}
        self.tcp_pools: dict[Hashable, TcpConnPool] = {}
        rules = cluster.outlier
        self.outlier: HostMonitor | None = None if rules is None else rules.monitor(stats.base)
        """Told what becomes of requests and connections, with outlier detection."""
        self._connections: dict[int, Resource] | None = None
        self.known_streams: int | None = None
        """How many streams a connection to it carries, as the last one with ``auto_config`` said (Envoy:
        ``HttpServerPropertiesCache``, which is also where alternative services would be kept)."""
        self.healthy_since_ms = -1
        """When health checks let it in, or a load balancer with slow start first saw it (Envoy: ``lastHcPassTime``)."""
        self.lb_data: Any = None
        """What the load balancer keeps of it (Envoy: ``HostLbPolicyData``)."""
        self._set_entry(entry)

    def _set_entry(self, entry: HostEntry) -> None:
        self.entry = entry
        self.hostname = entry.hostname
        self.weight = entry.weight
        self.priority = entry.priority
        self.health_flags = entry.health_flags
        self.locality = (entry.region, entry.zone, entry.sub_zone)
        self.canary = entry.canary
        self._address: Address | None = None
        self._metadata: Any = None
        self._transport_socket: ClusterSocket | None = None

    def update(self, entry: HostEntry) -> bool:
        """Take over what may change in place; whether that matters to load balancers."""
        if entry == self.entry:
            return False
        self._set_entry(entry)
        return True

    def is_at(self, entry: HostEntry) -> bool:
        """Whether ``entry`` has this host's address."""
        return self.entry.address == entry.address and self.entry.port == entry.port

    def set_health_flags(self, flags: int) -> None:
        """What main found out about this host; the owner rebuilds the host sets."""
        self.health_flags = self.entry.health_flags = flags

    @property
    def address(self) -> Address:
        """Where to connect to."""
        if self._address is None:
            entry = self.entry
            self._address = _to_address(entry.address, entry.port, entry.endpoint_id)
        return self._address

    @property
    def metadata(self) -> Any:
        """The endpoint's core.v3.Metadata."""
        if self._metadata is None:
            self._metadata = base_pb2.Metadata.FromString(self.entry.metadata)
        return self._metadata

    @property
    def locality_metadata(self) -> Any:
        """That of its locality; None: there is none."""
        metadata = self.entry.locality_metadata
        return base_pb2.Metadata.FromString(metadata) if metadata else None

    @property
    def transport_socket(self) -> ClusterSocket:
        """What connections to it speak through."""
        found = self._transport_socket
        if found is None:
            cluster = self.cluster
            found = cluster.transport_socket
            if cluster.transport_sockets is not None:
                found = cluster.transport_sockets.resolve(self.entry).socket
            self._transport_socket = found
        return found

    @property
    def is_busy(self) -> bool:
        """Whether connections to it, or requests, are left in this worker."""
        get = self.stats.get
        return bool(get(HOST_CX_ACTIVE) or get(HOST_RQ_ACTIVE) or get(HOST_RQ_PENDING_ACTIVE))

    @property
    def health(self) -> Health:
        """Healthy, degraded or not to be used."""
        return health_of(self.health_flags)

    @property
    def health_status(self) -> int:
        """A core.v3.HealthStatus: what was found out goes before what is configured."""
        flags, said = self.health_flags, self.entry.health_status
        if flags & (FAILED_ACTIVE_HC | FAILED_OUTLIER_CHECK):
            return UNHEALTHY
        if flags & (DEGRADED_ACTIVE_HC | DEGRADED_OUTLIER_DETECTION) and said in (UNKNOWN, HEALTHY):
            return DEGRADED
        return said

    @property
    def excluded(self) -> bool:
        """Whether it does not count at all (Envoy: ``excludeBasedOnHealthFlag``)."""
        return bool(self.health_flags & (EXCLUDED_VIA_IMMEDIATE_HC_FAIL | PENDING_ACTIVE_HC))

    def create_connection(
        self, dispatcher: Dispatcher, options: PoolOptions | None = None, alpn: tuple[str, ...] = ()
    ) -> ClientConnection:
        """A connection to this host, not yet connecting; with TLS it offers ``alpn`` where nothing else says what."""
        socket = self.transport_socket
        if socket is not PLAIN:
            return self._create_through(socket.factory, dispatcher, options, alpn)
        return self._create_plain(dispatcher, options)

    def _create_plain(self, dispatcher: Dispatcher, options: PoolOptions | None) -> ClientConnection:
        more = self.entry.additional_addresses
        if not more:
            return self.cluster.create_connection(dispatcher, self.address, options)
        additional = [_to_address(address, port) for address, port in more]
        return self.cluster.create_connection(dispatcher, self.address, options, additional, self._count_attempt)

    def _create_through(
        self,
        factory: UpstreamTransportSocketFactory,
        dispatcher: Dispatcher,
        options: PoolOptions | None,
        alpn: tuple[str, ...],
    ) -> ClientConnection:
        asked = None if options is None else options.transport
        if alpn and factory.supports_alpn:
            asked = with_alpn_fallback(asked, alpn)
        elsewhere = factory.redirect(asked, self)
        if elsewhere is None:
            made = self._create_plain(dispatcher, options)
        else:
            made = self.cluster.create_connection(dispatcher, elsewhere, options)
        made.set_transport(factory.create(made, asked, self))
        return made

    def connection_limit(self, priority: int) -> Resource | None:
        """What limits the connections to this host of a priority's pools (``per_host_thresholds``), or None.

        Connections of all priorities and workers count, in the row that the host's stat block numbers.
        """
        limits = self.cluster.max_connections_per_host
        if limits is None:
            return None
        if self._connections is None:
            self._connections = {}
        if priority not in self._connections:
            row = self.stats.base + HOST_CX_ACTIVE
            maximum = min(limits[priority], COUNTABLE)
            self._connections[priority] = Resource(self.cluster.limit_table(), row, maximum)
        return self._connections[priority]

    def _count_attempt(self) -> None:
        """Envoy counts a connection for each address that is tried; the pool has counted the first."""
        self.stats.inc(HOST_CX_TOTAL)
        self.cluster.stats.inc(UPSTREAM_CX_TOTAL)

    def forget_pool(self, pool: ConnPoolBase, key: Hashable) -> None:
        """The pool with options of its own under ``key`` is empty; who asks for its like gets a fresh one."""
        tables: tuple[dict[Hashable, Any], ...] = (self.http_pools, self.tcp_pools)
        for pools in tables:
            if pools.get(key) is pool:
                del pools[key]

    def drain_pools(self) -> None:
        """The host goes: idle connections close now, busy ones after what they do; the pools are forgotten."""
        pools: list[ConnPoolBase] = [*self.http_pools.values(), *self.tcp_pools.values()]
        self.http_pools.clear()
        self.tcp_pools.clear()
        for pool in pools:
            pool.drain()
            if pool.is_idle:
                pool.tell_idle()

    def on_health_failure(self, close: bool) -> None:
        """The host failed a check, or was ejected: new connections might do better. With ``close`` TCP connections that
        are in use end at once (``close_connections_on_host_health_failure``)."""
        if close:
            for pool in list(self.tcp_pools.values()):
                pool.close_connections()
        self.drain_pools()

    def statistics(self) -> dict[str, int]:
        """This worker's counts."""
        from proxeny.upstream.stats import HOST

        return {name: self.stats.get(slot) for slot, name in enumerate(HOST.names)}

    def __repr__(self) -> str:
        return f"<Host {self.cluster.name} {self.address.as_string()} {health_flags_text(self.health_flags)}>"
