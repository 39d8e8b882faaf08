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

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from proxeny.upstream.endpoints import HealthChange, HostEntry
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

    __slots__ = (
        "_due",
        "_entries",
        "_hub",
        "_last",
        "_timer",
        "_window_ms",
        "changed",
        "listeners",
        "name",
        "regrouped",
        "stale",
    )

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
        self.regrouped = False
        """Whether the gauges of members do not."""
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
        if rebuild:
            self.stale = self.regrouped = True
        self._hub.touch(self)
        for listener in list(self.listeners):
            listener(entry, before, after)
        return True

    def replace(self, entries: list[HostEntry]) -> None:
        """These are the hosts now; their flags are in them, and the workers are told of both."""
        self._entries = {entry.stat_index: entry for entry in entries}
        self.changed.clear()
        self.stale = self._due = False
        self._last = self._hub.dispatcher.wheel.now_ms
        if self._timer is not None and self._timer.enabled:
            self._timer.disable()
            self._hub.stats.inc(CM_UPDATE_MERGE_CANCELLED)

    def regroup(self) -> None:
        """Load balancing and gauges have to follow, whatever changed."""
        self.stale = self.regrouped = True
        self._hub.touch(self)

    def tell_all(self) -> None:
        """The workers have the cluster now: what was found out before, they do not know."""
        self.changed.update(self._entries)
        self.stale = True
        self._last = None
        self._hub.touch(self)

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

    def snapshot(self) -> HealthChange:
        """The flags of all hosts, for a worker that knows what the configuration says and no more."""
        return HealthChange({index: entry.health_flags for index, entry in self._entries.items()}, True)

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
        self.has_workers: Callable[[ClusterHealth], bool] = lambda health: True
        """Whether workers know the cluster (they do not know one that warms)."""
        self._touched: dict[ClusterHealth, None] = {}

    @property
    def dispatcher(self) -> Dispatcher:
        """Main's; there is none where a configuration is only validated, and then no host is checked."""
        assert self._dispatcher is not None
        return self._dispatcher

    def make(self, name: str, entries: Iterable[HostEntry], window_ms: int) -> ClusterHealth:
        """The flags of a cluster's hosts; all who change some share it."""
        return ClusterHealth(self, name, entries, window_ms)

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
            if not self.has_workers(health):
                continue
            if health.regrouped:
                health.regrouped = False
                self.on_members(health.name)
            change = health.take(now_ms)
            if change.flags or change.rebuild:
                changes[health.name] = change
        if changes:
            self.on_change(changes)
