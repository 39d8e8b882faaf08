"""Receiving in a worker over real sockets: filters in order, adoption of a dead worker's sockets, the end."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.listener.v3 import listener_pb2
from google.protobuf.json_format import ParseDict

from proxeny.event.dispatcher import Dispatcher
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.kinds import compile_listener
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.listener.stats import DATAGRAMS_DROPPED
from proxeny.listener.udp_filter import UdpListenerFilter, local_of, peer_of
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus


class Recorder(UdpListenerFilter):
    """Keeps what it sees; answers `answer:` datagrams; lets `pass` ones through."""

    def __init__(self, callbacks: Any) -> None:
        self.callbacks = callbacks
        self.seen: list[tuple[str, str, bytes]] = []
        self.closed = 0

    def on_data(self, flow: bytes, data: bytes) -> FilterStatus:
        self.seen.append((peer_of(flow).as_string(), local_of(flow).as_string(), data))
        if data == b"fail":
            raise RuntimeError("one datagram")
        if data.startswith(b"answer:"):
            assert self.callbacks.reply(flow, data[7:]) == 0
        return FilterStatus.CONTINUE if data == b"pass" else FilterStatus.STOP_ITERATION

    def close(self) -> None:
        self.closed += 1


class RecorderFactory:
    name = "recorder"

    def __init__(self) -> None:
        self.made: list[Recorder] = []

    def create(self, callbacks: Any) -> Recorder:
        self.made.append(Recorder(callbacks))
        return self.made[-1]


class Worker:
    """One UDP listener on a worker's handler, of a proxy of two workers."""

    def __init__(self, context: FactoryContext, **fields: Any) -> None:
        assert context.dispatcher is not None
        self.dispatcher: Dispatcher = context.dispatcher
        base: dict[str, Any] = {
            "name": "l",
            "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": 0}},
        }
        self.config: Any = compile_listener(ParseDict(base | fields, listener_pb2.Listener()), context)
        self.first, self.second = RecorderFactory(), RecorderFactory()
        self.config.filters = (self.first, self.second)
        self.sockets = ListenSocketFactory(self.config, 2)
        self.handler = ConnectionHandler(context)
        self.listener = self.handler.add_listener(1, self.config, self.fds(0))
        self.clients: list[socket.socket] = []

    def fds(self, worker: int) -> list[int]:
        return [socket.dup(fd) for fd in self.sockets.fds(worker)]

    def client(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        self.clients.append(made)
        return made

    def send(self, data: bytes, address: int = 0, client: socket.socket | None = None) -> socket.socket:
        client = client or self.client()
        to = self.sockets.addresses[address]
        client.sendto(data, (to.ip, to.port))
        return client

    @property
    def seen(self) -> list[bytes]:
        return [data for made in self.first.made for _, _, data in made.seen]

    def client_of(self, worker: int) -> socket.socket:
        """A client whose datagrams the kernel gives to that worker (worker 0 is the one that runs)."""
        while True:
            client = self.send(b"whose", client=self.client())
            before = len(self.seen)
            for _ in range(3):
                self.dispatcher.run_once()
            if (len(self.seen) > before) == (worker == 0):
                return client

    def received(self, client: socket.socket) -> bytes:
        found: list[bytes] = []

        def more() -> bool:
            if not found:
                with contextlib.suppress(BlockingIOError):
                    found.append(client.recv(65536))
            return bool(found)

        self.dispatcher.run_until(more)
        return found[0]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.handler.close()
        self.sockets.close()


@pytest.fixture
def worker(context: FactoryContext) -> Iterator[Worker]:
    made = Worker(context)
    yield made
    made.close()


def test_filters_see_a_datagram_in_their_order_until_one_keeps_it(worker: Worker) -> None:
    client = worker.client_of(0)
    (first,), (second,) = worker.first.made, worker.second.made
    before = len(first.seen), len(second.seen)
    worker.send(b"kept", client=client)
    worker.send(b"pass", client=client)
    worker.dispatcher.run_until(lambda: len(first.seen) == before[0] + 2)
    assert [data for _, _, data in second.seen[before[1] :]] == [b"pass"]
    peer, local, _ = first.seen[-1]
    assert peer.endswith(f":{client.getsockname()[1]}")
    assert local == worker.sockets.addresses[0].as_string()


def test_answers(worker: Worker) -> None:
    client = worker.client_of(0)
    worker.send(b"answer:yes", client=client)
    assert worker.received(client) == b"yes"


def test_a_failing_filter_loses_one_datagram(worker: Worker) -> None:
    client = worker.client_of(0)
    worker.send(b"fail", client=client)
    worker.send(b"answer:still here", client=client)
    assert worker.received(client) == b"still here"
    assert worker.dispatcher.handler_errors == 1


def test_long_datagrams_are_dropped_and_counted(worker: Worker) -> None:
    client = worker.client_of(0)
    worker.send(b"x" * 1501, client=client)
    worker.dispatcher.run_until(lambda: worker.config.udp_stats.get(DATAGRAMS_DROPPED))
    assert worker.config.udp_stats.get(DATAGRAMS_DROPPED) == 1
    assert b"x" * 1501 not in worker.seen


def test_a_dead_workers_socket_is_served_meanwhile(worker: Worker) -> None:
    client = worker.client_of(1)
    worker.send(b"answer:one", client=client)
    worker.handler.adopt(1, 1, worker.fds(1))
    assert worker.received(client) == b"one"
    assert worker.listener.statistics()["adopted_from"] == [1]
    worker.send(b"answer:two", client=client)
    assert worker.received(client) == b"two"
    worker.handler.release_adopted(1)
    worker.dispatcher.run_once()
    worker.send(b"answer:three", client=client)
    for _ in range(3):
        worker.dispatcher.run_once()
    with pytest.raises(BlockingIOError):
        client.recv(100)
    assert worker.listener.statistics()["adopted_from"] == []


def test_every_address_has_filters_of_its_own(context: FactoryContext) -> None:
    extra = [{"address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.2", "port_value": 0}}}]
    worker = Worker(context, additional_addresses=extra)
    assert len(worker.first.made) == 2
    worker.close()


def test_the_end(worker: Worker) -> None:
    worker.handler.adopt(1, 1, worker.fds(1))
    worker.handler.stop_listener(1)
    assert [made.closed for made in worker.first.made + worker.second.made] == [1, 1]
    worker.handler.adopt(1, 1, worker.fds(1))
    assert worker.listener.statistics()["adopted_from"] == []
    worker.handler.remove_listener(1)
    assert [made.closed for made in worker.first.made + worker.second.made] == [1, 1]
    assert worker.handler.connection_count == 0
