"""Discovered filter configurations on their way to the workers.

A configuration counts as reloaded once all workers have it. The blocks of statistics of a subscription that ended are
used again when every worker tells that nothing counts in them any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxeny.server import messages
from proxeny.server.leaving_stats import LeavingStats

if TYPE_CHECKING:
    from proxeny.filter_config.manager import FilterConfigManager
    from proxeny.filter_config.subscription import FilterConfigSubscription
    from proxeny.server.supervisor import Supervisor, Worker
    from proxeny.server.worker_answers import WorkerAnswers
    from proxeny.stats.store import MainStore


class FilterConfigFeed:
    """Sends what holds to all workers that are configured."""

    def __init__(
        self, configs: FilterConfigManager, supervisor: Supervisor, answers: WorkerAnswers, store: MainStore
    ) -> None:
        self._configs = configs
        self._supervisor = supervisor
        self._answers = answers
        self._leaving = LeavingStats(supervisor, store.release)
        """Of subscriptions that ended."""
        configs.on_change = self._changed
        configs.on_unused = self._unused

    def _changed(self, subscription: FilterConfigSubscription) -> None:
        answers = [self._send(worker, subscription) for worker in self._supervisor.configured_workers()]
        if answers:
            self._answers.spawn(self._count(subscription, answers))
        else:
            subscription.applied()

    async def _count(
        self, subscription: FilterConfigSubscription, answers: list[asyncio.Future[messages.Done]]
    ) -> None:
        await self._answers.gather(answers)
        subscription.applied()

    def _send(self, worker: Worker, subscription: FilterConfigSubscription) -> asyncio.Future[messages.Done]:
        config, rows = subscription.config, messages.stat_rows(subscription.kept)
        data = None if config is None else config.SerializeToString()
        return worker.request(lambda request_id: messages.SetFilterConfig(request_id, subscription.key, data, rows))

    def _unused(self, subscription: FilterConfigSubscription) -> None:
        serial = self._leaving.leave(subscription.kept)
        if serial:
            self._supervisor.broadcast(messages.DropFilterConfig(subscription.key, serial))

    def on_released(self, worker_index: int, serials: list[int]) -> None:
        """Nothing in a worker counts any more for these."""
        self._leaving.on_released(worker_index, serials)

    def feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        """Send a new worker all that holds, before any cluster or listener; its answers."""
        self._leaving.worker_started(worker.index)
        return [self._send(worker, one) for one in self._configs.subscriptions() if one.kept or one.config is not None]
