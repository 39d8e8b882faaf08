"""Statistics of what left, until every worker tells that nothing counts in them any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.server.supervisor import Supervisor
    from proxeny.stats.store import StatTable


class LeavingStats:
    """Tables by serial number. A worker that dies has none; its successor begins without them."""

    def __init__(self, supervisor: Supervisor, release: Callable[[StatTable], object]) -> None:
        """``release`` gets each table once nobody has it."""
        self._supervisor = supervisor
        self._release = release
        self._serial = 0
        self._leaving: dict[int, tuple[set[int], StatTable]] = {}
        """Serial number -> the workers that still have it, and the table."""

    def leave(self, table: StatTable) -> int:
        """The number by which workers tell that they let go of it; 0: no worker had it, it is released."""
        workers = {worker.index for worker in self._supervisor.configured_workers()}
        if not workers:
            self._release(table)
            return 0
        self._serial += 1
        self._leaving[self._serial] = workers, table
        return self._serial

    def on_released(self, worker_index: int, serials: list[int]) -> None:
        """A worker has nothing more that counts in these."""
        for serial in serials:
            workers, table = self._leaving.get(serial, (set(), {}))
            workers.discard(worker_index)
            if serial in self._leaving and not workers:
                del self._leaving[serial]
                self._release(table)

    def worker_started(self, worker_index: int) -> None:
        """A worker begins anew: its predecessor's are gone."""
        self.on_released(worker_index, list(self._leaving))
