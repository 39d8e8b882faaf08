"""A worker's copies: who is told of another configuration, and what cannot be built."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.filter_config.builders import discovery, mutation, router

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import finish
from proxeny.filter_config.kinds import HTTP, FilterBuilder
from proxeny.filter_config.manager import subscription_key
from proxeny.filter_config.worker_filter_configs import WorkerFilterConfigs
from proxeny.kernel.stats import Segment
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import WorkerStore

STATS = {("one", "a."): 0, ("two", "a."): 8}


class Worker:
    """Configurations, and a filter in a chain."""

    def __init__(self) -> None:
        self.store = WorkerStore(Segment.create("test"))
        self.dispatcher = Dispatcher()
        self.released: list[int] = []
        self.configs = WorkerFilterConfigs(self.store, self.dispatcher, self.released.extend)
        self.context = FactoryContext("worker", self.store, filter_configs=self.configs)
        self.key = subscription_key(FilterBuilder(HTTP, "a", self.context), discovery().config_source)

    def filter(self, **fields: Any) -> Any:
        builder = FilterBuilder(HTTP, "a", self.context, "http")
        return self.configs.provider(discovery(**fields), builder, self.context)

    def set(self, config: Any, stats: Any = ()) -> None:
        data = None if config is None else config.SerializeToString()
        finish(self.configs.set(self.key, data, dict(stats)))


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.configs.close()
    made.dispatcher.close()


def test_a_filter_has_what_main_told_before_and_after(worker: Worker) -> None:
    worker.set(mutation())
    provider = worker.filter()
    first = provider.current
    assert first.name == "a"
    worker.set(mutation("two"))
    assert provider.current is not first
    worker.set(None)
    assert provider.current is None


def test_a_removed_configuration_gives_way_to_the_default(worker: Worker) -> None:
    provider = worker.filter(default=mutation("default"))
    assert provider.current is not None
    worker.set(None)
    assert provider.current is not None


def test_what_a_filter_cannot_have_is_not_taken(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.set(mutation())
    provider = worker.filter()
    before = provider.current
    worker.set(router())
    assert provider.current is before
    assert "which main accepted, is refused" in caplog.text


def test_statistics_are_held_until_nobody_uses_it(worker: Worker) -> None:
    for _ in range(2):
        worker.set(mutation(), STATS)
    assert worker.store._owners == {key: 1 for key in STATS}
    worker.configs.drop(worker.key, 1)
    assert not worker.store._owners
    worker.configs.drop(worker.key, 2)
    assert worker.released == [1, 2]


def test_statistics_are_held_while_something_drains(worker: Worker) -> None:
    worker.set(mutation(), STATS)
    provider = worker.filter()
    worker.configs.drop(worker.key, 1)
    assert (len(worker.store._owners), worker.released) == (2, [])
    worker.set(mutation(), STATS)
    assert worker.store._owners == {key: 2 for key in STATS}, "it came back meanwhile"
    del provider

    async def until_released() -> None:
        async with asyncio.timeout(10):
            while not worker.released:  # noqa: ASYNC110 - what is watched cannot set an event
                await asyncio.sleep(0.01)

    worker.dispatcher.run_until_complete(until_released())
    assert worker.store._owners == {key: 1 for key in STATS}
