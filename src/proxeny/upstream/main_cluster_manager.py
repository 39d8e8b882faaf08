"""The clusters in main (Envoy: the main half of ``ClusterManagerImpl``): validation, discovery, warming, admin data.

How the server uses it::

    manager = MainClusterManager(context, concurrency)      # context.role == "main"
    manager.add_static(bootstrap.static_resources.clusters)  # ConfigError on what is refused
    manager.on_hosts_changed = send_update_hosts_to_workers  # (name, bytes): ClusterManager.update_hosts there
    manager.on_cluster_changed = send_cluster_to_workers     # a cluster is active that was not, or was another
    manager.on_cluster_removed = ...                         # workers let go, then ``release_stats``
    manager.initialize(on_initialized)                       # starts discovery; listeners start when it calls back

A cluster that is added or changed by an API *warms*: until its first hosts are known, the one that it replaces serves.
While any warms, CDS is paused: a control plane that waits for the ACK knows that its clusters can be used.

To a (new) worker go: ``process_table`` with its first message, ``limits_fd`` as a descriptor, then ``snapshot()`` (all
clusters and their stat table), then every pair of ``host_updates()``. ``worker_died(index)`` frees what it held of the
circuit breakers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from proxeny.config.errors import ConfigError
from proxeny.event.file_watcher import FileWatcher
from proxeny.kernel.limits import LimitTable
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.cluster_init import ClusterInit
from proxeny.upstream.cluster_status import ClusterStatus, status_of
from proxeny.upstream.discovery import DiscoveryOwner
from proxeny.upstream.dns_resolver import DnsResolvers
from proxeny.upstream.endpoints import HealthChange, HostChange
from proxeny.upstream.host_health import ClusterHealth, HostHealth
from proxeny.upstream.known_clusters import KnownClusters
from proxeny.upstream.limit_gauges import LimitGauges
from proxeny.upstream.main_cluster import MainCluster
from proxeny.upstream.main_thread_clusters import MainThreadClusters
from proxeny.upstream.outlier.hub import Outliers
from proxeny.upstream.stats import (
    CLUSTER_MANAGER,
    CLUSTERS_INFLATED,
    CM_ACTIVE_CLUSTERS,
    CM_CLUSTER_ADDED,
    CM_CLUSTER_MODIFIED,
    CM_CLUSTER_REMOVED,
    CM_WARMING_CLUSTERS,
    LIMITS,
    THREAD_LOCAL_CLUSTER_MANAGER,
    WARMING_STATE,
)
from proxeny.xds.init_manager import InitManager

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import StatTable

log = logging.getLogger("proxeny.upstream")

CLUSTER_TYPE: Final = "envoy.config.cluster.v3.Cluster"
PAUSED_TYPES: Final = (
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.endpoint.v3.LbEndpoint",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
)
"""What clusters subscribe to: asked for in one request when many are added."""


class MainClusterManager:
    """All clusters of the server."""

    def __init__(self, context: FactoryContext, concurrency: int = 1, limits: LimitTable | None = None) -> None:
        self._context = context
        self._store = cast(MainStore, context.stats)
        self._active: dict[str, MainCluster] = {}
        self._warming: dict[str, MainCluster] = {}
        self.resolvers = DnsResolvers(context)
        """The DNS resolvers of main."""
        self._file_watcher: FileWatcher | None = None
        self._init = ClusterInit(self._start, self._initialized, self.pause_resources)
        self._when_initialized: dict[str, Callable[[], object]] = {}
        self._started = False
        self._cds_pause = ExitStack()
        """Holds what resumes CDS."""
        self.limits = limits if limits is not None else LimitTable.create(concurrency)
        """The circuit breakers' counts of all workers."""
        context.limits = self.limits
        self._gauges = LimitGauges(self.limits, self._store)
        self._store.before_reading.append(self._refresh_gauges)
        self.on_hosts_changed: Callable[[str, bytes], object] = lambda name, update: None
        """Called with a cluster's name and the ``HostUpdate`` that every worker must apply."""
        self.on_cluster_changed: Callable[[str, StatTable], object] = lambda name, replaced: None
        """A cluster became active while the server runs; ``replaced``: the statistics of the one that it replaces,
        for ``release_stats`` once no worker uses them."""
        self.on_cluster_removed: Callable[[str, StatTable], object] = lambda name, table: None
        """A cluster is gone; likewise."""
        self.active_callbacks: list[Callable[[str], object]] = []
        """Told the name of each cluster that becomes active while the server runs, after ``on_cluster_changed``."""
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
        self.outliers = Outliers(context)
        """Which hosts are outliers."""
        self.health.has_workers = self._has_workers
        self.own = context.cluster_manager = MainThreadClusters(self, self._store, context.dispatcher)
        """Those that main itself sends requests to."""

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
        local = cluster_config.local_cluster_name(self._context)
        if local and local not in self.all_names():
            raise ConfigError(f"local cluster '{local}' must be defined")

    def is_current(self, name: str, delivered: bytes) -> bool:
        """Whether ``add_or_update`` would say that the cluster which was delivered as these bytes is no news."""
        newest = self._warming.get(name) or self._active.get(name)
        return newest is not None and bool(delivered) and newest.delivered == delivered

    def add_or_update(self, proto: Any, added_via_api: bool = True, version: str = "", delivered: bytes = b"") -> bool:
        """Add a cluster or replace it by a different one of its name; False when it is the same, or when the one
        that there is came from elsewhere (the bootstrap's are not changed by CDS, nor the other way round).

        ``delivered``: as it came from an API.
        """
        name = proto.name
        serialized = proto.SerializeToString(deterministic=True)
        newest = self._warming.get(name) or self._active.get(name)
        if newest is not None and (newest.serialized == serialized or newest.added_via_api != added_via_api):
            if newest.added_via_api:
                newest.delivered = delivered
            return False
        self._stats.inc(CM_CLUSTER_ADDED if newest is None else CM_CLUSTER_MODIFIED)
        generation = 0 if newest is None else newest.generation + 1
        init_manager = InitManager(f"Cluster {name}")
        with self._store.recording() as table, self._context.initializing(init_manager):
            config = cluster_config.compile(proto, self._context, generation)
        cluster = MainCluster(config, serialized, table, self._store, added_via_api, init_manager)
        cluster.version, cluster.generation = version, generation
        cluster.delivered = serialized if delivered == serialized else delivered
        if self._started:
            self._warm(cluster)
        else:
            cluster.show()
            self._install(cluster)
        return True

    def _warm(self, cluster: MainCluster) -> None:
        """A cluster that an API brings: it is active once it is initialized."""
        name = cluster.name
        try:
            self._prepare(cluster)
        except ConfigError:
            self._drop(cluster)
            raise
        before = self._warming.get(name)
        self._warming[name] = cluster
        cluster.show()
        cluster.config.info.stats.set(WARMING_STATE, 1)
        self._show_counts()
        if self._init.is_done:
            log.debug("add/update cluster %s starting warming", name)
            self._start(cluster, self._initialized)
        else:
            log.debug("add/update cluster %s during init", name)
            self._init.add(cluster)
        if before is not None:  # not earlier: what both ask for stays asked for
            self._init.remove(before)
            self._drop(before)

    def _install(self, cluster: MainCluster) -> None:
        name = cluster.name
        replaced = self._active.get(name)
        self._active[name] = cluster
        cluster.on_members = lambda: self.outliers.replace_hosts(name, cluster.with_bases())
        blocks: StatTable = {}
        if replaced is not None:
            replaced.close()
            self.outliers.forget(name)
            self._gauges.end(replaced.config.info)
            blocks = replaced.all_blocks
        self.own.changed(name)
        self._gauges.begin(cluster.config.info)
        if self._started:
            self._watch_outliers(cluster)
        if self._init.is_done:
            self.on_cluster_changed(name, blocks)
            for callback in self.active_callbacks:
                callback(name)
            if cluster.health is not None:
                cluster.health.tell_all()
        elif blocks:
            self._store.release(blocks)
        self._show_counts()

    def remove_dynamic(self, name: str) -> bool:
        """Forget a cluster if it did not come with the bootstrap."""
        newest = self._warming.get(name) or self._active.get(name)
        return newest is not None and newest.added_via_api and self.remove(name)

    def remove(self, name: str) -> bool:
        """Forget a cluster, active or warming; False when there is none."""
        warming = self._warming.pop(name, None)
        active = self._active.pop(name, None)
        if active is None and warming is None:
            return False
        self._stats.inc(CM_CLUSTER_REMOVED)
        if active is not None:
            active.close()
            self.own.changed(name)
            self.outliers.forget(name)
            self._gauges.end(active.config.info)
            self.on_cluster_removed(name, active.all_blocks)
            self._init.remove(active)
        if warming is not None:
            self._drop(warming)
            self._init.remove(warming)
        self._show_counts()
        return True

    def is_warming(self, name: str) -> bool:
        """Whether a cluster of this name waits for its first hosts, or for what else it needs."""
        return name in self._warming

    def stop_warming(self, name: str) -> bool:
        """Forget the cluster of this name that warms, and leave the active one as it is; False when none does."""
        warming = self._warming.pop(name, None)
        if warming is None:
            return False
        self._drop(warming)
        self._show_counts()
        return True

    def _drop(self, warming: MainCluster) -> None:
        """A cluster goes that no worker ever heard of."""
        warming.close()
        self.release_stats(warming.all_blocks)

    def release_stats(self, table: StatTable) -> None:
        """All workers let go of a removed or replaced cluster: blocks that no other has may be used again."""
        for (schema, prefix), base in table.items():
            if schema == LIMITS.name and self._store.entries[schema, prefix].owners == 1:
                self.limits.clear_rows(base, LIMITS.size)
        self._store.release(table)

    def find(self, name: str) -> MainCluster | None:
        """The active cluster of this name."""
        return self._active.get(name)

    def known(self) -> KnownClusters:
        """The names of all clusters, active and warming, now and later."""
        return KnownClusters(self._active, self._warming)

    def active_names(self) -> list[str]:
        """Those of active clusters."""
        return list(self._active)

    def all_names(self) -> list[str]:
        """Those of active and of warming clusters."""
        return list({**self._active, **self._warming})

    def added_names(self) -> set[str]:
        """Of those that did not come with the bootstrap."""
        clusters = {**self._active, **self._warming}
        return {name for name, cluster in clusters.items() if cluster.added_via_api}

    def _show_counts(self) -> None:
        if self._init.is_done:
            self._pause_cds()
        self._stats.set(CM_ACTIVE_CLUSTERS, len(self._active))
        self._stats.set(CM_WARMING_CLUSTERS, len(self._warming))
        self._inflated.set(CLUSTERS_INFLATED, len(self._active))

    def _pause_cds(self) -> None:
        """No response of CDS is confirmed while clusters warm."""
        was_warming = bool(self._stats.get(CM_WARMING_CLUSTERS))
        if self._warming and not was_warming:
            self._cds_pause.enter_context(self._pause(CLUSTER_TYPE))
        elif was_warming and not self._warming:
            self._cds_pause.close()

    def _pause(self, *type_names: str) -> AbstractContextManager[object]:
        xds = self._context.xds
        return nullcontext() if xds is None else xds.pause(*type_names)

    def pause_resources(self) -> AbstractContextManager[object]:
        """Within it, nothing that clusters need is requested; afterwards it is, at once."""
        return self._pause(*PAUSED_TYPES)

    # -- initialization ------------------------------------------------------------------------------------------
    def initialize(
        self,
        on_initialized: Callable[[], None],
        start_cds: Callable[[Callable[[], None]], None] | None = None,
        on_primary: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Start discovery; ``on_initialized`` is called once every cluster is initialized; ConfigError.

        ``on_primary``: called when the primary clusters are initialized; calls back when the others may start.
        ``start_cds``: fetches more clusters once those of the bootstrap are initialized, and calls back.
        """
        self._started = True
        clusters = list(self._active.values())
        for cluster in clusters:
            self._watch_outliers(cluster)
            self._prepare(cluster)
        for cluster in clusters:
            self._init.add(cluster)
        self._init.loaded(on_initialized, on_primary, start_cds)

    def _prepare(self, cluster: MainCluster) -> None:
        cluster.on_hosts = lambda update: self._hosts_changed(cluster, update)
        cluster.on_ejected_passed = lambda index: self._ejected_passed(cluster, index)
        cluster.prepare(self._owner(cluster), self.health)

    def _start(self, cluster: MainCluster, on_initialized: Callable[[MainCluster], None]) -> None:
        cluster.start(lambda: on_initialized(cluster))

    def _owner(self, cluster: MainCluster) -> DiscoveryOwner:
        return DiscoveryOwner(
            self._context, self.resolvers.get, self, cluster.publish, cluster.on_discovered, cluster.publish_change
        )

    def when_initialized(self, name: str, then: Callable[[], object]) -> None:
        """Call back once the cluster of the bootstrap with this name is initialized, which has not been begun."""
        self._when_initialized[name] = then

    def _initialized(self, cluster: MainCluster) -> None:
        """The first hosts of a cluster are known, and checked; one that warms is warm."""
        then = self._when_initialized.pop(cluster.name, None)
        if then is not None:
            then()
        if self._warming.get(cluster.name) is cluster:
            log.debug("warming cluster %s complete", cluster.name)
            del self._warming[cluster.name]
            self._install(cluster)

    def _refresh_gauges(self) -> None:
        self._gauges.refresh([cluster.config.info for cluster in self._active.values()])

    def _hosts_changed(self, cluster: MainCluster, update: bytes) -> None:
        if self._active.get(cluster.name) is cluster:
            self.own.update_hosts(cluster.name, update)
            self.on_hosts_changed(cluster.name, update)

    @property
    def file_watcher(self) -> FileWatcher:
        """One for all clusters that are discovered from files."""
        if self._file_watcher is None:
            assert self._context.dispatcher is not None
            self._file_watcher = FileWatcher(self._context.dispatcher)
        return self._file_watcher

    # -- health --------------------------------------------------------------------------------------------------
    def watch_health(self, name: str) -> ClusterHealth:
        """The health flags of a cluster's hosts: whoever sets some asks for it first."""
        return self._active[name].watch_health(self.health)

    def _has_workers(self, health: ClusterHealth) -> bool:
        cluster = self._active.get(health.name)
        return cluster is not None and cluster.health is health

    def _ejected_passed(self, cluster: MainCluster, index: int) -> None:
        detector = self.outliers.find(cluster.name)
        if detector is not None and self._active.get(cluster.name) is cluster:
            detector.on_check_passed(index)

    def _watch_outliers(self, cluster: MainCluster) -> None:
        rules = cluster.config.info.outlier
        if rules is not None:
            self.outliers.watch(cluster.name, rules, self.watch_health(cluster.name), cluster.with_bases())

    def _show_health(self, name: str) -> None:
        cluster = self._active.get(name)
        if cluster is not None:
            cluster.show_health()

    def health_snapshot(self) -> dict[str, HealthChange]:
        """What a new worker must be told of the health of hosts, once it has the clusters and their hosts."""
        found = [(name, cluster.health) for name, cluster in self._active.items()]
        return {name: health.snapshot() for name, health in found if health is not None}

    def hosts_failed(self, name: str, failed: dict[int, int]) -> None:
        """Responses that came to a worker asked for hosts to be taken out of rotation: ``stat_index`` -> how many."""
        cluster = self._active.get(name)
        if cluster is not None and cluster.checks is not None:
            for index, count in failed.items():
                cluster.checks.set_unhealthy(index, count)

    # -- hosts that workers make ---------------------------------------------------------------------------------
    def on_host_changes(self, worker_index: int, name: str, changes: list[HostChange]) -> None:
        """A worker made or removed hosts of a cluster of type ORIGINAL_DST."""
        cluster = self._active.get(name)
        if cluster is not None:
            cluster.apply_changes(worker_index, changes)

    def worker_started(self, worker_index: int) -> None:
        """A worker begins anew: the hosts that its predecessor had made are gone."""
        for cluster in self._active.values():
            cluster.forget_worker(worker_index)

    # -- for the workers -----------------------------------------------------------------------------------------
    @property
    def limits_fd(self) -> int:
        """The descriptor of that table, for ``LimitTable(fd, concurrency, worker_index)`` in a worker."""
        return self.limits.fd

    def worker_died(self, index: int) -> None:
        """Free what a dead worker held of the circuit breakers."""
        self.limits.clear_column(index)

    def snapshot(self) -> tuple[list[bytes], StatTable]:
        """All active clusters, serialized, and the table of their stat blocks."""
        table: StatTable = {}
        for cluster in self._active.values():
            table.update(cluster.table)
        return [cluster.serialized for cluster in self._active.values()], table

    def generations(self) -> dict[str, int]:
        """Those of active clusters that are not the first of their name."""
        return {name: cluster.generation for name, cluster in self._active.items() if cluster.generation}

    def cluster_update(self, name: str) -> tuple[bytes, int, StatTable, bytes | None]:
        """One active cluster: serialized, its generation, its table, its hosts where they are discovered."""
        cluster = self._active[name]
        return cluster.serialized, cluster.generation, cluster.table, cluster.host_update()

    def host_updates(self) -> Iterator[tuple[str, bytes]]:
        """What a new worker must be told of discovered hosts."""
        for name, cluster in self._active.items():
            update = cluster.host_update()
            if update is not None:
                yield name, update

    # -- for admin -----------------------------------------------------------------------------------------------
    def clusters(self, matches: Callable[[MainCluster], bool] | None = None) -> Iterator[ClusterStatus]:
        """What /clusters shows, cluster by cluster; of those that match.

        Clusters may come and go between two of them.
        """
        for cluster in list(self._active.values()):
            if self._active.get(cluster.name) is cluster and (matches is None or matches(cluster)):
                yield status_of(cluster, self.outliers.find(cluster.name))

    def dynamic(self) -> tuple[list[MainCluster], list[MainCluster]]:
        """Active and warming clusters that did not come with the bootstrap, for /config_dump."""
        active = [cluster for cluster in self._active.values() if cluster.added_via_api]
        return active, [cluster for cluster in self._warming.values() if cluster.added_via_api]

    def close(self) -> None:
        """The server ends."""
        self.own.close()
        for clusters in (self._active, self._warming):
            for cluster in clusters.values():
                cluster.close()
        self.resolvers.close()
        self.outliers.close()
        if self._file_watcher is not None:
            self._file_watcher.close()
