"""``workers.update_lag_us``: from what main sends until all workers use it; the test plays the workers."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.unit.server.listener_workers import FakeSupervisor

from proxeny.event.dispatcher import Dispatcher
from proxeny.server import messages
from proxeny.server.supervisor import Worker
from proxeny.server.update_lag import UPDATE_LAG, WORKERS, UpdateLag
from proxeny.stats.store import MainStore

HOSTS = messages.UpdateHosts("c", b"")


class World:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher(name="test")
        self.supervisor = FakeSupervisor()
        channels = [worker.channel for worker in self.supervisor.workers]
        self.supervisor.workers = [
            Worker(index, channel, lambda: self.supervisor.on_update())  # type: ignore[attr-defined]
            for index, channel in enumerate(channels)
        ]
        self.store = MainStore()
        self.lag = UpdateLag(self.dispatcher, self.store, self.supervisor)  # type: ignore[arg-type]

    def send(self, message: messages.Message) -> None:
        async def broadcast() -> None:
            for worker in self.supervisor.workers:
                worker.send(message)
            await asyncio.sleep(0)

        self.dispatcher.run_until_complete(broadcast())

    def marks(self, index: int) -> list[int]:
        return [one.id for one, _ in self.supervisor.receive(index) if isinstance(one, messages.Mark)]

    def answer(self, index: int, mark: int) -> None:
        async def answered() -> None:
            self.supervisor.workers[index].on_done(messages.Done(mark))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        self.dispatcher.run_until_complete(answered())

    @property
    def samples(self) -> int:
        return sum(self.store.block(WORKERS, "workers.").bins(UPDATE_LAG).values())

    def close(self) -> None:
        self.supervisor.close()
        self.dispatcher.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_all_workers_must_have_answered(world: World) -> None:
    world.send(HOSTS)
    (first,), (second,) = world.marks(0), world.marks(1)
    world.answer(0, first)
    assert world.samples == 0
    world.answer(1, second)
    assert world.samples == 1


def test_of_a_burst_the_first_counts(world: World) -> None:
    for _ in range(3):
        world.send(HOSTS)
    (first,), (second,) = world.marks(0), world.marks(1)
    world.answer(0, first)
    world.answer(1, second)
    assert world.samples == 1
    (first,), (second,) = world.marks(0), world.marks(1)  # for what was sent while they were asked
    world.answer(0, first)
    world.answer(1, second)
    assert world.samples == 2
    assert world.marks(0) == []


def test_what_changes_nothing_is_not_asked_after(world: World) -> None:
    world.send(messages.SetLogLevel("", "info"))
    assert world.marks(0) == []


def test_a_worker_that_dies_is_not_waited_for(world: World) -> None:
    world.send(HOSTS)
    (first,) = world.marks(0)
    world.answer(0, first)

    async def die() -> None:
        world.supervisor.workers[1].fail_pending()
        await asyncio.sleep(0)

    world.dispatcher.run_until_complete(die())
    world.send(HOSTS)
    assert world.marks(0)
