"""Route configurations on their way to the workers: what each is sent, and when statistics are free again."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.router.rds.rds_setup import Setup, User, resource, routes
from tests.unit.server.listener_workers import FakeSupervisor

from proxeny.server import messages
from proxeny.server.listener_generation import MOST_INLINE
from proxeny.server.route_feed import RouteFeed


class Fed(Setup):
    def __init__(self) -> None:
        super().__init__()
        self.supervisor = FakeSupervisor()
        self.supervisor.broadcast = self.broadcast  # type: ignore[attr-defined]
        self.feed = RouteFeed(self.manager, self.supervisor, self.store)  # type: ignore[arg-type]
        self.users = [self.user()]

    def broadcast(self, message: Any) -> None:
        for worker in self.supervisor.workers:
            worker.send(message)

    def put(self, status: int, **more: Any) -> None:
        """In a loop, as it happens."""

        async def apply() -> None:
            self.xds.subscriptions[0].callbacks.on_config_update([resource(routes(status=status, **more))], str(status))

        self.dispatcher.run_until_complete(apply())

    def sent(self, worker: int = 0) -> list[Any]:
        return [message for message, _ in self.supervisor.receive(worker)]

    def counted(self, status: int) -> bool:
        """Whether the statistics of that version have an owner."""
        return any(f"v{status}." in prefix for _, prefix in self.store.entries)

    def close(self) -> None:
        super().close()
        self.supervisor.close()


@pytest.fixture
def fed() -> Iterator[Fed]:
    made = Fed()
    yield made
    made.close()


def test_every_worker_is_sent_what_holds(fed: Fed) -> None:
    fed.put(200)
    for worker in range(2):
        [message] = fed.sent(worker)
        assert isinstance(message, messages.SetRoutes)
        assert message.key == fed.users[0].provider.key  # type: ignore[union-attr]
        assert message.data == routes().SerializeToString(deterministic=True)
        assert message.stats


def test_a_large_one_is_read_from_memory_that_all_share(fed: Fed) -> None:
    names = ["x" * 1000 + str(number) for number in range(100)]
    fed.put(200, internal_only_headers=names)
    for worker in range(2):
        [(message, [fd])] = fed.supervisor.receive(worker)
        assert isinstance(message, messages.SetRoutes)
        assert message.size > MOST_INLINE and not message.data
        data = os.pread(fd, message.size, 0)
        assert data == routes(internal_only_headers=names).SerializeToString(deterministic=True)
        os.close(fd)


def test_statistics_are_free_when_all_workers_let_go(fed: Fed) -> None:
    fed.put(200)
    fed.put(201)
    [first, second] = fed.sent()
    assert fed.counted(200) and fed.counted(201)
    fed.feed.on_released(0, [first.serial])
    assert fed.counted(200)
    fed.feed.on_released(1, [first.serial])
    assert not fed.counted(200) and fed.counted(201)
    fed.feed.on_released(1, [first.serial, 999])  # told twice, or of nothing
    assert second.serial != first.serial


def test_a_new_worker_gets_what_holds_and_holds_nothing_else(fed: Fed) -> None:
    fed.put(200)
    fed.put(201)
    [first, second] = fed.sent(1)
    fed.feed.on_released(0, [first.serial])

    async def feed() -> None:
        fed.feed.feed(fed.supervisor.workers[1])

    fed.dispatcher.run_until_complete(feed())
    assert not fed.counted(200)
    [message] = fed.sent(1)
    assert message.serial == second.serial
    fed.put(202)
    fed.feed.on_released(0, [second.serial])
    assert fed.counted(201)
    fed.feed.on_released(1, [second.serial])
    assert not fed.counted(201)


def test_workers_drop_what_nobody_uses(fed: Fed) -> None:
    fed.put(200)
    [first] = fed.sent()
    fed.users.clear()
    fed.turn()
    [message] = fed.sent()
    assert isinstance(message, messages.DropRoutes)
    assert fed.counted(200)
    for worker in range(2):
        fed.feed.on_released(worker, [first.serial])
    assert not fed.counted(200)


def test_a_new_user_begins_anew(fed: Fed) -> None:
    fed.put(200)
    fed.users.clear()
    fed.turn()
    user: User = fed.user()
    assert user.table is None
    assert len(fed.xds.subscriptions) == 2


def test_a_question_of_many_requests_has_one_answer(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: dict[Any, None] = {}
    monkeypatch.setattr(fed.manager, "load", lambda key, host, scope, on_loaded: waiting.setdefault(on_loaded))
    first, second = fed.supervisor.workers
    for worker, number in ((first, 1), (first, 1), (first, 2), (second, 1)):
        fed.feed.on_asked(worker, messages.AskRoutes(number, "k", "h", []))  # type: ignore[arg-type]
    assert len(waiting) == 3
    for on_loaded in waiting:
        on_loaded(True)
    assert fed.sent(0) == [messages.RoutesAnswered(1, True), messages.RoutesAnswered(2, True)]
    assert fed.sent(1) == [messages.RoutesAnswered(1, True)]
