"""The clusters of one worker (Envoy: the thread-local half of ``ClusterManagerImpl``).

A cluster is kept as the bytes that main sent until a request first asks for it: thousands of unused clusters cost a
few hundred bytes each. Main has validated every one of them, so compiling it here cannot fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from envoy.config.cluster.v3 import cluster_pb2

from proxeny.event.slices import finish
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import HostUpdate
from proxeny.upstream.stats import CLUSTERS_INFLATED, HOST, THREAD_LOCAL_CLUSTER_MANAGER
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxeny.event.slices import Steps
    from proxeny.kernel.limits import LimitTable
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.endpoints import HealthChange, HealthFlags, HostChange
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_report import Metrics
    from proxeny.upstream.priority_set import PrioritySet

_DECODE_HOSTS = msgspec.msgpack.Decoder(HostUpdate).decode


NO_GENERATIONS: Final[Mapping[str, int]] = {}


class Leaving(NamedTuple):
    """What is left of a cluster that goes."""

    hosts: list[Host]
    """Those that have connections left."""
    stat_prefix: str
    """Of statistics whose names were met at run time, and which nobody else has; empty: there are none."""


class ClusterManager:
    """``get`` is what routers and proxies call; the rest follows main's messages."""

    __slots__ = (
        "_active",
        "_context",
        "_failed",
        "_generations",
        "_health",
        "_hosts",
        "_inflated",
        "_local_name",
        "_serialized",
        "_stat_bases",
        "change_callbacks",
        "limits",
        "on_host_changes",
        "on_hosts_failed",
        "on_load_metrics",
        "on_outlier",
    )

    def __init__(self, context: FactoryContext, limits: LimitTable | None = None) -> None:
        self._context = context
        self.limits = limits
        """The circuit breakers' counts of all workers; None: limits hold within this worker only."""
        self.on_host_changes: Callable[[str, list[HostChange]], object] = lambda name, changes: None
        """Told of the hosts that clusters of type ORIGINAL_DST make and remove."""
        self.on_outlier: Callable[[str, int, int], object] = lambda cluster, base, kind: None
        """Told what main has to know of a host: the base of its stat block, an ``EjectionType``."""
        self.on_hosts_failed: Callable[[str, dict[int, int]], object] = lambda name, hosts: None
        """Told of hosts whose responses ask for them to be taken out of rotation, and how many such there were."""
        self.on_load_metrics: Callable[[str, dict[int, Metrics]], object] = lambda name, hosts: None
        """Told of what endpoints reported of their load, by stat index."""
        self._failed: dict[str, dict[int, int]] = {}
        self._active: dict[str, ThreadLocalCluster] = {}
        self._serialized: dict[str, bytes] = {}
        self._generations: dict[str, int] = {}
        """Of those that replaced others: how many."""
        self.change_callbacks: dict[Callable[[str], None], None] = {}
        """Called with the name of a cluster that was added, replaced or removed, or whose hosts or health changed."""
        self._hosts: dict[str, bytes] = {}
        """Host updates of DNS clusters that nobody has asked for yet."""
        self._health: dict[str, HealthFlags] = {}
        """Health of hosts of clusters that nobody has asked for yet, where it is not as first configured."""
        self._stat_bases: dict[str, dict[str, int]] = {}
        name = "main_thread" if not context.is_worker else f"worker_{context.worker_index}"
        prefix = f"thread_local_cluster_manager.{name}."
        self._local_name = cluster_config.local_cluster_name(context)
        self._inflated = context.stats.block(THREAD_LOCAL_CLUSTER_MANAGER, prefix)

    def get(self, name: str) -> ThreadLocalCluster | None:
        """The cluster of this name; compiled at the first call."""
        cluster = self._active.get(name)
        if cluster is None and name in self._serialized:
            cluster = self._inflate(name)
        return cluster

    def __contains__(self, name: str) -> bool:
        return name in self._serialized

    def names(self) -> list[str]:
        """All clusters, used or not."""
        return list(self._serialized)

    def add_or_update(self, cluster: Any) -> None:
        """Add or replace a cluster; its stat table must have been installed."""
        self.change(cluster.name, cluster.SerializeToString(), 0, b"")

    def add_serialized(self, clusters: Iterable[bytes], generations: Mapping[str, int] = NO_GENERATIONS) -> None:
        """Add or replace many clusters as main sent them."""
        for data in clusters:
            name = _name_of(data)
            self._close(self._add(name, data, generations.get(name, 0)))
        self._count()

    def _add(self, name: str, data: bytes, generation: int = 0) -> ThreadLocalCluster | None:
        """Keep a cluster; the one of its name that was in use and has to be closed."""
        self._forget(name)
        self._serialized[name] = data
        if generation:
            self._generations[name] = generation
        return self._active.pop(name, None)

    def _forget(self, name: str) -> None:
        self._hosts.pop(name, None)
        self._health.pop(name, None)
        self._stat_bases.pop(name, None)
        self._generations.pop(name, None)

    def change(self, name: str, data: bytes, generation: int, hosts: bytes) -> Leaving:
        """Add or replace a cluster, with its hosts where they are discovered; its stat table must have been
        installed."""
        leaving = self._close(self._add(name, data, generation))
        if hosts:
            self.update_hosts(name, hosts)
        self._count()
        self._tell(name)
        return leaving

    def remove(self, name: str) -> Leaving:
        """Forget a cluster: idle connections close now, busy ones when their requests are done."""
        self._forget(name)
        self._serialized.pop(name, None)
        leaving = self._close(self._active.pop(name, None))
        self._count()
        self._tell(name)
        return leaving

    def _close(self, cluster: ThreadLocalCluster | None) -> Leaving:
        if cluster is None:
            return Leaving([], "")
        prefix = cluster.info.stat_prefix
        shared = any(other.info.stat_prefix == prefix for other in self._active.values())
        return Leaving(cluster.close(), "" if shared else prefix)

    def _tell(self, name: str) -> None:
        for callback in list(self.change_callbacks):
            callback(name)

    def update_hosts(self, name: str, update: bytes) -> None:
        """The hosts that main resolved: a serialized ``HostUpdate``."""
        finish(self.update_hosts_steps(name, update))

    def update_hosts_steps(self, name: str, update: bytes) -> Steps[None]:
        """``update_hosts`` in slices; nothing else is to be told of the cluster meanwhile."""
        if name not in self._serialized:
            return
        decoded = _DECODE_HOSTS(update)
        yield
        self._install(name, decoded.stat_bases)
        yield
        self._hosts[name] = update
        self._health.pop(name, None)
        cluster = self._active.get(name)
        if cluster is not None:
            yield from cluster.update_hosts_steps(decoded.hosts, decoded.policy)
        if name == self._local_name:
            self._local_hosts_changed()
        self._tell(name)

    def update_health(self, changes: dict[str, HealthChange]) -> None:
        """What main found out about the health of hosts, by cluster."""
        for name, change in changes.items():
            cluster = self._active.get(name)
            if cluster is not None:
                cluster.update_health(change.flags, change.rebuild)
            elif name in self._serialized:
                self._health.setdefault(name, {}).update(change.flags)
        if self._local_name in changes:
            self._local_hosts_changed()
        if self.change_callbacks:
            for name in changes:
                self._tell(name)

    def _local_hosts(self) -> PrioritySet | None:
        """The hosts of the local cluster, where there is one."""
        cluster = self.get(self._local_name)
        return None if cluster is None else cluster.priority_set

    def _local_hosts_changed(self) -> None:
        """How much of the load stays in our zone is another matter now."""
        for name, cluster in self._active.items():
            if name != self._local_name:
                cluster.refresh_load_balancer()

    def host_failed(self, name: str, index: int) -> None:
        """A response asked for a host to be taken out of rotation; main is told once per turn."""
        if not self._failed:
            dispatcher = self._context.dispatcher
            assert dispatcher is not None
            dispatcher.call_soon(self._tell_of_failed)
        counts = self._failed.setdefault(name, {})
        counts[index] = counts.get(index, 0) + 1

    def _tell_of_failed(self) -> None:
        failed, self._failed = self._failed, {}
        for name, hosts in failed.items():
            self.on_hosts_failed(name, hosts)

    def _install(self, name: str, bases: dict[str, int]) -> None:
        """Make per-host stat blocks findable, each once."""
        installed = self._stat_bases.setdefault(name, {})
        table = {(HOST.name, prefix): base for prefix, base in bases.items() if prefix not in installed}
        install = getattr(self._context.stats, "install", None)
        if table and install is not None:
            install(table)
        installed.update(bases)

    def _inflate(self, name: str) -> ThreadLocalCluster:
        proto = cluster_pb2.Cluster.FromString(self._serialized[name])
        config = cluster_config.compile(proto, self._context, self._generations.get(name, 0))
        dispatcher = self._context.dispatcher
        assert dispatcher is not None
        cluster = self._active[name] = ThreadLocalCluster(
            config,
            dispatcher,
            self._context.worker_index,
            lambda changes: self.on_host_changes(name, changes),
            self._local_hosts if self._local_name and name != self._local_name else lambda: None,
        )
        update = self._hosts.get(name)
        if update is not None:
            decoded = _DECODE_HOSTS(update)
            cluster.update_hosts(decoded.hosts, decoded.policy)
        health = self._health.pop(name, None)
        if health:
            cluster.update_health(health, True)
        return cluster

    def _count(self) -> None:
        # As Envoy without deferred cluster creation: every known cluster counts.
        self._inflated.set(CLUSTERS_INFLATED, len(self._serialized))

    def close(self) -> None:
        """The worker ends."""
        for cluster in self._active.values():
            cluster.close()
        self._active.clear()

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"clusters": len(self._serialized), "inflated": len(self._active)}


def _name_of(data: bytes) -> str:
    """The name in a serialized Cluster (field 1, which upb and all others write first); parses it whole if not."""
    if data[:1] == b"\x0a" and data[1] < 0x80:
        return data[2 : 2 + data[1]].decode()
    return str(cluster_pb2.Cluster.FromString(data).name)
