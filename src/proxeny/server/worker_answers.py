"""Questions to all workers, and tasks that wait for what they say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from proxeny.event.dispatcher import Dispatcher
from proxeny.server import messages
from proxeny.server.supervisor import Supervisor, WorkerDied

log = logging.getLogger("proxeny.config")

Answer = asyncio.Future[messages.Done]

PATIENCE_S: Final = 30.0
"""A worker that does not answer for so long is stuck (the watchdog's concern): the others' listeners go on."""


class WorkerAnswers:
    """Asks the workers and waits for their answers, without blocking main."""

    def __init__(self, dispatcher: Dispatcher, supervisor: Supervisor) -> None:
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._tasks: set[asyncio.Task[None]] = set()

    def request_all(self, make: Callable[[int], Any]) -> list[Answer]:
        """Ask every worker."""
        return [worker.request(make) for worker in self._supervisor.configured_workers()]

    async def gather(self, answers: list[Answer]) -> list[messages.Done]:
        """What the workers said; one that died meanwhile is fed by the supervisor with the state of then."""
        if not answers:
            return []
        done, pending = await asyncio.wait(answers, timeout=PATIENCE_S)
        if pending:
            log.warning("%d worker(s) did not answer for %.0f s", len(pending), PATIENCE_S)
        for answer in done:
            error = answer.exception()
            if error is not None and not isinstance(error, WorkerDied):
                raise error
        return [answer.result() for answer in answers if answer in done and answer.exception() is None]

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a task; its failure is logged."""
        task = self._dispatcher.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def close(self) -> None:
        """The process ends: nobody waits any more."""
        for task in self._tasks:
            task.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("an update of listeners failed", exc_info=error)
