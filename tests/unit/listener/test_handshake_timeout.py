"""Connections whose handshake takes too long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.listener.handshake_timeout import HandshakeTimeout
from proxeny.listener.stats import LISTENER, TRANSPORT_SOCKET_CONNECT_TIMEOUT
from proxeny.network.address import pipe_address
from proxeny.network.connection import ServerConnection
from proxeny.network.filter import ConnectionState
from proxeny.stats.store import MainStore


class World:
    def __init__(self) -> None:
        self.source = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.source)
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.connection = ServerConnection(self.dispatcher, ours.detach(), pipe_address(""), pipe_address(""))
        self.stats = MainStore().block(LISTENER, "listener.l.")
        HandshakeTimeout(self.connection, 100, self.stats)

    def wait(self, ms: int) -> None:
        self.source.advance_ms(ms)
        self.dispatcher.run_once()

    @property
    def count(self) -> int:
        return int(self.stats.get(TRANSPORT_SOCKET_CONNECT_TIMEOUT))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.connection.close()
    made.dispatcher.run_once()
    made.theirs.close()
    made.dispatcher.close()


def test_the_connection_is_closed(world: World) -> None:
    world.wait(99)
    assert world.connection.state is ConnectionState.OPEN
    world.wait(2)
    assert world.connection.state is ConnectionState.CLOSED
    info = world.connection.connection_info
    assert info.local_close_reason == "transport_socket_timeout"
    assert info.termination_details == "transport socket timeout was reached"
    assert world.connection.transport_failure_reason == "connect timeout"
    assert info.transport_failure_reason == ""
    assert world.count == 1


def test_a_handshake_in_time_ends_it(world: World) -> None:
    world.connection.on_connected()
    world.wait(1000)
    assert world.connection.state is ConnectionState.OPEN
    assert world.count == 0


def test_so_does_the_end_of_the_connection(world: World) -> None:
    world.connection.close()
    world.wait(1000)
    assert world.count == 0
