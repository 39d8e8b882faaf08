"""The health of hosts in main: where flags are set, and how the workers learn of it.

How a health checker or an outlier detector uses it::

    health = manager.watch_health(name)                # of a cluster that is checked
    health.change(entry.stat_index, FAILED_ACTIVE_HC)  # /clusters shows it at once

A host is known by its ``stat_index``, which stays through DNS and EDS updates; those keep what was found out of it.
What one turn of the loop brings travels to the workers as one message. As in Envoy, a worker's hosts know their flags
at once, while load balancing follows as the cluster's ``MergeWindow`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from proxeny.upstream.endpoints import HealthChange, HostEntry

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.upstream.merge_window import MergeWindow


class ClusterHealth:
    """The flags of one cluster's hosts."""

    __slots__ = (
        "_due",
        "_entries",
        "_hub",
        "_window",
        "changed",
        "listeners",
        "name",
        "regrouped",
        "stale",
    )

    def __init__(self, hub: HostHealth, name: str, entries: Iterable[HostEntry], window: MergeWindow) -> None:
        self.name = name
        self._hub = hub
        self._window = window
        self._due = False
        """Whether load balancing follows without asking the merge window."""
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

    def replace(self, entries: list[HostEntry], is_told: bool) -> None:
        """These are the hosts now; their flags are in them. ``is_told``: the workers are told of both."""
        self._entries = {entry.stat_index: entry for entry in entries}
        if is_told:
            self.told()

    def told(self) -> None:
        """The workers are told of all hosts, with their flags."""
        self.changed.clear()
        self.stale = self._due = False

    def regroup(self) -> None:
        """Load balancing and gauges have to follow now, whatever changed: the cluster is warm."""
        self.stale = self.regrouped = self._due = True
        self._hub.touch(self)

    def tell_all(self) -> None:
        """The workers have the cluster now: what was found out before, they do not know."""
        self.changed.update(self._entries)
        self.stale = self._due = True
        self._window.reset()
        self._hub.touch(self)

    def take(self) -> HealthChange:
        """What the workers have to be told now."""
        flags = {index: self._entries[index].health_flags for index in self.changed if index in self._entries}
        self.changed.clear()
        return HealthChange(flags, self.stale and self._follow())

    def _follow(self) -> bool:
        """Whether load balancing follows now."""
        if not self._due and not self._window.admits():
            return False
        self._due = self.stale = False
        return True

    def on_window_end(self) -> None:
        """Load balancing may follow what it did not yet."""
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

    def make(self, name: str, entries: Iterable[HostEntry], window: MergeWindow) -> ClusterHealth:
        """The flags of a cluster's hosts; all who change some share it."""
        return ClusterHealth(self, name, entries, window)

    def touch(self, health: ClusterHealth) -> None:
        """Something changed: tell the workers at the end of this turn."""
        if not self._touched:
            self.dispatcher.call_soon(self._flush)
        self._touched[health] = None

    def _flush(self) -> None:
        touched, self._touched = self._touched, {}
        changes = {}
        for health in touched:
            if not self.has_workers(health):
                continue
            if health.regrouped:
                health.regrouped = False
                self.on_members(health.name)
            change = health.take()
            if change.flags or change.rebuild:
                changes[health.name] = change
        if changes:
            self.on_change(changes)
