"""Sub-clusters of a dynamic forward proxy: one STRICT_DNS cluster per host and port, made when it is first asked for.

A worker asks main for a sub-cluster that it does not have, and the request waits. Main adds it like any other cluster
(named ``DFPCluster:<host>:<port>``), and says so when it is warm. Those that no worker used for ``sub_cluster_ttl`` go.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.extensions.clusters.dynamic_forward_proxy.wanted import default_port, wanted_host, wanted_port
from proxeny.kernel.limits import LimitTable, Resource
from proxeny.upstream.dns_cache.names import parse_authority
from proxeny.upstream.dns_cache.stats import DNS_CACHE_LIMITS, HOSTS_ROW
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.stats import UPSTREAM_CX_NONE_HEALTHY
from proxeny.upstream.sub_cluster_link import MainSubClusterLink, WorkerSubClusters

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import DiscoveryOwner
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.context import LbContext
    from proxeny.upstream.load_balancer.contract import DetermineLoad
    from proxeny.upstream.sub_cluster_link import PendingSubCluster

log = logging.getLogger("proxeny.forward_proxy")

DEFAULT_MAX: Final = 1024
DEFAULT_TTL_MS: Final = 300_000
"""SubClustersConfig."""
ANSWER_MS: Final = 1000
"""A worker that does not say within this time what it used is not waited for."""
_CLUSTER_PROVIDED: Final = 6
_STRICT_DNS: Final = 1


@dataclass(slots=True, frozen=True)
class SubClusterOptions:
    """``SubClustersConfig``; ``preresolve_clusters`` has no effect in Envoy either."""

    lb_policy: int
    max_sub_clusters: int
    ttl_ms: int
    limits_base: int
    """Where the number of sub-clusters is counted."""


def compile(config: Any, cluster_name: str, context: FactoryContext) -> SubClusterOptions:
    """ConfigError in Envoy's words."""
    if config.lb_policy == _CLUSTER_PROVIDED:
        raise ConfigError("unsupported lb_policy 'CLUSTER_PROVIDED' in sub_cluster_config")
    return SubClusterOptions(
        lb_policy=config.lb_policy,
        max_sub_clusters=config.max_sub_clusters.value if config.HasField("max_sub_clusters") else DEFAULT_MAX,
        ttl_ms=milliseconds(config.sub_cluster_ttl) if config.HasField("sub_cluster_ttl") else DEFAULT_TTL_MS,
        limits_base=context.stats.block(DNS_CACHE_LIMITS, f"cluster.{cluster_name}.sub_clusters.").base,
    )


def count_of(options: SubClusterOptions, context: FactoryContext) -> Resource:
    """The number of sub-clusters, as all processes see it."""
    table = context.limits if context.limits is not None else LimitTable.create(1)
    return Resource(table, options.limits_base + HOSTS_ROW, options.max_sub_clusters)


def sub_cluster_name(host: bytes, port: int) -> tuple[str, str, int]:
    """The name of the sub-cluster of a host header, the host and its port."""
    authority = parse_authority(host.decode("latin-1"))
    if authority.port is not None:
        port = authority.port
    return f"DFPCluster:{authority.host}:{port}", authority.host, port


class SubClusterDiscovery:
    """The sub-clusters of one cluster, in main; the cluster itself has no hosts."""

    def __init__(self, proto: Any, options: SubClusterOptions, owner: DiscoveryOwner) -> None:
        """``proto``: the cluster that they are made after."""
        self._proto = proto
        self._options = options
        self._manager = owner.clusters
        self._link = MainSubClusterLink.of(owner.context)
        dispatcher = owner.context.dispatcher
        assert dispatcher is not None
        self._dispatcher = dispatcher
        self._count = count_of(options, owner.context)
        self._last_used: dict[str, int] = {}
        self._left_to_answer = 0
        self._timer = dispatcher.create_timer(self._on_timer)
        self._initialized = owner.initialized

    def start(self) -> None:
        """There is nothing to wait for."""
        self._timer.enable(self._options.ttl_ms)
        self._link.add(self._proto.name, self)
        self._initialized()

    def ask(self, name: str, host: str, port: int) -> None:
        """A request waits for a sub-cluster."""
        known = name in self._last_used
        if not known and len(self._last_used) >= self._options.max_sub_clusters:
            return
        self._last_used[name] = self._dispatcher.monotonic_ns()
        if known:
            if self._manager.find(name) is not None:
                self._link.tell(self._proto.name, name, True)
            return
        self._count.inc()
        self._link.expect(self._proto.name, name)
        try:
            self._manager.add_or_update(self._like_parent(name, host, port))
        except ConfigError as error:
            log.warning("Failed to update DFP cluster due to %s", error)
            self._forget(name)

    def _like_parent(self, name: str, host: str, port: int) -> Any:
        proto = type(self._proto)()
        proto.CopyFrom(self._proto)
        proto.name = name
        proto.ClearField("cluster_type")
        proto.lb_policy = self._options.lb_policy
        proto.type = _STRICT_DNS
        proto.load_assignment.cluster_name = name
        proto.load_assignment.ClearField("endpoints")
        endpoint = proto.load_assignment.endpoints.add().lb_endpoints.add().endpoint
        endpoint.address.socket_address.address = host
        endpoint.address.socket_address.port_value = port
        return proto

    # -- expiry --------------------------------------------------------------------------------------------------
    def _on_timer(self) -> None:
        if not self._left_to_answer and self._last_used:
            self._left_to_answer = self._link.ask_use(self._proto.name)
            if self._left_to_answer:
                self._timer.enable(ANSWER_MS)
                return
        self._decide()

    def on_used(self, last_used: dict[str, int]) -> None:
        """What a worker used, and when."""
        for name, when in last_used.items():
            if when > self._last_used.get(name, when):
                self._last_used[name] = when
        if self._left_to_answer:
            self._left_to_answer -= 1
            if not self._left_to_answer:
                self._decide()

    def _decide(self) -> None:
        self._left_to_answer = 0
        oldest = self._dispatcher.monotonic_ns() - self._options.ttl_ms * 1_000_000
        for name in [name for name, when in self._last_used.items() if when < oldest]:
            log.debug("cluster='%s' TTL expired", name)
            self._forget(name)
            self._manager.remove(name)
        self._timer.enable(self._options.ttl_ms)

    def _forget(self, name: str) -> None:
        del self._last_used[name]
        self._count.dec()
        self._link.tell(self._proto.name, name, False)

    def close(self) -> None:
        """The cluster goes, and its sub-clusters with it (all clusters go when the server ends)."""
        self._timer.close()
        self._link.remove(self._proto.name, self)
        names = list(self._last_used)
        for name in names:
            self._forget(name)
        self._dispatcher.call_soon(self._remove_all, self._manager.find(self._proto.name), names)

    def _remove_all(self, parent: Any, names: list[str]) -> None:
        if self._manager.find(self._proto.name) is not parent or parent is None:
            for name in names:
                self._manager.remove(name)


class SubClusterLoadBalancer:
    """A worker's choice: the sub-cluster of the host that is wanted chooses among its hosts."""

    __slots__ = ("_context", "_count", "_info", "_link", "_now", "default_port")

    always_finds = True
    """Where it does not, it counts that itself."""

    def __init__(self, config: ClusterConfig, options: SubClusterOptions, now: Callable[[], int]) -> None:
        """``now``: the dispatcher's clock."""
        self._info = config.info
        self._context = config.context
        self._link = WorkerSubClusters.of(config.context)
        self._count = count_of(options, config.context)
        self._now = now
        self.default_port = default_port(config.info)

    def find(self, host: bytes, port: int) -> Any:
        """The sub-cluster of a host, which is used now; None: it is not there. ``port``: where the host names none."""
        name, _, _ = sub_cluster_name(host, port)
        cluster = self._context.cluster_manager.get(name)
        if cluster is not None:
            self._link.touch(self._info.name, name, self._now())
        return cluster

    def ask(self, host: bytes, port: int, callback: Callable[[], object]) -> PendingSubCluster | None:
        """Have main add one; ``callback`` comes when it is there. None: there are too many."""
        name, bare, port = sub_cluster_name(host, port)
        if not self._count.can_create() and not self._link.is_known(self._info.name, name):
            return None
        return self._link.ask(self._info.name, name, bare, port, callback)

    def choose_host(self, context: LbContext | None) -> Host | None:
        """A host of the sub-cluster, if that is there and has one."""
        name = b"" if context is None else wanted_host(context)
        host = None
        if context is not None and name:
            cluster = self.find(name, wanted_port(context, self.default_port))
            if cluster is not None and cluster.priority_set.hosts():
                host = cluster.choose_host(context)
        if host is None:
            self._info.stats.inc(UPSTREAM_CX_NONE_HEALTHY)
        return host

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """As the sub-cluster does without it."""
        return self.choose_host(context)

    def refresh(self) -> None:
        """The cluster itself has no hosts."""

    def hosts(self) -> list[Host]:
        """None: they are the sub-clusters'."""
        return []

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"policy": "cluster_provided", "sub_clusters": self._count.count}

    def close(self) -> None:
        """The cluster goes; main removes what belongs to it."""
