"""How long updates take to the workers: from what main sends until all of them use it (``workers.update_lag_us``).

One question is under way at a time: after a burst of updates the time of its first message counts.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from proxeny.server import messages
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.server.supervisor import Supervisor
    from proxeny.stats.store import MainStore

WORKERS: Final = Schema("workers", histograms=("update_lag_us",))
UPDATE_LAG: Final = WORKERS.slot("update_lag_us")


class UpdateLag:
    """Asks the workers after every update."""

    def __init__(self, dispatcher: Dispatcher, store: MainStore, supervisor: Supervisor) -> None:
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._stats = store.block(WORKERS, "workers.")
        self._since_ns = 0
        """When the first update was sent that was not asked after; 0: there is none."""
        self._waiting = 0
        """Answers that are missing."""
        supervisor.on_update = self._on_update

    def _on_update(self) -> None:
        if self._since_ns:
            return
        self._since_ns = time.monotonic_ns()
        if not self._waiting:
            self._dispatcher.call_soon(self._ask)

    def _ask(self) -> None:
        since, self._since_ns = self._since_ns, 0
        workers = self._supervisor.configured_workers()
        self._waiting = len(workers)
        for worker in workers:
            answer = worker.request(messages.Mark)
            answer.add_done_callback(lambda done: self._answered(done, since))

    def _answered(self, answer: asyncio.Future[messages.Done], since: int) -> None:
        """A worker is through, or gone."""
        self._waiting -= 1
        if self._waiting:
            return
        if not answer.cancelled() and answer.exception() is None:
            self._stats.record(UPDATE_LAG, (time.monotonic_ns() - since) // 1000)
        if self._since_ns:
            self._ask()
