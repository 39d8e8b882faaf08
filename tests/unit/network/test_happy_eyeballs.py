"""Connections to the first of several addresses that answers, over real sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from tests.differential.upstream import RefusedPort, SilentPort

from proxeny.event.dispatcher import Dispatcher
from proxeny.network import happy_eyeballs
from proxeny.network.address import Address, ip_address, pipe_address
from proxeny.network.filter import ConnectionCallbacks, ConnectionCloseType, ConnectionEvent, ConnectionState
from proxeny.network.happy_eyeballs import ANY_VERSION, HappyEyeballsConnection, sort_addresses

CONNECTED, LOCAL_CLOSE, REMOTE_CLOSE = (
    ConnectionEvent.CONNECTED,
    ConnectionEvent.LOCAL_CLOSE,
    ConnectionEvent.REMOTE_CLOSE,
)


def of(text: str) -> list[Address]:
    """Letters for addresses: `4`, `6` and `p` (a pipe), each followed by its number."""
    made = {"4": lambda n: ip_address(f"127.0.0.{n}"), "6": lambda n: ip_address(f"::{n}")}
    return [made[w[0]](w[1:]) if w[0] in made else pipe_address(f"/{w[1:]}") for w in text.split()]


@pytest.mark.parametrize(
    ("given", "version", "count", "sorted_as"),
    [
        ("41 42 61 43", ANY_VERSION, 1, "41 61 42 43"),
        ("61 41 42 43", ANY_VERSION, 1, "61 41 42 43"),
        ("41 42 61 43", 6, 1, "61 41 42 43"),
        ("41 42 43 61 44", ANY_VERSION, 2, "41 42 61 43 44"),
        ("61 41 42 43", 4, 9, "41 42 43 61"),
        ("41 42", 6, 1, "41 42"),
        ("41 41", ANY_VERSION, 4294967295, "41 41"),
        ("41 42 43 61 p1 44", ANY_VERSION, 1, "41 61 p1 42 43 44"),
        ("61 41 p1 42 p2 43", 4, 1, "41 61 p1 42 p2 43"),
        ("p1 61 41 42 p2 62 43", ANY_VERSION, 2, "p1 p2 61 41 62 42 43"),
    ],
)
def test_the_order_in_which_addresses_are_tried(given: str, version: int, count: int, sorted_as: str) -> None:
    """All of these were observed on Envoy 1.40."""
    assert sort_addresses(of(given), version, count) == of(sorted_as)


class Recorder(ConnectionCallbacks):
    def __init__(self) -> None:
        self.events: list[ConnectionEvent] = []

    def on_event(self, event: ConnectionEvent) -> None:
        self.events.append(event)


class Setup:
    """Ports that answer, refuse and keep silent; connections to them."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.servers: list[socket.socket] = []
        self.refused, self.silent = RefusedPort(), SilentPort()
        self.attempts = 0
        self.callbacks = Recorder()

    def listening(self) -> Address:
        server = socket.create_server(("127.0.0.1", 0))
        self.servers.append(server)
        return ip_address("127.0.0.1", server.getsockname()[1])

    def refusing(self) -> Address:
        return ip_address("127.0.0.1", self.refused.port)

    def silence(self) -> Address:
        return ip_address("127.0.0.1", self.silent.port)

    def _on_another(self) -> None:
        self.attempts += 1

    def connect(self, *addresses: Address, source: Address | None = None) -> HappyEyeballsConnection:
        connection = HappyEyeballsConnection(self.dispatcher, addresses, lambda address: (source, ()), self._on_another)
        connection.add_connection_callbacks(self.callbacks)
        connection.connect()
        assert not self.callbacks.events
        return connection

    def until(self, predicate: Callable[[], object]) -> None:
        self.dispatcher.run_until(predicate)


@pytest.fixture
def setup() -> Iterator[Setup]:
    dispatcher = Dispatcher()
    setup = Setup(dispatcher)
    yield setup
    setup.refused.close()
    setup.silent.close()
    for server in setup.servers:
        server.close()
    dispatcher.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happy_eyeballs, "NEXT_ATTEMPT_MS", 2)


def sockets() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def test_the_first_that_answers(setup: Setup) -> None:
    first, second = setup.listening(), setup.listening()
    connection = setup.connect(first, second)
    setup.until(lambda: setup.callbacks.events)
    assert setup.callbacks.events == [CONNECTED]
    assert connection.connection_info.remote_address == first
    peer, address = setup.servers[0].accept()
    peer.close()
    assert connection.connection_info.local_address.port == address[1]
    assert setup.attempts == 0
    connection.write(b"hello")
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert setup.callbacks.events == [CONNECTED, LOCAL_CLOSE]


def test_one_that_refuses_gives_way_at_once(setup: Setup) -> None:
    last = setup.listening()
    connection = setup.connect(setup.refusing(), pipe_address("/no/such/socket"), setup.refusing(), last)
    setup.until(lambda: setup.callbacks.events)
    assert setup.callbacks.events == [CONNECTED]
    assert connection.connection_info.remote_address == last
    assert connection.server_address == last
    assert setup.attempts == 3
    connection.close(ConnectionCloseType.NO_FLUSH)


def test_bytes_go_both_ways(setup: Setup) -> None:
    connection = setup.connect(setup.refusing(), setup.listening())
    connection.write(b"early")
    setup.until(lambda: setup.callbacks.events)
    peer, _ = setup.servers[0].accept()
    with peer:
        peer.settimeout(10)
        setup.until(lambda: not connection.unsent)
        assert peer.recv(100) == b"early"
        peer.sendall(b"answer")
        setup.until(lambda: connection.bytes_received == 6)
    setup.until(lambda: REMOTE_CLOSE in setup.callbacks.events)


@pytest.mark.usefixtures("impatient")
def test_one_that_keeps_silent_does_not_hold_up_the_next(setup: Setup) -> None:
    last = setup.listening()
    before = len(sockets())
    connection = setup.connect(setup.silence(), setup.silence(), last)
    setup.until(lambda: setup.callbacks.events)
    assert setup.callbacks.events == [CONNECTED]
    assert connection.connection_info.remote_address == last
    setup.dispatcher.run_once()
    assert len(sockets()) == before + 1
    connection.close(ConnectionCloseType.NO_FLUSH)


def test_all_fail(setup: Setup) -> None:
    before = len(sockets())
    connection = setup.connect(setup.refusing(), setup.refusing())
    setup.until(lambda: setup.callbacks.events)
    assert setup.callbacks.events == [REMOTE_CLOSE]
    assert connection.state is ConnectionState.CLOSED
    assert connection.transport_failure_reason == "delayed connect error: Connection refused"
    assert len(sockets()) == before
    setup.callbacks = Recorder()
    connection = setup.connect(setup.refusing(), pipe_address("/no/such"))
    setup.until(lambda: setup.callbacks.events)
    assert connection.transport_failure_reason == (
        "immediate connect error: No such file or directory|remote address:/no/such"
    )


def test_failures_of_the_sources_side(setup: Setup) -> None:
    address = setup.listening()
    connection = setup.connect(address, address, source=ip_address("192.0.2.77"))
    setup.until(lambda: setup.callbacks.events)
    assert setup.callbacks.events == [LOCAL_CLOSE]
    assert connection.transport_failure_reason.startswith("failed to bind to 192.0.2.77:0")


@pytest.mark.usefixtures("impatient")
def test_closed_while_addresses_are_tried(setup: Setup) -> None:
    before = len(sockets())
    connection = setup.connect(setup.silence(), setup.silence(), setup.silence())
    setup.until(lambda: setup.attempts == 2)
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert setup.callbacks.events == [LOCAL_CLOSE]
    setup.dispatcher.run_once()
    assert len(sockets()) == before
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert setup.callbacks.events == [LOCAL_CLOSE]


def test_closed_after_a_failure_at_once(setup: Setup) -> None:
    """The failure is on its way when the owner gives up."""
    connection = setup.connect(pipe_address("/no/such"), setup.silence())
    connection.close(ConnectionCloseType.NO_FLUSH)
    setup.dispatcher.run_once()
    assert setup.callbacks.events == [LOCAL_CLOSE]
    assert setup.attempts == 0


def test_no_descriptor_left_is_a_failure(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(fd: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    connection = setup.connect(setup.listening(), setup.listening())
    monkeypatch.setattr(os, "dup", none_left)
    setup.until(lambda: setup.callbacks.events)
    assert setup.callbacks.events == [REMOTE_CLOSE]
    assert connection.transport_failure_reason == "immediate connect error: Too many open files"
