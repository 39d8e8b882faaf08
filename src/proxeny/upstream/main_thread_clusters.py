"""The clusters that main itself sends requests to (Envoy: the main thread's ``ThreadLocalClusterManagerImpl``).

A cluster gets its load balancer and pools when a client in main first asks for it; it is told of hosts and their health
as a worker is. What it counts goes to main's own segment of the statistics and to main's own column of the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from proxeny.upstream.discovery import ClusterType
from proxeny.upstream.endpoints import HostUpdate
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.limits import LimitTable
    from proxeny.stats.store import MainStore, StatTable
    from proxeny.upstream.endpoints import HealthChange
    from proxeny.upstream.host import Host
    from proxeny.upstream.main_cluster import MainCluster
    from proxeny.upstream.main_cluster_manager import MainClusterManager

_decode_hosts: Final = msgspec.msgpack.Decoder(HostUpdate).decode

LEAVING_CHECK_MS: Final = 250
"""How often is looked whether the last connections of a cluster that went are gone."""


class _Used:
    """A cluster that is in use, and the owners' shares of statistics that came of it."""

    __slots__ = ("cluster", "main", "tables")

    def __init__(self, main: MainCluster) -> None:
        self.main = main
        self.tables: list[StatTable] = []
        self.cluster: ThreadLocalCluster


class MainThreadClusters:
    """What ``FactoryContext.cluster_manager`` is in main."""

    __slots__ = ("_dispatcher", "_leaving", "_manager", "_store", "_timer", "_used", "change_callbacks", "limits")

    def __init__(self, manager: MainClusterManager, store: MainStore, dispatcher: Dispatcher | None) -> None:
        self._manager = manager
        self._store = store
        self._dispatcher = dispatcher
        self._used: dict[str, _Used] = {}
        self._leaving: list[tuple[_Used, list[Host]]] = []
        self._timer = None if dispatcher is None else dispatcher.create_timer(self._look_at_leaving)
        self.limits: LimitTable = manager.limits
        self.change_callbacks: dict[Callable[[str], None], None] = {}
        """Called with the name of a cluster that was added, replaced or removed, or whose hosts or health changed."""

    def get(self, name: str) -> ThreadLocalCluster | None:
        """The cluster of this name, ready for requests; None: there is none that main could use."""
        used = self._used.get(name)
        if used is None:
            main = self._manager.find(name)
            if main is None or self._dispatcher is None or main.config.type is ClusterType.ORIGINAL_DST:
                return None
            used = self._used[name] = self._begin(main, self._dispatcher)
        return used.cluster

    def _begin(self, main: MainCluster, dispatcher: Dispatcher) -> _Used:
        used = _Used(main)
        with self._store.recording() as table:
            used.cluster = ThreadLocalCluster(main.config, dispatcher)
            update = main.host_update()
            if update is not None:
                _apply(used.cluster, update)
        used.tables.append(table)
        if main.health is not None:
            used.cluster.update_health(main.health.snapshot().flags, True)
        return used

    # -- what becomes of clusters ----------------------------------------------------------------------------------
    def changed(self, name: str) -> None:
        """Another cluster has this name now, or none: its connections drain."""
        used = self._used.pop(name, None)
        if used is not None:
            busy = used.cluster.close()
            if busy and self._timer is not None:
                self._leaving.append((used, busy))
                self._timer.enable(LEAVING_CHECK_MS)
            else:
                self._release(used)
        self._tell(name)

    def update_hosts(self, name: str, update: bytes) -> None:
        """Other hosts: a serialized ``HostUpdate``."""
        used = self._used.get(name)
        if used is not None:
            with self._store.recording() as table:
                _apply(used.cluster, update)
            if table:
                used.tables.append(table)
        self._tell(name)

    def update_health(self, changes: Mapping[str, HealthChange]) -> None:
        """What was found out about the health of hosts, by cluster."""
        for name, change in changes.items():
            used = self._used.get(name)
            if used is not None:
                used.cluster.update_health(change.flags, change.rebuild)
            self._tell(name)

    def _tell(self, name: str) -> None:
        for callback in list(self.change_callbacks):
            callback(name)

    # -- what requests found out -----------------------------------------------------------------------------------
    def host_failed(self, name: str, index: int) -> None:
        """A response asked for a host to be taken out of rotation."""
        self._manager.hosts_failed(name, {index: 1})

    def on_outlier(self, name: str, base: int, kind: int) -> None:
        """A host has reached a threshold of outlier detection."""
        self._manager.outliers.on_reported(name, base, kind)

    # -- the end ---------------------------------------------------------------------------------------------------
    def _look_at_leaving(self) -> None:
        still = []
        for used, hosts in self._leaving:
            if any([host.is_busy for host in hosts]):
                still.append((used, hosts))
            else:
                self._release(used)
        self._leaving = still
        if still and self._timer is not None:
            self._timer.enable(LEAVING_CHECK_MS)

    def _release(self, used: _Used) -> None:
        for table in used.tables:
            self._manager.release_stats(table)

    def close(self) -> None:
        """The server ends."""
        for used in self._used.values():
            used.cluster.close()
        self._used.clear()
        if self._timer is not None:
            self._timer.close()

    def statistics(self) -> dict[str, int]:
        """For admin pages and tests."""
        return {"used": len(self._used), "leaving": len(self._leaving)}


def _apply(cluster: ThreadLocalCluster, update: bytes) -> None:
    decoded = _decode_hosts(update)
    cluster.update_hosts(decoded.hosts, decoded.policy)
