"""One cluster as main keeps it: serialized for the workers, its hosts, their statistics.

Hosts come from its ``Discovery`` (``publish``), from its configuration, or, where workers make them, from the workers
(``apply_changes``). Whoever finds out more of a host (health checks, outlier detection) changes its entry here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from proxeny.upstream.discovery import ClusterType
from proxeny.upstream.endpoints import (
    FAILED_ACTIVE_HC,
    PENDING_DYNAMIC_REMOVAL,
    AssignmentPolicy,
    HostChange,
    HostEntry,
    HostUpdate,
    host_stat_prefix,
)
from proxeny.upstream.health_check.checker import ClusterHealthChecks
from proxeny.upstream.host import Health, Host, health_of, is_excluded
from proxeny.upstream.load_assignment import DEFAULT_POLICY
from proxeny.upstream.load_balancer.contract import LbSetting
from proxeny.upstream.localities import our_locality
from proxeny.upstream.membership import merge
from proxeny.upstream.merge_window import MergeWindow
from proxeny.upstream.on_demand_hosts import OnDemandHosts
from proxeny.upstream.original_dst_config import HOST_BLOCKS, SHARED_BLOCK
from proxeny.upstream.priority_set import PrioritySet
from proxeny.upstream.stats import (
    DEFAULT_TOTAL_MATCH_COUNT,
    HOST,
    MEMBERSHIP_CHANGE,
    MEMBERSHIP_DEGRADED,
    MEMBERSHIP_EXCLUDED,
    MEMBERSHIP_HEALTHY,
    MEMBERSHIP_TOTAL,
    WARMING_STATE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxeny.kernel.stats import Block
    from proxeny.stats.store import BlockEntry, MainStore, StatTable
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import Discovery, DiscoveryOwner
    from proxeny.upstream.host_health import ClusterHealth, HostHealth
    from proxeny.xds.init_manager import InitManager

SPARE_HOST_BLOCKS = 256
"""Stat blocks of hosts that went away are used again only when so many are spare: by then the workers' draining
connections to the old host, which still count in its block, are gone."""

encode_hosts = msgspec.msgpack.Encoder().encode


def _ignore(*facts: object) -> None:
    """Nobody wants to hear."""


class MainCluster:
    """A cluster, warming or active. ``on_hosts`` hears of each serialized ``HostUpdate`` for the workers."""

    __slots__ = (
        "_closed",
        "_discovered",
        "_discovery",
        "_hub",
        "_init_manager",
        "_next_index",
        "_on_initialized",
        "_spare",
        "_store",
        "_tells_workers",
        "_window",
        "added_via_api",
        "checks",
        "config",
        "delivered",
        "generation",
        "health",
        "host_table",
        "hosts",
        "initialized",
        "on_demand",
        "on_ejected_passed",
        "on_hosts",
        "on_members",
        "policy",
        "serialized",
        "table",
        "updated_at",
        "version",
    )

    def __init__(
        self,
        config: ClusterConfig,
        serialized: bytes,
        table: StatTable,
        store: MainStore,
        added_via_api: bool,
        init_manager: InitManager | None = None,
    ) -> None:
        self.config = config
        self.serialized = serialized
        self.table = table
        self.added_via_api = added_via_api
        self.delivered = b""
        """``serialized`` as it came, where an API brought it."""
        self.version = ""
        """That of the update which brought it."""
        self.updated_at = time.time()
        self.generation = 0
        """How many clusters of this name it follows."""
        self._store = store
        self.hosts: list[HostEntry] = config.hosts
        self.on_hosts: Callable[[bytes], object] = _ignore
        self.health: ClusterHealth | None = None
        """The flags of the hosts, where somebody finds out more of them."""
        self.checks: ClusterHealthChecks | None = None
        self.on_members: Callable[[], object] = _ignore
        """Told that there are other hosts, before the workers are."""
        self.on_ejected_passed: Callable[[int], object] = _ignore
        """Told when a host passes its check that was ejected as an outlier."""
        self.on_demand: OnDemandHosts | None = None
        """The hosts that workers made, where it is they who make them."""
        if config.type is ClusterType.ORIGINAL_DST:
            self.on_demand = OnDemandHosts(config.info.name)
        self.host_table: StatTable = {}
        """Blocks of discovered hosts (those of configured ones are in ``table``)."""
        self.initialized = False
        """Whether the first hosts are known, or will not come."""
        self._on_initialized: Callable[[], None] | None = None
        self._discovery: Discovery | None = None
        self._discovered = False
        """Whether discovery said so."""
        self._init_manager = init_manager
        self._hub: HostHealth | None = None
        self._window: MergeWindow | None = None
        self._closed = False
        self.policy: AssignmentPolicy | None = None
        """What the last assignment said besides; None: none came."""
        self._next_index = 0
        self._spare: list[int] = []
        self._tells_workers = True
        """Whether the workers hear of hosts from here."""

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.config.info.name

    # -- life ----------------------------------------------------------------------------------------------------
    def show(self) -> None:
        """Set the gauges that follow from the configuration."""
        if self.hosts:
            self._show_members(len({entry.priority for entry in self.hosts}))

    def prepare(self, owner: DiscoveryOwner, health_hub: HostHealth) -> None:
        """Make what looks for hosts; ConfigError when that cannot be."""
        self._hub = health_hub
        if self.config.type is not ClusterType.STATIC:
            self._discovery = self.config.factory.discovery(self.config, owner)

    def start(self, on_initialized: Callable[[], None]) -> None:
        """Look for hosts, and check them; ``on_initialized`` is called once, perhaps before this returns."""
        assert self._hub is not None
        self._on_initialized = on_initialized
        if self.config.health_checks:
            health = self.watch_health(self._hub)
            health.listeners.append(self._on_health_changed)
            self.checks = ClusterHealthChecks(self.config.health_checks, self.config.info, health, self.config.context)
            self.checks.on_ejected_passed = self.on_ejected_passed
            self.checks.update_hosts(self.hosts)
        if self._discovery is None:
            self.on_discovered()
        else:
            self._discovery.start()

    def on_discovered(self) -> None:
        """The first hosts are known, or will not come: now for what the cluster waits for besides."""
        if self._discovered:
            return
        self._discovered = True
        if self._init_manager is None:
            self._check_hosts()
        else:
            self._init_manager.initialize(self._check_hosts)

    def _check_hosts(self) -> None:
        self.config.info.stats.set(WARMING_STATE, 0)
        if self.checks is not None:
            self.checks.wait(self._on_warm)
        else:
            self._on_warm()

    def _on_warm(self) -> None:
        """The first hosts were checked, where that is wanted."""
        if self.checks is not None and self.health is not None:
            self.health.regroup()
        self.initialized = True
        callback, self._on_initialized = self._on_initialized, None
        if callback is not None and not self._closed:
            callback()

    def close(self) -> None:
        """Look for hosts no more; nothing calls back.

        Whoever leads back here is let go of: what the cluster holds (secrets, statistics) goes with its last holder.
        """
        self._closed = True
        self._on_initialized = None
        if self._init_manager is not None:
            self._init_manager.cancel()
        if self._discovery is not None:
            self._discovery.close()
            self._discovery = None
        if self.checks is not None:
            self.checks.close()
            self.checks.on_ejected_passed = _ignore
        if self.health is not None:
            self.health.close()
        if self._window is not None:
            self._window.close()
        self.on_hosts = self.on_members = self.on_ejected_passed = _ignore

    def watch_health(self, hub: HostHealth) -> ClusterHealth:
        """The flags of the hosts: whoever sets some asks for this first."""
        if self.health is None:
            self.health = hub.make(self.name, self.hosts, self._merge_window(hub))
        return self.health

    def _merge_window(self, hub: HostHealth) -> MergeWindow:
        if self._window is None:
            window_ms = self.config.update_merge_window_ms
            self._window = MergeWindow(hub.dispatcher, hub.stats, window_ms, self._on_window_end)
        return self._window

    @property
    def all_blocks(self) -> StatTable:
        """The statistics that end with this cluster."""
        return {**self.table, **self.host_table}

    # -- discovered hosts ----------------------------------------------------------------------------------------
    def publish(self, hosts: list[HostEntry], policy: AssignmentPolicy | None = None) -> bool:
        """All hosts, as discovery sees them now (``DiscoveryOwner.publish``); whether anything changed."""
        if self._closed:
            return False
        config = self.config
        keep = self.checks is not None and not config.ignore_health_on_removal
        if config.type is ClusterType.LOGICAL_DNS:
            keep = False
        merged = merge(self.hosts, hosts, self._host_index, keep, config.health_when_new)
        self._spare.extend(merged.gone)
        # Envoy looks for the transport socket of a host anew when its metadata changes.
        config.info.stats.add(DEFAULT_TOTAL_MATCH_COUNT, merged.rematched)
        before, self.policy = self.policy or DEFAULT_POLICY, policy
        after = policy or DEFAULT_POLICY
        rebuild = merged.changed or before.balancing != after.balancing
        fresh = self._allot(merged.hosts)
        self.hosts = merged.hosts
        differs = rebuild or before != after
        if differs:
            self.on_members()
            self._show_members(merged.moved)
        if self.health is not None:
            self.health.replace(merged.hosts, differs)
        if rebuild:
            # Envoy counts all that an assignment changes as one update, elsewhere each priority.
            self._count_update(1 if config.type is ClusterType.EDS else merged.moved)
        if differs:
            self.on_hosts(encode_hosts(HostUpdate(merged.hosts, fresh, policy)))
        if self.checks is not None:
            self.checks.update_hosts(merged.hosts)
        return rebuild

    def _count_update(self, count: int) -> None:
        """Load balancing follows so many changes now, and with them what it did not follow yet."""
        if count and self.initialized and self._hub is not None:
            self._merge_window(self._hub).force(count)

    def _on_window_end(self) -> None:
        if self.health is not None:
            self.health.on_window_end()

    def _on_health_changed(self, entry: HostEntry, before: int, after: int) -> None:
        """A host that stayed only for its checks fails them: now it goes."""
        if after & PENDING_DYNAMIC_REMOVAL and after & FAILED_ACTIVE_HC:
            self.publish([other for other in self.hosts if other is not entry], self.policy)

    def publish_change(self, added: list[HostEntry], removed: list[HostEntry]) -> None:
        """Hosts that come and go (``DiscoveryOwner.publish_change``): the workers only get to know their blocks."""
        if self._closed:
            return
        self._tells_workers = False
        for entry in added:
            if (HOST.name, host_stat_prefix(self.config.info.host_scope, entry.stat_index)) in self.host_table:
                self._clear_retired(entry.stat_index)
        fresh = self._allot(added)
        gone = set(map(id, removed))
        hosts = [*(entry for entry in self.hosts if id(entry) not in gone), *added]
        for entry in added:
            if not entry.is_unchecked:
                entry.health_flags |= self.config.health_when_new
        self.hosts = hosts
        if self.health is not None:
            self.health.replace(hosts, True)
        self.on_members()
        self._show_members(len({entry.priority for entry in (*added, *removed)}))
        if fresh:
            self._count_update(1)
            self.on_hosts(encode_hosts(HostUpdate([], fresh)))
        if self.checks is not None:
            self.checks.update_hosts(hosts)

    def _host_index(self) -> int:
        if len(self._spare) > SPARE_HOST_BLOCKS:
            return self._spare.pop(0)
        self._next_index += 1
        return self._next_index - 1

    def _allot(self, hosts: Iterable[HostEntry]) -> dict[str, int]:
        """Blocks for hosts that have none yet: prefix -> base."""
        fresh: dict[str, int] = {}
        for entry in hosts:
            prefix = host_stat_prefix(self.config.info.host_scope, entry.stat_index)
            if (HOST.name, prefix) not in self.host_table:
                with self._store.recording() as table:
                    fresh[prefix] = self._store.block(HOST, prefix).base
                self.host_table.update(table)
        return fresh

    def _show_members(self, moved: int) -> None:
        """``moved``: in how many priorities there are other hosts than before."""
        config, hosts = self.config, self.hosts
        stats = config.info.stats
        stats.add(MEMBERSHIP_CHANGE, moved)
        if config.type is ClusterType.STATIC:
            sockets = config.info.transport_sockets
            if sockets is None:
                stats.add(DEFAULT_TOTAL_MATCH_COUNT, len(hosts))
            else:
                sockets.count(hosts)
        stats.set(MEMBERSHIP_TOTAL, len(hosts))
        self.show_health()
        if config.lb_policy.shows_members:
            _show_members_to(config, hosts)

    def show_health(self) -> None:
        """The health of hosts changed: the gauges follow."""
        stats = self.config.info.stats
        health = [health_of(entry.health_flags) for entry in self.hosts]
        stats.set(MEMBERSHIP_HEALTHY, health.count(Health.HEALTHY))
        stats.set(MEMBERSHIP_DEGRADED, health.count(Health.DEGRADED))
        stats.set(MEMBERSHIP_EXCLUDED, sum([is_excluded(entry.health_flags) for entry in self.hosts]))

    def host_update(self) -> bytes | None:
        """What a worker that knows nothing yet must be told of the hosts; None: its configuration says it."""
        if self._discovery is None or (not self.hosts and self.policy is None):
            return None
        bases = {prefix: base for (_, prefix), base in self.host_table.items()}
        return encode_hosts(HostUpdate(self.hosts if self._tells_workers else [], bases, self.policy))

    def with_bases(self) -> list[tuple[HostEntry, int]]:
        """The hosts, and where their stat blocks begin."""
        return [(entry, self._host_block(entry.stat_index).base) for entry in self.hosts]

    # -- hosts that workers make ---------------------------------------------------------------------------------
    def apply_changes(self, worker_index: int, changes: list[HostChange]) -> None:
        """A worker made or removed hosts."""
        on_demand = self.on_demand
        if on_demand is None:
            return
        for change in changes:
            if not change.added and change.block != SHARED_BLOCK:
                self._clear_retired(worker_index * HOST_BLOCKS + change.block)
        if any([on_demand.apply(worker_index, change) for change in changes]):
            self._show_count(on_demand)

    def forget_worker(self, worker_index: int) -> None:
        """A worker begins anew: the hosts that its predecessor had made are gone, and so are their counts."""
        on_demand = self.on_demand
        if on_demand is None:
            return
        for block in range(HOST_BLOCKS):
            self._clear_retired(worker_index * HOST_BLOCKS + block)
        if on_demand.forget_worker(worker_index):
            self._show_count(on_demand)

    def _show_count(self, on_demand: OnDemandHosts) -> None:
        """Only counted here: clients may name any number of destinations; /clusters makes the list when asked."""
        stats, count = self.config.info.stats, len(on_demand)
        stats.inc(MEMBERSHIP_CHANGE)
        stats.set(MEMBERSHIP_TOTAL, count)
        stats.set(MEMBERSHIP_HEALTHY, count)

    def _clear_retired(self, index: int) -> None:
        """What a host's counts left in the retired segment must not show as the next one's."""
        self._store.clear_retired(self._host_block(index))

    # -- for admin -----------------------------------------------------------------------------------------------
    def members(self) -> list[HostEntry]:
        """The hosts that there are now, by priority."""
        if self.on_demand is not None:
            return self.on_demand.entries()
        return sorted(self.hosts, key=lambda entry: entry.priority)

    def blocks_of(self, entry: HostEntry) -> list[Block]:
        """The slots of a member, in every process that counts it."""
        indexes = [entry.stat_index] if self.on_demand is None else self.on_demand.stat_indexes(entry)
        return [block for index in indexes for block in self._store.blocks_of(self._host_block(index))]

    def _host_block(self, index: int) -> BlockEntry:
        return self._store.entries[HOST.name, host_stat_prefix(self.config.info.host_scope, index)]


def _show_members_to(config: ClusterConfig, entries: list[HostEntry]) -> None:
    """Some policies have gauges of the hosts, which main sets."""
    local = our_locality(config.context.local_info)
    hosts = PrioritySet(config.overprovisioning_factor, config.weighted_priority_health, local)
    hosts.update([Host(config.info, entry, config.info.stats) for entry in entries])
    config.lb_policy.show_members(LbSetting(config.info, config.lb_common, hosts, config.context))
