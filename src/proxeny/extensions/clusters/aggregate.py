"""``envoy.clusters.aggregate``: a cluster whose hosts are those of other clusters, one cluster after the other.

The priorities of the clusters are put in a row, those without hosts left out: clusters ``a`` (two priorities) and ``b``
(one) give the priorities a0, a1, b0. How much of the load each of them takes follows from the health of their hosts, as
within one cluster; which host of a priority it is, the load balancer of its cluster says. Connections, limits and
ejections are those of the host's own cluster; what the router counts, of the aggregate one.

The row is made anew, in each worker, at the first request after any of the clusters changed.
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.loader import unpack_any
from proxeny.upstream.discovery import Compiled, PlainClusterFactory
from proxeny.upstream.host_pools import NO_POOL
from proxeny.upstream.load_balancer import priority_load
from proxeny.upstream.load_balancer.priority_load import PriorityLoad

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.socket_options import SocketOption
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import ClusterLoadBalancer, WorkerSeat
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad
    from proxeny.upstream.priority_set import HostSet, PrioritySet
    from proxeny.upstream.thread_local_cluster import ThreadLocalCluster


class Row:
    """The priorities of all clusters, one after the other; to retries it is the ``PrioritySet``."""

    __slots__ = ("_numbers", "clusters", "host_sets", "load", "places")

    def __init__(self, clusters: list[ThreadLocalCluster], panic_threshold: int) -> None:
        self.clusters = {cluster.info.name: cluster for cluster in clusters}
        self.host_sets: list[HostSet] = []
        self.places: list[tuple[ThreadLocalCluster, int]] = []
        """Which priority of which cluster each of them is."""
        self._numbers: dict[tuple[str, int], int] = {}
        for cluster in clusters:
            for host_set in cluster.priority_set.host_sets:
                if host_set.hosts:
                    self._numbers[cluster.info.name, host_set.priority] = len(self.places)
                    self.places.append((cluster, host_set.priority))
                    self.host_sets.append(host_set)
        self.load = priority_load.calculate(self.host_sets, panic_threshold) if self.places else None

    def priority_of(self, host: Host) -> int:
        """The host's priority in the row; -1: its cluster has changed since."""
        return self._numbers.get((host.cluster.name, host.priority), -1)

    def hosts(self) -> list[Host]:
        """All hosts."""
        return [host for host_set in self.host_sets for host in host_set.hosts]


class OnePriority:
    """A ``DetermineLoad``: all load to the healthy, or to the degraded, hosts of one priority."""

    __slots__ = ("_degraded", "_priority")

    def __init__(self, priority: int, degraded: bool) -> None:
        self._priority = priority
        self._degraded = degraded

    def __call__(self, priority_set: PrioritySet, original: PriorityLoad) -> PriorityLoad:
        nothing = [0] * len(original.healthy)
        everything = [100 if i == self._priority else 0 for i in range(len(nothing))]
        loads = (nothing, everything) if self._degraded else (everything, nothing)
        return PriorityLoad(*loads, original.panic)


class AggregatePools:
    """The pools of hosts are those of their own clusters (as ``HostPools``)."""

    __slots__ = ("_balancer", "always_special", "special")

    def __init__(self, balancer: AggregateLoadBalancer) -> None:
        self._balancer = balancer
        self.special = self.always_special = True

    def http_pool(
        self, host: Host, priority: int, protocol: str | None, options: tuple[SocketOption, ...], context: Any
    ) -> Any:
        cluster = self._balancer.cluster_of(host)
        return NO_POOL if cluster is None else cluster.http_pool(host, priority, protocol, options, context)

    def tcp_pool(self, host: Host, priority: int, options: tuple[SocketOption, ...], context: Any) -> Any:
        cluster = self._balancer.cluster_of(host)
        return NO_POOL if cluster is None else cluster.tcp_pool(host, priority, options, context)


class AggregateLoadBalancer:
    """Chooses a priority of the row, then asks its cluster."""

    __slots__ = ("_manager", "_names", "_on_change", "_own_name", "_panic_threshold", "_row", "pools")

    def __init__(self, config: ClusterConfig) -> None:
        self._manager = config.context.cluster_manager
        self._own_name = config.info.name
        self._names: tuple[str, ...] = config.options
        self._panic_threshold = config.lb_common.panic_threshold
        self._row: Row | None = None
        self.pools = AggregatePools(self)
        """Instead of the cluster's own."""
        self._on_change = self._changed
        callbacks = getattr(self._manager, "change_callbacks", None)
        if callbacks is not None:
            callbacks[self._on_change] = None

    def _changed(self, name: str) -> None:
        if name in self._names:
            self._row = None

    def _made(self) -> Row:
        row = self._row
        if row is None:
            found = [self._manager.get(name) for name in self._names if name != self._own_name]
            row = self._row = Row([cluster for cluster in found if cluster is not None], self._panic_threshold)
        return row

    def cluster_of(self, host: Host) -> ThreadLocalCluster | None:
        """Whose host it is."""
        return self._made().clusters.get(host.cluster.name)

    def choose_host(self, context: Any) -> Host | None:
        """A host by the usual loads."""
        row = self._made()
        return None if row.load is None else self._choose(row, row.load, context)

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """A host by what a retry makes of them."""
        row = self._made()
        seen: Any = row
        return None if row.load is None else self._choose(row, determine(seen, row.load), context)

    def _choose(self, row: Row, load: PriorityLoad, context: Any) -> Host | None:
        left = int(random() * 100)
        for degraded, shares in ((False, load.healthy), (True, load.degraded)):
            for number, percent in enumerate(shares):
                if left < percent:
                    cluster, priority = row.places[number]
                    return cluster.choose_uncounted(OnePriority(priority, degraded), context)
                left -= percent
        return None

    def refresh(self) -> None:
        """Main publishes no hosts for this cluster."""

    def hosts(self) -> list[Host]:
        """None of its own."""
        return []

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        load = self._made().load or PriorityLoad([], [], [])
        return {
            "policy": "cluster_provided",
            "healthy_load": load.healthy,
            "degraded_load": load.degraded,
            "panic": load.panic,
        }

    def close(self) -> None:
        """The cluster goes."""
        callbacks = getattr(self._manager, "change_callbacks", {})
        callbacks.pop(self._on_change, None)
        self._names = ()
        self._row = None


class AggregateClusterFactory(PlainClusterFactory):
    """``envoy.clusters.aggregate``."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        config: Any = unpack_any(cluster.cluster_type.typed_config)
        return Compiled(tuple(config.clusters), is_secondary=True)

    def load_balancer(self, config: ClusterConfig, seat: WorkerSeat) -> ClusterLoadBalancer | None:
        return AggregateLoadBalancer(config)


FACTORY: Final = AggregateClusterFactory(provides_lb=True)
