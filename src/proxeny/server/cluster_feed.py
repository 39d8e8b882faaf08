"""Changes of clusters on their way to the workers, and their statistics on the way back.

What one turn of main's loop changes travels as one message. The statistics of a cluster that was replaced or removed
are used again when every worker that had it tells that its last connections are gone; a worker that dies has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.server.leaving_stats import LeavingStats

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.server.supervisor import Supervisor
    from proxeny.stats.store import StatTable
    from proxeny.upstream.main_cluster_manager import MainClusterManager


class ClusterFeed:
    """Sends what the cluster manager changes to all workers that are configured."""

    def __init__(self, dispatcher: Dispatcher, clusters: MainClusterManager, supervisor: Supervisor) -> None:
        self._dispatcher = dispatcher
        self._clusters = clusters
        self._supervisor = supervisor
        self._queue: list[messages.ClusterChange] = []
        self._leaving = LeavingStats(supervisor, clusters.release_stats)
        """Of what changes replaced."""
        clusters.on_hosts_changed = self._hosts_changed
        clusters.on_cluster_changed = self._changed
        clusters.on_cluster_removed = self._removed

    def _hosts_changed(self, name: str, update: bytes) -> None:
        self.flush()
        self._supervisor.broadcast(messages.UpdateHosts(name, update))

    def _changed(self, name: str, replaced: StatTable) -> None:
        data, generation, table, hosts = self._clusters.cluster_update(name)
        rows = messages.stat_rows(table)
        self._put(messages.ClusterChange(name, data, generation, rows, hosts or b""), replaced)

    def _removed(self, name: str, table: StatTable) -> None:
        self._put(messages.ClusterChange(name), table)

    def _put(self, change: messages.ClusterChange, replaced: StatTable) -> None:
        if replaced:
            rows = messages.stat_rows(replaced)
            change.serial = self._leaving.leave(replaced)
            change.replaced = rows if change.serial else []
        if not self._queue:
            self._dispatcher.call_soon(self.flush)
        self._queue.append(change)

    def flush(self) -> None:
        """Send what there is; before anything else about these clusters is sent."""
        if self._queue:
            queue, self._queue = self._queue, []
            self._supervisor.broadcast(messages.ChangeClusters(queue))

    def on_released(self, worker_index: int, serials: list[int]) -> None:
        """A worker let go of what these changes replaced."""
        self._leaving.on_released(worker_index, serials)

    def worker_started(self, worker_index: int) -> None:
        """A worker begins anew with the clusters of now."""
        self.flush()
        self._leaving.worker_started(worker_index)
