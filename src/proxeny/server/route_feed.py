"""Discovered route configurations on their way to the workers, and their statistics on the way back.

The statistics of a version are used again when every worker that was sent it tells that nothing counts in them any
more: the last requests that found their route in it are over.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.server.listener_generation import MOST_INLINE

if TYPE_CHECKING:
    from proxeny.router.rds.manager import RouteConfigProviderManager, ScopeRows
    from proxeny.router.rds.route_version import HeldRoutes
    from proxeny.server.supervisor import Supervisor, Worker
    from proxeny.stats.store import MainStore, StatTable


class _Sent:
    """A version that workers may have; ``holders`` are those that were sent it and have not let go of it."""

    __slots__ = ("holders", "is_current", "serial", "stats")

    def __init__(self, serial: int, stats: StatTable) -> None:
        self.serial = serial
        self.stats = stats
        self.holders: set[int] = set()
        self.is_current = True


@dataclass(frozen=True, slots=True)
class _Answer:
    """The one to a question of a worker, which several of its requests may ask."""

    worker: Worker
    number: int

    def __call__(self, found: bool) -> None:
        self.worker.send(messages.RoutesAnswered(self.number, found))


class RouteFeed:
    """Sends what holds to all workers that are configured."""

    def __init__(self, routes: RouteConfigProviderManager, supervisor: Supervisor, store: MainStore) -> None:
        self._routes = routes
        self._supervisor = supervisor
        self._store = store
        self._serial = 0
        self._current: dict[str, _Sent] = {}
        """What holds, by key."""
        self._sent: dict[int, _Sent] = {}
        """By serial number, what has an owner: it holds, or some worker still has it."""
        routes.on_change = self._changed
        routes.on_unused = self._unused
        routes.on_scopes = self._scopes_changed

    def _changed(self, routes: HeldRoutes) -> None:
        version, key = routes.version, routes.provider.key
        assert version is not None
        self._serial += 1
        fresh = self._sent[self._serial] = _Sent(self._serial, version.stats)
        replaced, self._current[key] = self._current.get(key), fresh
        workers = self._supervisor.configured_workers()
        self._send(workers, routes)
        if replaced is not None:
            self._leave(replaced)

    def _send(self, workers: list[Worker], routes: HeldRoutes) -> list[asyncio.Future[messages.Done]]:
        version, key = routes.version, routes.provider.key
        assert version is not None
        sent, data = self._current[key], version.data
        rows = messages.stat_rows(version.stats)
        memfd = -1 if len(data) <= MOST_INLINE else _memfd(data + version.digests)
        inline, more = (data, 0) if memfd < 0 else (b"", len(version.digests))
        answers = []
        for worker in workers:
            sent.holders.add(worker.index)
            fds = [] if memfd < 0 else [os.dup(memfd)]
            answers.append(
                worker.request(
                    lambda request_id: messages.SetRoutes(request_id, key, sent.serial, len(data), rows, inline, more),
                    fds,
                    close_fds=True,
                )
            )
        if memfd >= 0:
            os.close(memfd)
        return answers

    def _unused(self, routes: HeldRoutes) -> None:
        key = routes.provider.key
        self._supervisor.broadcast(messages.DropRoutes(key))
        sent = self._current.pop(key, None)
        if sent is not None:
            self._leave(sent)

    def _scopes_changed(self, key: str, removed: list[list[bytes]], scopes: ScopeRows) -> None:
        self._supervisor.broadcast(messages.SetScopes(key, removed, scopes))

    def _leave(self, sent: _Sent) -> None:
        sent.is_current = False
        self._check(sent)

    def _check(self, sent: _Sent) -> None:
        if not sent.is_current and not sent.holders and self._sent.pop(sent.serial, None) is not None:
            self._store.release(sent.stats)

    # -- workers -----------------------------------------------------------------------------------------------

    def feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        """Send a new worker all that holds, before any listener; its answers."""
        self.on_released(worker.index, list(self._sent))  # those of its predecessor
        answers: list[asyncio.Future[messages.Done]] = []
        for routes in self._routes.held_routes():
            if routes.version is not None:
                answers += self._send([worker], routes)
        for key, scopes in self._routes.held_scopes():
            worker.send(messages.SetScopes(key, [], scopes))
        return answers

    def on_asked(self, worker: Worker, question: messages.AskRoutes) -> None:
        """A request in a worker waits for routes that are loaded on demand."""
        self._routes.load(question.key, question.host, question.scope, _Answer(worker, question.number))

    def on_released(self, worker_index: int, serials: list[int]) -> None:
        """Nothing in a worker counts any more for these versions."""
        for serial in serials:
            sent = self._sent.get(serial)
            if sent is not None:
                sent.holders.discard(worker_index)
                self._check(sent)


def _memfd(data: bytes) -> int:
    memfd = os.memfd_create("proxeny-routes", os.MFD_CLOEXEC)
    with os.fdopen(memfd, "wb", closefd=False) as file:
        file.write(data)
    return memfd
