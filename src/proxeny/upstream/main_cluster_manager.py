"""The clusters in main (Envoy: the main half of ``ClusterManagerImpl``): validation, DNS, membership, admin data.

How the server uses it::

    manager = MainClusterManager(context, concurrency)      # context.role == "main"
    manager.add_static(bootstrap.static_resources.clusters)  # ConfigError on what is refused
    manager.on_hosts_changed = send_update_hosts_to_workers  # (name, bytes): ClusterManager.update_hosts there
    manager.initialize(on_initialized)                       # starts DNS; listeners start when it calls back

To a (new) worker go: ``process_table`` with its first message, ``limits_fd`` as a descriptor, then ``snapshot()`` (all
clusters and their stat table), then every pair of ``host_updates()``. ``worker_died(index)`` frees what it held of the
circuit breakers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import msgspec

from proxeny.config.errors import ConfigError
from proxeny.kernel.limits import LimitTable
from proxeny.kernel.stats import sum_slots
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.cluster_config import ClusterConfig, ClusterType
from proxeny.upstream.cluster_status import CircuitBreakerStatus, ClusterStatus, HostStatus
from proxeny.upstream.dns_cluster import DnsCluster
from proxeny.upstream.dns_resolver import Resolver
from proxeny.upstream.endpoints import HostChange, HostEntry, HostUpdate, host_stat_prefix
from proxeny.upstream.host import Health, Host, health_flags_text, health_of, is_excluded
from proxeny.upstream.host_health import ClusterHealth, HostHealth
from proxeny.upstream.load_balancer.contract import LbSetting
from proxeny.upstream.on_demand_hosts import OnDemandHosts
from proxeny.upstream.original_dst_config import HOST_BLOCKS, SHARED_BLOCK
from proxeny.upstream.priority_set import PrioritySet
from proxeny.upstream.resource_manager import show_limits
from proxeny.upstream.stats import (
    CLUSTER_MANAGER,
    CLUSTERS_INFLATED,
    CM_ACTIVE_CLUSTERS,
    CM_CLUSTER_ADDED,
    CM_CLUSTER_MODIFIED,
    CM_CLUSTER_REMOVED,
    CM_WARMING_CLUSTERS,
    DEFAULT_TOTAL_MATCH_COUNT,
    HOST,
    LIMITS,
    MAX_HOST_WEIGHT,
    MEMBERSHIP_CHANGE,
    MEMBERSHIP_DEGRADED,
    MEMBERSHIP_EXCLUDED,
    MEMBERSHIP_HEALTHY,
    MEMBERSHIP_TOTAL,
    THREAD_LOCAL_CLUSTER_MANAGER,
)

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import BlockEntry, StatTable
    from proxeny.upstream.dns_options import DnsOptions

SPARE_HOST_BLOCKS = 256
"""Stat blocks of hosts that went away are used again only when so many are spare: by then the workers' draining
connections to the old host, which still count in its block, are gone."""

_encode_hosts = msgspec.msgpack.Encoder().encode


class MainCluster:
    """One cluster as main keeps it: serialized for the workers, its hosts, its stat tables."""

    __slots__ = (
        "added_via_api",
        "config",
        "dns",
        "host_table",
        "hosts",
        "next_index",
        "on_demand",
        "serialized",
        "spare",
        "table",
    )

    def __init__(self, config: ClusterConfig, serialized: bytes, table: StatTable, added_via_api: bool) -> None:
        self.config = config
        self.serialized = serialized
        self.table = table
        self.added_via_api = added_via_api
        self.hosts: list[HostEntry] = config.hosts
        self.dns: DnsCluster | None = None
        self.on_demand = None if config.original_dst is None else OnDemandHosts(config.info.name)
        """The hosts that workers made, where it is they who make them."""
        self.host_table: StatTable = {}
        """Per-host blocks of a DNS cluster (those of a static one are in ``table``)."""
        self.next_index = 0
        self.spare: list[int] = []

    def members(self) -> list[HostEntry]:
        """The hosts that there are now."""
        return self.hosts if self.on_demand is None else self.on_demand.entries()


class MainClusterManager:
    """All clusters of the server; changes reach the workers through ``on_hosts_changed`` and the server's messages."""

    def __init__(self, context: FactoryContext, concurrency: int = 1, limits: LimitTable | None = None) -> None:
        self._context = context
        self._store = cast(MainStore, context.stats)
        self._clusters: dict[str, MainCluster] = {}
        self._resolvers: dict[tuple[Any, ...], Resolver] = {}
        self._waiting: set[str] = set()
        self._on_initialized: Callable[[], None] | None = None
        self._started = False
        self._limits = limits
        self._concurrency = concurrency
        self.on_hosts_changed: Callable[[str, bytes], None] | None = None
        """Called with a cluster's name and the ``HostUpdate`` that every worker must apply."""
        self._stats = self._store.block(CLUSTER_MANAGER, "cluster_manager.")
        with self._store.recording() as table:
            for index in range(concurrency):
                self._store.block(THREAD_LOCAL_CLUSTER_MANAGER, f"thread_local_cluster_manager.worker_{index}.")
        self.process_table: StatTable = table
        """Blocks that belong to the workers as such."""
        self._inflated = self._store.block(THREAD_LOCAL_CLUSTER_MANAGER, "thread_local_cluster_manager.main_thread.")
        self.health = HostHealth(context.dispatcher, self._stats)
        """The health flags of hosts that are checked, ejected ..."""
        self.health.on_members = self._show_health

    # -- clusters ------------------------------------------------------------------------------------------------
    def add_static(self, clusters: Iterable[Any]) -> None:
        """Compile the bootstrap's clusters; ConfigError (with the cluster's path) refuses the whole."""
        for i, cluster in enumerate(clusters):
            try:
                self.add_or_update(cluster, added_via_api=False)
            except ConfigError as error:
                path = f"static_resources.clusters[{i}]"
                error.path = f"{path}.{error.path}" if error.path else path
                raise

    def add_or_update(self, proto: Any, added_via_api: bool = True) -> bool:
        """Add a cluster or replace it by a different one of its name; False when it is the same."""
        name = proto.name
        serialized = proto.SerializeToString(deterministic=True)
        old = self._clusters.get(name)
        if old is not None and old.serialized == serialized:
            return False
        with self._store.recording() as table:
            config = cluster_config.compile(proto, self._context)
        cluster = MainCluster(config, serialized, table, added_via_api)
        self._clusters[name] = cluster
        if old is None:
            self._stats.inc(CM_CLUSTER_ADDED)
        else:
            self._stats.inc(CM_CLUSTER_MODIFIED)
            self._release(old)
        for priority, thresholds in enumerate(config.info.thresholds):
            remaining = config.info.remaining_block(priority)
            if remaining is not None:
                show_limits(thresholds, remaining)
        if cluster.hosts:
            self._show_members(cluster, cluster.hosts)
        self._show_counts()
        if self._started:
            self._start(name, cluster)
        return True

    def remove(self, name: str) -> StatTable | None:
        """Forget a cluster. Its stat table, to be given to ``release_stats`` once all workers let go; None: unknown."""
        cluster = self._clusters.pop(name, None)
        if cluster is None:
            return None
        if cluster.dns is not None:
            cluster.dns.close()
        self.health.forget(name)
        self._waiting.discard(name)
        self._stats.inc(CM_CLUSTER_REMOVED)
        self._show_counts()
        return {**cluster.table, **cluster.host_table}

    def release_stats(self, table: StatTable) -> None:
        """All workers let go of a removed cluster: its blocks may be used again."""
        for (schema, _), base in table.items():
            if schema == LIMITS.name and self._limits is not None:
                self._limits.clear_rows(base, LIMITS.size)
        self._store.release(table)

    def _release(self, replaced: MainCluster) -> None:
        if replaced.dns is not None:
            replaced.dns.close()
        self.health.forget(replaced.config.info.name)
        # Blocks that the new generation has too stay; the others are no longer written by anybody.
        self._store.release({**replaced.table, **replaced.host_table})

    def find(self, name: str) -> MainCluster | None:
        """A cluster as main keeps it."""
        return self._clusters.get(name)

    def names(self) -> frozenset[str]:
        """The clusters there are (for ``validate_clusters``)."""
        return frozenset(self._clusters)

    def _show_counts(self) -> None:
        warming = len(self._waiting) if self._on_initialized is None else 0
        self._stats.set(CM_ACTIVE_CLUSTERS, len(self._clusters) - warming)
        self._stats.set(CM_WARMING_CLUSTERS, warming)
        self._inflated.set(CLUSTERS_INFLATED, len(self._clusters))

    # -- initialization and DNS ----------------------------------------------------------------------------------
    def initialize(self, on_initialized: Callable[[], None]) -> None:
        """Start to resolve; ``on_initialized`` is called once every cluster that is waited for has its hosts (or
        failed to get them). It is never called inside this call's own stack frames of another cluster."""
        self._started = True
        self._on_initialized = on_initialized
        dns = [(name, c) for name, c in self._clusters.items() if c.config.dns is not None]
        self._waiting = {name for name, cluster in dns if cluster.config.wait_for_warm_on_init}
        for name, cluster in dns:
            self._start(name, cluster)
        self._check_initialized()

    def _start(self, name: str, cluster: MainCluster) -> None:
        if cluster.config.dns is None:
            return
        dispatcher = self._context.dispatcher
        assert dispatcher is not None
        cluster.dns = DnsCluster(
            cluster.config,
            self._resolver(cluster.config.dns),
            dispatcher,
            lambda hosts: self._hosts_changed(name, cluster, hosts),
            lambda: self._initialized(name),
        )
        cluster.dns.start()

    def _resolver(self, options: DnsOptions) -> Resolver:
        key = (options.servers, options.use_tcp, options.no_search)
        resolver = self._resolvers.get(key)
        if resolver is None:
            assert self._context.dispatcher is not None
            resolver = self._resolvers[key] = Resolver(self._context.dispatcher, options)
        return resolver

    def _initialized(self, name: str) -> None:
        self._waiting.discard(name)
        self._check_initialized()

    def _check_initialized(self) -> None:
        if self._on_initialized is not None and not self._waiting:
            callback, self._on_initialized = self._on_initialized, None
            self._show_counts()
            callback()

    def _hosts_changed(self, name: str, cluster: MainCluster, hosts: list[HostEntry]) -> None:
        if self._clusters.get(name) is not cluster:
            return
        known = {(entry.address, entry.port): entry.stat_index for entry in cluster.hosts}
        logical = cluster.config.type is ClusterType.LOGICAL_DNS
        gone = known.keys() - {(entry.address, entry.port) for entry in hosts}
        for entry in hosts:
            index = known.get((entry.address, entry.port))
            if index is None:
                # The host of a logical cluster stays the same one whatever its address.
                index = cluster.hosts[0].stat_index if logical and cluster.hosts else self._host_index(cluster)
            entry.stat_index = index
        if not logical:
            cluster.spare.extend(known[key] for key in gone)
        fresh = self._allot(cluster, hosts)
        cluster.hosts = hosts
        self.health.replace_hosts(name, hosts)
        self._show_members(cluster, hosts)
        if self.on_hosts_changed is not None:
            self.on_hosts_changed(name, _encode_hosts(HostUpdate(hosts, fresh)))

    def _host_index(self, cluster: MainCluster) -> int:
        if len(cluster.spare) > SPARE_HOST_BLOCKS:
            return cluster.spare.pop(0)
        cluster.next_index += 1
        return cluster.next_index - 1

    def _allot(self, cluster: MainCluster, hosts: list[HostEntry]) -> dict[str, int]:
        """Blocks for hosts that have none yet: prefix -> base."""
        name = cluster.config.info.name
        fresh: dict[str, int] = {}
        for entry in hosts:
            prefix = host_stat_prefix(name, entry.stat_index)
            if (HOST.name, prefix) not in cluster.host_table:
                with self._store.recording() as table:
                    fresh[prefix] = self._store.block(HOST, prefix).base
                cluster.host_table.update(table)
        return fresh

    def _show_members(self, cluster: MainCluster, hosts: list[HostEntry]) -> None:
        stats = cluster.config.info.stats
        stats.inc(MEMBERSHIP_CHANGE)
        if cluster.config.type is ClusterType.STATIC:
            stats.add(DEFAULT_TOTAL_MATCH_COUNT, len(hosts))
        stats.set(MEMBERSHIP_TOTAL, len(hosts))
        _show_health(cluster.config, hosts)
        if cluster.config.type is ClusterType.STRICT_DNS:
            stats.set(MAX_HOST_WEIGHT, max((entry.weight for entry in hosts), default=1))
        if cluster.config.lb_policy.shows_members:
            _show_members_to(cluster.config, hosts)

    def watch_health(self, name: str) -> ClusterHealth:
        """The health flags of a cluster's hosts: whoever sets some asks for it first."""
        cluster = self._clusters[name]
        return self.health.watch(name, cluster.hosts, cluster.config.update_merge_window_ms)

    def _show_health(self, name: str) -> None:
        cluster = self._clusters.get(name)
        if cluster is not None:
            _show_health(cluster.config, cluster.hosts)

    # -- hosts that workers make ---------------------------------------------------------------------------------
    def on_host_changes(self, worker_index: int, name: str, changes: list[HostChange]) -> None:
        """A worker made or removed hosts of a cluster of type ORIGINAL_DST."""
        cluster = self._clusters.get(name)
        if cluster is None or cluster.on_demand is None:
            return
        for change in changes:
            if not change.added and change.block != SHARED_BLOCK:
                self._clear_retired(cluster, worker_index * HOST_BLOCKS + change.block)
        if any([cluster.on_demand.apply(worker_index, change) for change in changes]):
            self._members_changed(cluster, cluster.on_demand)

    def worker_started(self, worker_index: int) -> None:
        """A worker begins anew: the hosts that its predecessor had made are gone, and so are their counts."""
        for cluster in self._clusters.values():
            on_demand = cluster.on_demand
            if on_demand is None:
                continue
            for block in range(HOST_BLOCKS):
                self._clear_retired(cluster, worker_index * HOST_BLOCKS + block)
            if on_demand.forget_worker(worker_index):
                self._members_changed(cluster, on_demand)

    def _members_changed(self, cluster: MainCluster, on_demand: OnDemandHosts) -> None:
        """Only counted here: clients may name any number of destinations; /clusters makes the list when asked."""
        stats, count = cluster.config.info.stats, len(on_demand)
        stats.inc(MEMBERSHIP_CHANGE)
        stats.set(MEMBERSHIP_TOTAL, count)
        stats.set(MEMBERSHIP_HEALTHY, count)

    def _clear_retired(self, cluster: MainCluster, index: int) -> None:
        """What a host's counts left in the retired segment must not show as the next one's."""
        self._store.clear_retired(self._host_block(cluster, index))

    def _host_block(self, cluster: MainCluster, index: int) -> BlockEntry:
        return self._store.entries[HOST.name, host_stat_prefix(cluster.config.info.name, index)]

    # -- for the workers -----------------------------------------------------------------------------------------
    @property
    def limits(self) -> LimitTable:
        """The circuit breakers' counts of all workers (main reads them, column by column owned by the workers)."""
        if self._limits is None:
            self._limits = LimitTable.create(self._concurrency)
        return self._limits

    @property
    def limits_fd(self) -> int:
        """The descriptor of that table, for ``LimitTable(fd, concurrency, worker_index)`` in a worker."""
        return self.limits.fd

    def worker_died(self, index: int) -> None:
        """Free what a dead worker held of the circuit breakers."""
        self.limits.clear_column(index)

    def snapshot(self) -> tuple[list[bytes], StatTable]:
        """All clusters, serialized, and the table of their stat blocks."""
        table: StatTable = {}
        for cluster in self._clusters.values():
            table.update(cluster.table)
        return [cluster.serialized for cluster in self._clusters.values()], table

    def cluster_update(self, name: str) -> tuple[bytes, StatTable]:
        """One cluster, likewise."""
        cluster = self._clusters[name]
        return cluster.serialized, cluster.table

    def host_updates(self) -> Iterator[tuple[str, bytes]]:
        """What a new worker must be told of the hosts of DNS clusters."""
        for name, cluster in self._clusters.items():
            if cluster.config.dns is not None and cluster.hosts:
                bases = {prefix: base for (_, prefix), base in cluster.host_table.items()}
                yield name, _encode_hosts(HostUpdate(cluster.hosts, bases))

    # -- for admin -----------------------------------------------------------------------------------------------
    def clusters(self) -> Iterator[ClusterStatus]:
        """What /clusters shows, cluster by cluster; host counts are sums over the workers."""
        for cluster in self._clusters.values():
            yield self._status(cluster)

    def _status(self, cluster: MainCluster) -> ClusterStatus:
        info = cluster.config.info
        return ClusterStatus(
            name=info.name,
            observability_name=info.observability_name,
            added_via_api=cluster.added_via_api,
            circuit_breakers=tuple(
                CircuitBreakerStatus(t.max_connections, t.max_pending_requests, t.max_requests, t.max_retries)
                for t in info.thresholds
            ),
            hosts=[self._host_status(cluster, entry) for entry in cluster.members()],
        )

    def _host_status(self, cluster: MainCluster, entry: HostEntry) -> HostStatus:
        on_demand = cluster.on_demand
        indexes = [entry.stat_index] if on_demand is None else on_demand.stat_indexes(entry)
        blocks = [block for index in indexes for block in self._store.blocks_of(self._host_block(cluster, index))]
        values, _ = sum_slots(blocks, HOST.size)
        return HostStatus(
            address=entry.address,
            port=entry.port,
            hostname=entry.hostname,
            counters=dict(zip(HOST.counters, values[: HOST.gauges_from], strict=True)),
            gauges=dict(zip(HOST.gauges, values[HOST.gauges_from :], strict=True)),
            health_flags=health_flags_text(entry.health_flags),
            flags=entry.health_flags,
            weight=entry.weight,
            region=entry.region,
            zone=entry.zone,
            sub_zone=entry.sub_zone,
            canary=entry.canary,
            priority=entry.priority,
            endpoint_id=entry.endpoint_id,
        )

    def protos(self) -> Iterator[tuple[bytes, bool]]:
        """(serialized Cluster, added via API) of every cluster, for /config_dump."""
        for cluster in self._clusters.values():
            yield cluster.serialized, cluster.added_via_api

    def close(self) -> None:
        """The server ends."""
        for cluster in self._clusters.values():
            if cluster.dns is not None:
                cluster.dns.close()
        for resolver in self._resolvers.values():
            resolver.close()
        self._resolvers.clear()
        self.health.close()


def _show_health(config: ClusterConfig, hosts: list[HostEntry]) -> None:
    stats = config.info.stats
    health = [health_of(entry.health_flags) for entry in hosts]
    stats.set(MEMBERSHIP_HEALTHY, health.count(Health.HEALTHY))
    stats.set(MEMBERSHIP_DEGRADED, health.count(Health.DEGRADED))
    stats.set(MEMBERSHIP_EXCLUDED, sum([is_excluded(entry.health_flags) for entry in hosts]))


def _show_members_to(config: ClusterConfig, entries: list[HostEntry]) -> None:
    """Some policies have gauges of the hosts, which main sets."""
    hosts = PrioritySet(config.overprovisioning_factor)
    hosts.update([Host(config.info, entry, config.info.stats) for entry in entries])
    config.lb_policy.show_members(LbSetting(config.info, config.lb_common, hosts, config.context))
