"""Discovered filters on their way to the workers: what each is sent, and when statistics are free again."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.filter_config.builders import ROUTER, Main, delivered, discovery, router
from tests.unit.server.listener_workers import FakeSupervisor

from proxeny.event.dispatcher import Dispatcher
from proxeny.filter_config.kinds import HTTP, FilterBuilder
from proxeny.server import messages
from proxeny.server.filter_config_feed import FilterConfigFeed
from proxeny.server.worker_answers import WorkerAnswers


class Fed:
    """A manager with one filter, and two workers that the test plays."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.main = Main(self.dispatcher)
        self.supervisor = FakeSupervisor()
        self.supervisor.broadcast = self.broadcast  # type: ignore[attr-defined]
        self.answers = WorkerAnswers(self.dispatcher, self.supervisor)  # type: ignore[arg-type]
        self.feed = FilterConfigFeed(self.main.manager, self.supervisor, self.answers, self.main.store)  # type: ignore[arg-type]
        builder = FilterBuilder(HTTP, "a", self.main.context, "http", True, "http.x.")
        self.filter: Any = self.main.manager.provider(discovery(ROUTER), builder, self.main.context)

    def broadcast(self, message: Any) -> None:
        for worker in self.supervisor.workers:
            worker.send(message)

    def do(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            result = function()
            for _ in range(5):
                await asyncio.sleep(0)
            return result

        return self.dispatcher.run_until_complete(call())

    def put(self) -> None:
        self.do(lambda: self.main.xds.callbacks[0].on_config_update([delivered(router())], "v1"))

    def drop(self) -> None:
        """The only filter goes."""
        self.do(lambda: setattr(self, "filter", None))

    def sent(self, worker: int = 0) -> list[Any]:
        return [message for message, _ in self.supervisor.receive(worker)]

    @property
    def blocks(self) -> int:
        """Blocks of the filter's own statistics."""
        return sum(1 for _, prefix in self.main.store.entries if prefix == "http.x.")

    def close(self) -> None:
        self.answers.close()
        self.main.manager.close()
        self.supervisor.close()
        self.dispatcher.close()


@pytest.fixture
def fed() -> Iterator[Fed]:
    made = Fed()
    yield made
    made.close()


def test_it_counts_once_all_workers_have_it(fed: Fed) -> None:
    fed.put()
    for index, worker in enumerate(fed.supervisor.workers):
        assert fed.main.counter("config_reload") == 0
        [message] = fed.sent(index)
        assert isinstance(message, messages.SetFilterConfig)
        assert (message.data, bool(message.stats)) == (router().SerializeToString(), True)
        fed.do(lambda worker=worker, message=message: worker.on_done(messages.Done(message.id)))  # type: ignore[misc]
    assert fed.main.counter("config_reload") == 1


def test_a_removed_one_is_told_too(fed: Fed) -> None:
    fed.put()
    fed.do(lambda: fed.main.xds.callbacks[0].on_config_delta([], ["a"], ""))
    assert fed.sent()[-1].data is None


def test_statistics_are_free_when_all_workers_let_go(fed: Fed) -> None:
    fed.put()
    assert fed.blocks
    fed.drop()
    [_, message] = fed.sent()
    assert isinstance(message, messages.DropFilterConfig)
    fed.feed.on_released(0, [message.serial])
    assert fed.blocks
    fed.feed.on_released(1, [message.serial])
    assert not fed.blocks
    fed.feed.on_released(1, [message.serial])


def test_a_new_worker_gets_what_holds_and_has_nothing_of_its_predecessor(fed: Fed) -> None:
    first, second = fed.supervisor.workers
    assert fed.feed.feed(first) == []
    fed.put()
    fed.sent()
    assert len(fed.do(lambda: fed.feed.feed(first))) == 1
    [message] = fed.sent()
    assert isinstance(message, messages.SetFilterConfig)
    fed.drop()
    fed.feed.feed(first)
    fed.feed.feed(second)
    assert not fed.blocks


def test_without_workers_nothing_is_waited_for(fed: Fed) -> None:
    fed.supervisor.workers, workers = [], fed.supervisor.workers
    fed.put()
    assert fed.main.counter("config_reload") == 1
    fed.drop()
    assert not fed.blocks
    fed.supervisor.workers = workers
