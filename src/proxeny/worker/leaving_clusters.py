"""Clusters that were replaced or removed, until their last connections are gone: then main reuses their stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.stats.store import StatTable, WorkerStore
    from proxeny.upstream.host import Host

LOOK_MS: Final = 200


class _Leaving(NamedTuple):
    serial: int
    hosts: list[Host]
    table: StatTable
    prefixes: tuple[str, ...]


class LeavingClusters:
    """Looks after them from time to time; ``report`` gets the serial numbers of those that are gone."""

    def __init__(self, dispatcher: Dispatcher, store: WorkerStore, report: Callable[[list[int]], object]) -> None:
        self._store = store
        self._report = report
        self._leaving: list[_Leaving] = []
        self._timer = dispatcher.create_timer(self.look)

    def add(self, serial: int, hosts: list[Host], table: StatTable, prefixes: tuple[str, ...]) -> None:
        """A cluster leaves, whose ``hosts`` have connections left; ``look`` follows."""
        self._leaving.append(_Leaving(serial, hosts, table, prefixes))

    def look(self) -> None:
        """Give up the statistics of those that are gone."""
        gone = [one for one in self._leaving if not any(host.is_busy for host in one.hosts)]
        for one in gone:
            self._store.release(one.table, one.prefixes)
        if gone:
            self._leaving = [one for one in self._leaving if one not in gone]
            self._report([one.serial for one in gone])
        if self._leaving:
            self._timer.enable(LOOK_MS)

    def close(self) -> None:
        """The worker ends."""
        self._timer.close()
