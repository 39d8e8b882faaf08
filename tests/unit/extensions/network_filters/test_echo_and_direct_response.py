"""The echo and direct_response filters over a socket pair."""

import socket

import pytest
from envoy.extensions.filters.network.direct_response.v3 import config_pb2
from envoy.extensions.filters.network.echo.v3 import echo_pb2

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.network_filters import direct_response, echo
from proxeny.network.address import ip_address
from proxeny.network.connection import ServerConnection
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore


@pytest.fixture
def session():
    dispatcher = Dispatcher()
    mine, peer = socket.socketpair()
    mine.setblocking(False)
    peer.settimeout(10)
    address = ip_address("127.0.0.1", 1)
    connection = ServerConnection(dispatcher, mine.detach(), address, address)
    yield dispatcher, connection, peer
    connection.close()
    peer.close()
    dispatcher.close()


def context():
    return FactoryContext("worker", MainStore())


def test_echo(session):
    dispatcher, connection, peer = session
    connection.add_filter(echo.FACTORY.create_filter_factory(echo_pb2.Echo(), context()).create())
    connection.initialize_read_filters()
    for text in (b"one", b"two" * 10_000):
        peer.sendall(text)
        out = b""
        while len(out) < len(text):
            dispatcher.run_once()
            out += peer.recv(100_000)
        assert out == text
    peer.close()
    dispatcher.run_until(lambda: connection.fd < 0)


def test_direct_response(session, tmp_path):
    dispatcher, connection, peer = session
    path = tmp_path / "answer"
    path.write_bytes(b"answer" * 1000)
    config = config_pb2.Config()
    config.response.filename = str(path)
    factory = direct_response.FACTORY.create_filter_factory(config, context())
    assert factory.is_terminal
    connection.add_filter(factory.create())
    connection.initialize_read_filters()
    dispatcher.run_until(lambda: connection.fd < 0)
    out = b""
    while data := peer.recv(100_000):
        out += data
    assert out == b"answer" * 1000


def test_direct_response_without_a_body_closes(session):
    _dispatcher, connection, peer = session
    factory = direct_response.FACTORY.create_filter_factory(config_pb2.Config(), context())
    connection.add_filter(factory.create())
    connection.initialize_read_filters()
    assert peer.recv(1) == b""


def test_direct_response_of_a_missing_file():
    config = config_pb2.Config()
    config.response.filename = "/does/not/exist"
    with pytest.raises(ConfigError):
        direct_response.FACTORY.create_filter_factory(config, context())
