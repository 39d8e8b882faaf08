"""A listener manager with workers that the test plays: it reads their messages and answers."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.direct_response.v3 import config_pb2
from envoy.extensions.filters.network.echo.v3 import echo_pb2
from google.protobuf import json_format

from proxeny import extensions
from proxeny.config.loader import LoadedBootstrap
from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.balance import BalanceTable
from proxeny.server import messages
from proxeny.server.channel import Channel
from proxeny.server.configuration import Configuration
from proxeny.server.listener_manager import ListenerManager
from proxeny.server.options import Options
from proxeny.server.server_stats import LISTENER_MANAGER
from proxeny.server.supervisor import Supervisor, Worker
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
        self.balance = BalanceTable.create(2)
        self.helpers: list[tuple[int, Worker]] = []

    def configured_workers(self) -> list[Worker]:
        return self.workers

    def helped(self) -> list[tuple[int, Worker]]:
        return self.helpers

    adopt = staticmethod(Supervisor.adopt)

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
    """The manager, and what the test says in the workers' place."""

    def __init__(self, started: bool = True, **options: Any) -> None:
        extensions.install()
        self.dispatcher = Dispatcher(name="test")
        self.store = MainStore()
        loaded = LoadedBootstrap(bootstrap_pb2.Bootstrap())
        options = {"concurrency": 2, "drain_time_s": 0} | options
        self.configuration = Configuration(loaded, Options(**options), self.store, self.dispatcher)
        self.supervisor = FakeSupervisor()
        self.manager = ListenerManager(self.dispatcher, self.store, self.configuration, self.supervisor)  # type: ignore[arg-type]
        if started:
            self.manager.add_static([])
            self.manager.workers_started()

    def stat(self, name: str) -> int:
        return self.store.block(LISTENER_MANAGER, "listener_manager.").get(LISTENER_MANAGER.slot(name))

    def turn(self) -> None:
        """Let tasks and timers run."""
        self.dispatcher.run_until_complete(asyncio.sleep(0.002))

    def do(self, function: Callable[[], Any]) -> Any:
        """Call in the loop, then let tasks run."""

        async def call() -> Any:
            return function()

        result = self.dispatcher.run_until_complete(call())
        self.turn()
        return result

    def answer(self, *kinds: type, error: str = "") -> list[list[int]]:
        """Both workers carry out what they were sent; their messages are of ``kinds``. Returns the descriptors."""
        kept = []
        for index, worker in enumerate(self.supervisor.workers):
            for message, fds in self.supervisor.receive(index):
                assert type(message) in kinds, message
                worker.on_done(messages.Done(message.id, error))
                kept.append(fds)
        self.turn()
        return kept

    def settle(self) -> list[str]:
        """Carry out everything until nobody asks any more; what the first worker was asked for."""
        asked: list[str] = []
        for _ in range(20):
            quiet = True
            for index, worker in enumerate(self.supervisor.workers):
                for message, fds in self.supervisor.receive(index):
                    quiet = False
                    if index == 0:
                        asked.append(type(message).__name__)
                    close_all([fds])
                    worker.on_done(messages.Done(message.id, ""))
            self.turn()
            if quiet:
                return asked
        raise AssertionError("it does not settle")

    def add(self, proto: listener_pb2.Listener) -> None:
        """Add or update a listener and have the workers carry it out."""
        self.do(lambda: self.manager.add_or_update(proto))
        self.settle()

    def close(self) -> None:
        self.manager.close()
        self.supervisor.close()
        self.dispatcher.close()


def listener(
    name: str = "one", port: int = 0, buffer_limit: int = 1000, texts: tuple[str, ...] = (), **fields: Any
) -> listener_pb2.Listener:
    """A listener that echoes; ``texts``: with a chain per text that answers it, chosen by destination ports 1, 2..."""
    made = json_format.ParseDict(
        {
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "per_connection_buffer_limit_bytes": buffer_limit,
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.echo"}]}],
            **fields,
        },
        listener_pb2.Listener(),
    )
    made.filter_chains[0].filters[0].typed_config.Pack(echo_pb2.Echo())
    for number, text in enumerate(texts, start=1):
        chain = made.filter_chains.add(name=text)
        chain.filter_chain_match.destination_port.value = number
        config = config_pb2.Config()
        config.response.inline_string = text
        chain.filters.add(name="envoy.filters.network.direct_response").typed_config.Pack(config)
    return made


def close_all(descriptors: list[list[int]]) -> None:
    for fds in descriptors:
        for fd in fds:
            os.close(fd)
