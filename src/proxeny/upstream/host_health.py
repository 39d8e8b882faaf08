"""The health of hosts in main: where flags are set, and how the workers learn of it.

How a health checker or an outlier detector uses it::

    health = manager.watch_health(name)                # of a cluster that is checked
    health.change(entry.stat_index, FAILED_ACTIVE_HC)  # /clusters shows it at once

A host is known by its ``stat_index``, which stays through DNS and EDS updates; those keep what was found out of it.
What one turn of the loop brings travels to the workers as one message. As in Envoy, a worker's hosts know their flags
at once, while load balancing follows within the cluster's ``update_merge_window``: immediately after a while of rest,
else when the window ends, for all changes together (``ClusterManagerImpl::scheduleUpdate``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from proxeny.upstream.endpoints import EDS_FLAGS, HealthChange, HealthFlags, HostEntry
from proxeny.upstream.stats import (
    CM_CLUSTER_UPDATED,
    CM_CLUSTER_UPDATED_VIA_MERGE,
    CM_UPDATE_MERGE_CANCELLED,
    CM_UPDATE_OUT_OF_MERGE_WINDOW,
)

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.kernel.timer import Timer

DEFAULT_MERGE_WINDOW_MS = 1000
"""Cluster.CommonLbConfig.update_merge_window."""


class ClusterHealth:
    """The flags of one cluster's hosts."""

    __slots__ = ("_due", "_entries", "_hub", "_last", "_timer", "_window_ms", "changed", "listeners", "name", "stale")

    def __init__(self, hub: HostHealth, name: str, entries: Iterable[HostEntry], window_ms: int) -> None:
        self.name = name
        self._hub = hub
        self._window_ms = window_ms
        self._last: int | None = None
        """When load balancing last followed."""
        self._timer: Timer | None = None
        self._due = False
        """Whether the merge window ended."""
        self._entries = {entry.stat_index: entry for entry in entries}
        self.changed: set[int] = set()
        """Hosts whose flags the workers do not know yet."""
        self.stale = False
        """Whether load balancing does not follow the flags yet."""
        self.listeners: list[Callable[[HostEntry, int, int], object]] = []
        """Called with (host, its flags before, after) on every change."""

    def flags(self, index: int) -> int:
        """The flags of host ``index``; 0 when it is gone."""
        entry = self._entries.get(index)
        return 0 if entry is None else entry.health_flags

    def change(self, index: int, added: int = 0, removed: int = 0, rebuild: bool = True) -> bool:
        """Set and clear flags of host ``index``; whether that changed any (a host that is gone changes no more).

        ``rebuild``: load balancing has to follow.
        """
        entry = self._entries.get(index)
        if entry is None:
            return False
        before = entry.health_flags
        after = (before | added) & ~removed
        if after == before:
            return False
        entry.health_flags = after
        self.changed.add(index)
        self.stale = self.stale or rebuild
        self._hub.touch(self)
        for listener in list(self.listeners):
            listener(entry, before, after)
        return True

    def replace(self, entries: list[HostEntry]) -> None:
        """These are the hosts now: those that were there keep what was found out of them."""
        known = self._entries
        self._entries = {}
        for entry in entries:
            old = known.get(entry.stat_index)
            if old is not None and old is not entry:
                entry.health_flags |= old.health_flags & ~EDS_FLAGS
            self._entries[entry.stat_index] = entry

    def replaced(self, now_ms: int) -> None:
        """The workers were sent all hosts, with their flags: that is up to date."""
        self.changed.clear()
        self.stale = False
        self._due = False
        self._last = now_ms
        if self._timer is not None and self._timer.enabled:
            self._timer.disable()
            self._hub.stats.inc(CM_UPDATE_MERGE_CANCELLED)

    def take(self, now_ms: int) -> HealthChange:
        """What the workers have to be told now."""
        flags = {index: self._entries[index].health_flags for index in self.changed if index in self._entries}
        self.changed.clear()
        return HealthChange(flags, self.stale and self._follow(now_ms))

    def _follow(self, now_ms: int) -> bool:
        """Whether load balancing follows now; if not, a timer sees to it."""
        if self._timer is not None and self._timer.enabled:
            return False
        stats = self._hub.stats
        if self._due:
            stats.inc(CM_CLUSTER_UPDATED_VIA_MERGE)
        elif not self._window_ms:
            stats.inc(CM_CLUSTER_UPDATED)
        elif self._last is None or now_ms - self._last > self._window_ms:
            stats.inc(CM_UPDATE_OUT_OF_MERGE_WINDOW)
            stats.inc(CM_CLUSTER_UPDATED)
        else:
            self._timer = self._timer or self._hub.dispatcher.create_timer(self._on_merge_timer)
            self._timer.enable(self._window_ms)
            return False
        self._due = self.stale = False
        self._last = now_ms
        return True

    def _on_merge_timer(self) -> None:
        if self.stale:
            self._due = True
            self._hub.touch(self)

    def all_flags(self) -> HealthFlags:
        """The flags of all hosts, for a worker that knows what the configuration says and no more."""
        return {index: entry.health_flags for index, entry in self._entries.items()}

    def close(self) -> None:
        """The cluster goes."""
        self.listeners.clear()
        self._entries = {}
        if self._timer is not None:
            self._timer.close()


class HostHealth:
    """The clusters whose hosts' health is watched, and what their workers have to be told at the end of this turn."""

    def __init__(self, dispatcher: Dispatcher | None, stats: Block) -> None:
        self._dispatcher = dispatcher
        self.stats = stats
        """The block ``cluster_manager.``"""
        self.on_change: Callable[[dict[str, HealthChange]], object] = lambda changes: None
        """Told what every worker must be told."""
        self.on_members: Callable[[str], object] = lambda name: None
        """Told of clusters whose hosts' health changed, once per turn: their gauges have to follow."""
        self._clusters: dict[str, ClusterHealth] = {}
        self._touched: dict[ClusterHealth, None] = {}

    @property
    def dispatcher(self) -> Dispatcher:
        """Main's; there is none where a configuration is only validated, and then no host is checked."""
        assert self._dispatcher is not None
        return self._dispatcher

    def watch(self, name: str, entries: Iterable[HostEntry], window_ms: int = DEFAULT_MERGE_WINDOW_MS) -> ClusterHealth:
        """The flags of a cluster's hosts; all who watch one cluster share it."""
        health = self._clusters.get(name)
        if health is None:
            health = self._clusters[name] = ClusterHealth(self, name, entries, window_ms)
        return health

    def find(self, name: str) -> ClusterHealth | None:
        """The flags of a cluster's hosts, where somebody watches it."""
        return self._clusters.get(name)

    def forget(self, name: str) -> None:
        """The cluster was removed or replaced by another of its name."""
        health = self._clusters.pop(name, None)
        if health is not None:
            self._touched.pop(health, None)
            health.close()

    def replace_hosts(self, name: str, entries: list[HostEntry]) -> None:
        """New hosts of a cluster, about to be sent to the workers: what is known of them is put in."""
        health = self._clusters.get(name)
        if health is not None:
            health.replace(entries)
            health.replaced(self.dispatcher.wheel.now_ms)

    def touch(self, health: ClusterHealth) -> None:
        """Something changed: tell the workers at the end of this turn."""
        if not self._touched:
            self.dispatcher.call_soon(self._flush)
        self._touched[health] = None

    def _flush(self) -> None:
        touched, self._touched = self._touched, {}
        now_ms = self.dispatcher.wheel.now_ms
        changes = {}
        for health in touched:
            self.on_members(health.name)
            change = health.take(now_ms)
            if change.flags or change.rebuild:
                changes[health.name] = change
        if changes:
            self.on_change(changes)

    def snapshot(self) -> dict[str, HealthChange]:
        """What a new worker must be told once it has the clusters and their hosts."""
        return {name: HealthChange(health.all_flags(), True) for name, health in self._clusters.items()}

    def watched(self) -> Iterator[ClusterHealth]:
        """All clusters that are watched."""
        yield from self._clusters.values()

    def close(self) -> None:
        """The server ends."""
        for name in list(self._clusters):
            self.forget(name)
