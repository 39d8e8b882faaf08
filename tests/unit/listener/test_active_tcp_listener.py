"""Accepting in a worker over real sockets: chains, books, drain, stop and removal."""

import errno
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.listener.conftest import ECHO, listener_proto

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.balance import BalanceTable
from proxeny.listener import active_tcp_listener
from proxeny.listener import stats as s
from proxeny.listener.config import ListenerConfig
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.hand_over import hand_over_of
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.overload_state import STOP_ACCEPTING_CONNECTIONS
from proxeny.network.stream_info import ConnectionInfo


class Worker:
    """One listener on a worker's handler."""

    def __init__(self, context: FactoryContext, **fields: Any) -> None:
        assert context.dispatcher is not None
        self.dispatcher: Dispatcher = context.dispatcher
        self.config = ListenerConfig.compile(listener_proto(**fields), context)
        self.sockets = ListenSocketFactory(self.config, 1)
        self.handler = ConnectionHandler(context)
        fds = [socket.dup(fd) for fd in self.sockets.fds(0)]
        self.listener = self.handler.add_listener(1, self.config, fds)
        self.clients: list[socket.socket] = []

    def connect(self, address: int = 0) -> socket.socket:
        to = self.sockets.addresses[address]
        client = socket.create_connection((to.ip, to.port))
        client.settimeout(10)
        self.clients.append(client)
        return client

    def count(self, slot: int) -> int:
        return self.config.stats.get(slot)

    def wait(self, predicate: Any) -> None:
        self.dispatcher.run_until(predicate)

    def received(self, client: socket.socket, size: int) -> bytes:
        client.setblocking(False)
        data = bytearray()

        def more() -> bool:
            try:
                data.extend(client.recv(65536))
            except BlockingIOError:
                pass
            return len(data) >= size

        self.wait(more)
        return bytes(data)

    def is_closed(self, client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.handler.close()
        self.dispatcher.run_once()
        self.sockets.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def make(context: FactoryContext) -> Iterator[Any]:
    workers: list[Worker] = []

    def made(**fields: Any) -> Worker:
        workers.append(Worker(context, **fields))
        return workers[-1]

    yield made
    for worker in workers:
        worker.close()


def test_a_connection_and_its_books(make: Any) -> None:
    worker = make()
    client = worker.connect()
    client.sendall(b"hello")
    assert worker.received(client, 5) == b"hello"
    assert (worker.count(s.CX_TOTAL), worker.count(s.CX_ACTIVE)) == (1, 1)
    assert worker.config.worker_stats.get(s.WORKER_CX_ACTIVE) == 1
    assert worker.config.stats.count(s.ACCEPTED_PER_EVENT) == 1
    assert worker.handler.connection_count == 1
    client.close()
    worker.wait(lambda: worker.count(s.CX_DESTROY) == 1)
    assert worker.count(s.CX_ACTIVE) == 0
    assert worker.config.worker_stats.get(s.WORKER_CX_ACTIVE) == 0
    assert worker.config.stats.count(s.CX_LENGTH_MS) == 1
    assert worker.handler.statistics()[0]["connections"] == 0


def test_many_connections_in_one_event(make: Any) -> None:
    worker = make(max_connections_to_accept_per_socket_event=3)
    for _ in range(10):
        worker.connect()
    worker.wait(lambda: worker.count(s.CX_TOTAL) == 10)
    assert worker.config.stats.count(s.ACCEPTED_PER_EVENT) >= 4


def test_no_chain_matches(make: Any) -> None:
    worker = make(filter_chains=[{"filter_chain_match": {"destination_port": 9}, "filters": [ECHO]}])
    client = worker.connect()
    worker.wait(lambda: worker.count(s.NO_FILTER_CHAIN_MATCH) == 1)
    worker.wait(lambda: worker.is_closed(client))
    assert worker.count(s.CX_TOTAL) == 0


def test_a_chain_without_filters_closes(make: Any) -> None:
    worker = make(filter_chains=[{}])
    client = worker.connect()
    worker.wait(lambda: worker.is_closed(client))
    assert (worker.count(s.CX_TOTAL), worker.count(s.CX_DESTROY)) == (1, 1)


def test_chain_names_limits_and_addresses(make: Any) -> None:
    extra = [{"address": {"socket_address": {"address": "0.0.0.0", "port_value": 0}}}]
    worker = make(
        filter_chains=[{"name": "c", "filters": [ECHO]}],
        per_connection_buffer_limit_bytes=4096,
        additional_addresses=extra,
    )
    worker.connect()
    to = worker.sockets.addresses[1]
    worker.clients.append(socket.create_connection(("127.0.0.3", to.port)))
    worker.wait(lambda: worker.count(s.CX_TOTAL) == 2)
    infos = [active.connection.connection_info for active in worker.listener.connections]
    assert {info.filter_chain_name for info in infos} == {"c"}
    assert {info.local_address.ip for info in infos} == {"127.0.0.1", "127.0.0.3"}
    assert {active.connection.buffer_limit for active in worker.listener.connections} == {4096}


def test_stop_keeps_connections_and_remove_closes_them(make: Any) -> None:
    worker = make()
    client = worker.connect()
    worker.wait(lambda: worker.count(s.CX_TOTAL) == 1)
    worker.handler.stop_listener(1)
    assert worker.config.drain.started
    client.sendall(b"still")
    assert worker.received(client, 5) == b"still"
    worker.connect()
    worker.dispatcher.run_once()
    assert worker.count(s.CX_TOTAL) == 1
    worker.handler.remove_listener(1)
    worker.wait(lambda: worker.is_closed(client))
    assert worker.count(s.CX_ACTIVE) == 0
    worker.handler.remove_listener(1)


def test_a_filter_that_fails_costs_one_connection(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    worker = make()

    class Broken:
        name = "broken"
        left = 1

        def create(self) -> Any:
            if self.left:
                self.left -= 1
                raise RuntimeError("boom")
            return original.create()

    chain = worker.config.matcher.find(None)
    original = chain.factories[0]
    chain.factories = (Broken(),)
    first = worker.connect()
    worker.wait(lambda: worker.is_closed(first))
    assert "boom" in caplog.text
    second = worker.connect()
    second.sendall(b"hello")
    assert worker.received(second, 5) == b"hello"
    assert (worker.count(s.CX_TOTAL), worker.count(s.CX_DESTROY)) == (2, 1)


def test_accepting_rests_while_there_are_no_descriptors(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make()
    attempts = []
    accept = active_tcp_listener.accept_many

    def failing(fd: int, most: int) -> Any:
        attempts.append(fd)
        raise OSError(errno.EMFILE, "accept4")

    monkeypatch.setattr(active_tcp_listener, "accept_many", failing)
    client = worker.connect()
    worker.wait(lambda: len(attempts) == 2)
    assert caplog.text.count("cannot accept") == 1
    monkeypatch.setattr(active_tcp_listener, "accept_many", accept)
    client.sendall(b"hello")
    assert worker.received(client, 5) == b"hello"


def test_sockets_of_a_dead_worker_are_served_meanwhile(make: Any, context: FactoryContext) -> None:
    worker = make()
    other = ListenSocketFactory(ListenerConfig.compile(listener_proto(), context), 1)
    client = socket.create_connection(("127.0.0.1", other.addresses[0].port))
    worker.handler.adopt(1, 7, [socket.dup(fd) for fd in other.fds(0)])
    client.sendall(b"queued")
    assert worker.received(client, 6) == b"queued"
    assert worker.listener.statistics()["adopted_from"] == [7]
    worker.handler.release_adopted(7)
    assert worker.listener.statistics()["adopted_from"] == []
    client.close()
    other.close()


def test_under_overload_connections_wait(make: Any, context: FactoryContext) -> None:
    worker = make()
    context.overload.update({STOP_ACCEPTING_CONNECTIONS: 1.0})
    client = worker.connect()
    client.sendall(b"hello")
    for _ in range(5):
        worker.dispatcher.run_once()
    assert worker.count(s.CX_TOTAL) == 0
    context.overload.update({})
    assert worker.received(client, 5) == b"hello"


def test_a_listener_added_under_overload_waits_too(make: Any, context: FactoryContext) -> None:
    context.overload.update({STOP_ACCEPTING_CONNECTIONS: 1.0})
    waiting, bypassing = make(), make(bypass_overload_manager=True)
    clients = [worker.connect() for worker in (waiting, bypassing)]
    for client in clients:
        client.sendall(b"hello")
    assert bypassing.received(clients[1], 5) == b"hello"
    assert not waiting.listener.connections
    waiting.listener.stop()
    context.overload.update({})


def test_connections_are_counted_from_accept_to_end(make: Any) -> None:
    worker = make()
    counts = worker.listener.limits.counts
    clients = [worker.connect() for _ in range(3)]
    worker.wait(lambda: worker.count(s.CX_ACTIVE) == 3)
    assert (counts.own_count, counts.all_count) == (3, 3)
    counts.own_most = 3
    refused = worker.connect()
    worker.wait(lambda: worker.is_closed(refused))
    assert worker.count(s.CX_OVERFLOW) == 1
    for client in clients:
        client.close()
    worker.wait(lambda: worker.count(s.CX_ACTIVE) == 0)
    assert (counts.own_count, counts.all_count) == (0, 0)


def test_what_finds_no_chain_is_not_counted_for_long(make: Any) -> None:
    worker = make(filter_chains=[{"filter_chain_match": {"destination_port": 1}, "filters": [ECHO]}])
    client = worker.connect()
    worker.wait(lambda: worker.is_closed(client))
    assert worker.listener.limits.counts.own_count == 0


def test_a_matcher_that_fails_costs_one_connection(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        only = None

        def find(self, *about: Any) -> Any:
            raise RuntimeError("a bug")

    worker = make()
    worker.config.matcher = Broken()
    client = worker.connect()
    worker.wait(lambda: worker.is_closed(client))
    assert "the filter chain matcher of" in caplog.text
    assert worker.listener.limits.counts.own_count == 0


def test_what_is_handed_over_stays_counted_whatever_became_of_its_listener(make: Any) -> None:
    worker = make()
    handler, listener = worker.handler, worker.listener
    counts = listener.limits.counts
    table = BalanceTable.create(1)
    handler.hand_over = SimpleNamespace(epoch=5, table=table, close=lambda: None)
    info = ConnectionInfo(worker.sockets.addresses[0], ip_address("127.0.0.1", 4000), 0)

    def arrives(tag: int, epoch: int, *, lost: bool = False) -> socket.socket:
        ours, theirs = socket.socketpair()
        worker.clients.append(ours)
        fd = theirs.detach()
        if lost:
            os.close(fd)
        rows = listener.limits.rows
        if epoch == 5:
            counts.started()  # by who handed it over
        handler._on_handed_over(hand_over_of(tag, epoch, False, info, rows), -1 if lost else fd)
        return ours

    served = [arrives(1, 5), arrives(1, 4), arrives(9, 5), arrives(9, 4)]
    arrives(1, 5, lost=True)
    assert (counts.own_count, counts.all_count) == (4, 4)
    for client in served:
        client.close()
    worker.wait(lambda: worker.count(s.CX_ACTIVE) == 0)
    assert (counts.own_count, counts.all_count) == (0, 0)
    handler.lookup.remove(listener)
    # Nobody serves the address any more: it does not count among all connections; its listener's count is gone.
    gone = arrives(9, 5)
    assert worker.is_closed(gone)
    assert counts.all_count == 0


def test_a_worker_accepts_once_all_its_listeners_are_there(context: FactoryContext) -> None:
    worker = Worker(context)
    handler = worker.handler
    try:
        handler.serving = False
        worker.listener.follow_overload()
        client = worker.connect()
        client.sendall(b"waits")
        for _ in range(3):
            worker.dispatcher.run_once()
        assert worker.count(s.CX_TOTAL) == 0
        handler.serve()
        assert worker.received(client, 5) == b"waits"
    finally:
        worker.close()
