"""Main's half of listeners, with workers that the test plays: it reads their messages and answers."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from google.protobuf import json_format

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadedBootstrap
from proxeny.event.dispatcher import Dispatcher
from proxeny.server import messages
from proxeny.server.channel import Channel
from proxeny.server.configuration import Configuration
from proxeny.server.listener_manager import ListenerManager
from proxeny.server.options import Options
from proxeny.server.server_stats import LISTENER_MANAGER
from proxeny.server.supervisor import Worker
from proxeny.stats.store import MainStore


class FakeSupervisor:
    """Two workers whose other ends the test holds."""

    def __init__(self) -> None:
        self.ends: list[Channel] = []
        self.workers: list[Worker] = []
        for index in range(2):
            channel, theirs = Channel.pair()
            theirs.setblocking(False)
            self.ends.append(Channel(theirs))
            self.workers.append(Worker(index, channel))

    def configured_workers(self) -> list[Worker]:
        return self.workers

    def receive(self, index: int) -> list[tuple[messages.Any, list[int]]]:
        found: list[tuple[messages.Any, list[int]]] = []
        while True:
            try:
                found += self.ends[index].receive() or []
            except BlockingIOError:
                return found

    def close(self) -> None:
        for end, worker in zip(self.ends, self.workers, strict=True):
            end.close()
            worker.channel.close()


class Fixture:
    def __init__(self) -> None:
        extensions.install()
        self.dispatcher = Dispatcher(name="test")
        self.store = MainStore()
        loaded = LoadedBootstrap(bootstrap_pb2.Bootstrap())
        configuration = Configuration(loaded, Options(concurrency=2, drain_time_s=0), self.store, self.dispatcher)
        self.supervisor = FakeSupervisor()
        self.manager = ListenerManager(self.dispatcher, self.store, configuration, self.supervisor)  # type: ignore[arg-type]
        self.manager.add_static([])
        self.manager.workers_started([])

    def stat(self, name: str) -> int:
        return self.store.block(LISTENER_MANAGER, "listener_manager.").get(LISTENER_MANAGER.slot(name))

    def turn(self) -> None:
        """Let tasks and timers run."""
        self.dispatcher.run_until_complete(asyncio.sleep(0.002))

    def answer(self, *kinds: type, error: str = "") -> list[list[int]]:
        """Both workers carry out what they were sent; their messages are of ``kinds``. Returns the descriptors."""
        kept = []
        for index, worker in enumerate(self.supervisor.workers):
            for message, fds in self.supervisor.receive(index):
                assert type(message) in kinds
                worker.on_done(messages.Done(message.id, error))
                kept.append(fds)
        self.turn()
        return kept


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    made = Fixture()
    asyncio.set_event_loop(made.dispatcher)
    yield made
    made.manager.close()
    made.supervisor.close()
    made.dispatcher.close()
    asyncio.set_event_loop(None)


def listener(name: str = "one", port: int = 0, buffer_limit: int = 1000) -> listener_pb2.Listener:
    made = json_format.ParseDict(
        {
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "per_connection_buffer_limit_bytes": buffer_limit,
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.echo"}]}],
        },
        listener_pb2.Listener(),
    )
    made.filter_chains[0].filters[0].typed_config.Pack(echo_pb2.Echo())
    return made


def close_all(descriptors: list[list[int]]) -> None:
    for fds in descriptors:
        for fd in fds:
            os.close(fd)


def test_add_is_counted_when_every_worker_has_it(fixture: Fixture) -> None:
    fixture.dispatcher.run_until_complete(_in_loop(lambda: fixture.manager.add_or_update(listener())))
    fixture.turn()
    assert fixture.stat("listener_added") == 1
    assert fixture.stat("listener_create_success") == 0
    assert fixture.stat("total_listeners_warming") == 1
    sent = fixture.answer(messages.AddListener)
    # A memfd with the listener, and one socket of its own for each worker.
    assert [len(fds) for fds in sent] == [2, 2]
    assert os.fstat(sent[0][1]).st_ino != os.fstat(sent[1][1]).st_ino
    close_all(sent)
    assert fixture.stat("listener_create_success") == 2
    assert (fixture.stat("total_listeners_warming"), fixture.stat("total_listeners_active")) == (0, 1)


def test_the_same_listener_again_is_no_update(fixture: Fixture) -> None:
    results: list[bool] = []
    for _ in range(2):
        fixture.dispatcher.run_until_complete(
            _in_loop(lambda: results.append(fixture.manager.add_or_update(listener())))
        )
        fixture.turn()
    close_all(fixture.answer(messages.AddListener))
    assert results == [True, False]
    assert fixture.stat("listener_modified") == 0


def test_an_update_takes_over_the_sockets(fixture: Fixture) -> None:
    add = fixture.manager.add_or_update
    fixture.dispatcher.run_until_complete(_in_loop(lambda: add(listener())))
    fixture.turn()
    before = fixture.answer(messages.AddListener)
    [old] = fixture.manager.listeners()
    with socket.create_connection(("127.0.0.1", old.sockets.addresses[0].port)):
        fixture.dispatcher.run_until_complete(_in_loop(lambda: add(listener(buffer_limit=2000))))
        fixture.turn()
        after = fixture.answer(messages.AddListener)
        assert [os.fstat(fds[1]).st_ino for fds in before] == [os.fstat(fds[1]).st_ino for fds in after]
    close_all(before + after)
    assert fixture.stat("listener_modified") == 1
    # The drain time is 0: the old generation is removed at once; its stats and the new one's are the same blocks.
    for _ in range(3):
        fixture.answer(messages.StopListener, messages.RemoveListener)
    assert fixture.stat("total_listeners_draining") == 0
    [fresh] = fixture.manager.listeners()
    assert fresh.sockets is old.sockets
    assert fresh.sockets.fds(0)


def test_a_refusal_by_the_workers_is_counted(fixture: Fixture) -> None:
    fixture.dispatcher.run_until_complete(_in_loop(lambda: fixture.manager.add_or_update(listener())))
    fixture.turn()
    close_all(fixture.answer(messages.AddListener, error="no"))
    assert fixture.stat("listener_create_failure") == 2
    assert fixture.manager.listeners()[0].failure == "no"


def test_remove_drains_then_removes(fixture: Fixture) -> None:
    manager = fixture.manager
    fixture.dispatcher.run_until_complete(_in_loop(lambda: manager.add_or_update(listener())))
    fixture.turn()
    close_all(fixture.answer(messages.AddListener))
    port = manager.listeners()[0].sockets.addresses[0].port
    blocks = len(fixture.store.entries)
    assert not manager.remove("other")
    fixture.dispatcher.run_until_complete(_in_loop(lambda: manager.remove("one")))
    assert fixture.stat("listener_removed") == 1
    assert fixture.stat("total_listeners_draining") == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    for _ in range(3):
        fixture.answer(messages.StopListener, messages.RemoveListener)
    assert manager.draining() == []
    assert len(fixture.store.entries) < blocks


def test_an_address_that_is_taken_leaves_all_as_it_was(fixture: Fixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot bind '127.0.0.1:{port}': Address already in use"):
            fixture.manager.add_or_update(listener(port=port))
    assert fixture.stat("listener_create_failure") == 1
    assert fixture.stat("listener_added") == 0
    assert fixture.manager.listeners() == []


async def _in_loop(function: object) -> None:
    function()  # type: ignore[operator]
