"""The supervisor's decisions; what it does with real processes is in tests/integration/test_workers.py."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.server import messages, supervisor
from proxeny.server.channel import Channel
from proxeny.server.server_stats import SERVER, WORKER_RESTARTS
from proxeny.server.supervisor import Supervisor, Worker, WorkerDied
from proxeny.stats.store import MainStore


class FakeZygote:
    """Keeps the workers' ends of the channels for the test."""

    pid = 1 << 30

    def __init__(self) -> None:
        self.channel, self._other = Channel.pair()
        self.ends: list[Channel] = []

    def fork_worker(self, index: int, epoch: int, channel: socket.socket, shared: list[int]) -> None:
        self.ends.append(Channel(channel))

    def close(self) -> None:
        self.channel.close()
        self._other.close()
        for end in self.ends:
            end.close()


class FakeFeeder:
    def feed(self, worker: Worker) -> list["asyncio.Future[messages.Done]"]:
        return [worker.request(lambda request_id: messages.AddClusters(request_id, [], []))]

    def listening_fds(self, worker_index: int) -> list[tuple[int, list[int]]]:
        return [(7, [2])]

    def on_worker_message(self, worker: Worker, message: object) -> None:
        raise AssertionError(message)


class Fixture:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher(name="test")
        asyncio.set_event_loop(self.dispatcher)
        self.zygote = FakeZygote()
        self.store = MainStore()
        self.stats = self.store.block(SERVER, "server.")
        self.supervisor = Supervisor(self.dispatcher, self.store, self.stats, self.zygote, None, 2)  # type: ignore[arg-type]
        self.supervisor.feeder = FakeFeeder()
        self.supervisor.start()

    def turn(self) -> None:
        self.dispatcher.run_until_complete(asyncio.sleep(0.002))

    def start(self, at: int, pid: int) -> None:
        """The worker behind the channel ``at`` says hello."""
        self.zygote.ends[at].send(messages.WorkerStarted(pid))
        self.turn()

    def read(self, at: int) -> list[messages.Any]:
        found = []
        for message, fds in self.zygote.ends[at].receive() or []:
            for fd in fds:
                os.close(fd)
            found.append(message)
        return found

    def feed(self) -> None:
        task = self.dispatcher.create_task(self.supervisor.feed_all())
        self.turn()
        for at in range(2):
            for message in self.read(at):
                if hasattr(message, "id"):
                    self.zygote.ends[at].send(messages.Done(message.id))
        self.dispatcher.run_until_complete(task)

    def die(self, index: int, pid: int, monkeypatch: pytest.MonkeyPatch, status: int = signal.SIGKILL) -> None:
        reaped = iter([(pid, status), (0, 0)])
        monkeypatch.setattr(supervisor.os, "waitpid", lambda *arguments: next(reaped))  # type: ignore[attr-defined]
        self.supervisor._reap()
        monkeypatch.undo()
        self.turn()


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    made = Fixture()
    yield made
    made.supervisor._stopping = True
    made.zygote.close()
    made.supervisor.inboxes.close()
    for worker in made.supervisor.workers.values():
        worker.channel.close()
    made.turn()
    made.dispatcher.close()
    asyncio.set_event_loop(None)


FIRST, SECOND, THIRD = (1 << 29) + 1, (1 << 29) + 2, (1 << 29) + 3


def test_a_dead_worker_is_replaced_fed_and_helped(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    fixture.start(0, FIRST)
    fixture.start(1, SECOND)
    fixture.feed()
    fixture.die(0, FIRST, monkeypatch)
    assert fixture.stats.get(WORKER_RESTARTS) == 1
    # The other worker accepts for it, with a descriptor of main's.
    assert fixture.read(1) == [messages.AdoptListener(2, 7, 0)]
    fixture.start(2, THIRD)
    [message, serve] = fixture.read(2)
    assert serve == messages.Serve()
    assert isinstance(message, messages.AddClusters)
    fixture.zygote.ends[2].send(messages.Done(message.id))
    fixture.turn()
    assert [type(message) for message in fixture.read(1)] == [messages.ReleaseAdopted]
    assert fixture.supervisor.workers[0].pid == THIRD


def test_a_helper_stays_when_the_replacement_cannot_serve(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    fixture.start(0, FIRST)
    fixture.start(1, SECOND)
    fixture.feed()
    fixture.die(0, FIRST, monkeypatch)
    fixture.read(1)
    fixture.start(2, THIRD)
    [message, _serve] = fixture.read(2)
    fixture.zygote.ends[2].send(messages.Done(message.id, "no"))
    fixture.turn()
    fixture.supervisor.workers[1].send(messages.ReopenLogs())
    assert [type(message) for message in fixture.read(1)] == [messages.ReopenLogs]


def test_a_worker_that_ends_before_its_first_message(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    fixture.die(0, FIRST, monkeypatch, 0)
    assert fixture.stats.get(WORKER_RESTARTS) == 0
    fixture.zygote.ends[0].send(messages.WorkerStarted(FIRST))
    fixture.zygote.ends[0].close()
    fixture.turn()
    assert fixture.stats.get(WORKER_RESTARTS) == 1
    assert len(fixture.zygote.ends) == 3


def test_pending_requests_fail_with_their_worker(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    fixture.start(0, FIRST)
    fixture.start(1, SECOND)
    task = fixture.dispatcher.create_task(fixture.supervisor.feed_all())
    fixture.turn()
    fixture.die(1, SECOND, monkeypatch)
    with pytest.raises(WorkerDied):
        fixture.dispatcher.run_until_complete(task)


def test_deaths_in_a_row_slow_restarts_down(fixture: Fixture) -> None:
    dead = fixture.supervisor.workers[0]
    delays = [fixture.supervisor._backoff(dead) for _ in range(12)]
    assert delays[:5] == [0.0, 0.0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert delays[-1] == supervisor.LAST_BACKOFF_S
    dead.started -= supervisor.STABLE_S
    assert fixture.supervisor._backoff(dead) == 0.0
    dead.started += supervisor.STABLE_S
    assert fixture.supervisor._backoff(dead) == 0.0
