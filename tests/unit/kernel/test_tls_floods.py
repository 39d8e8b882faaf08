"""Peers of TLS connections that never stop changing keys: libssl itself would answer for ever."""

import ctypes
import socket
from typing import Any

import pytest
from tests.unit.kernel.test_tls import End, World

from proxeny.kernel import tls

TOO_MANY = "TLS_error:|268435723:SSL routines:OPENSSL_internal:TOO_MANY_KEY_UPDATES:TLS_error_end"


def libssl() -> Any:
    """The library that the kernel is linked with."""
    found = ctypes.CDLL(tls.__file__)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, *arguments in (
        ("TLS_client_method", pointer),
        ("SSL_CTX_new", pointer, pointer),
        ("SSL_CTX_free", None, pointer),
        ("SSL_new", pointer, pointer),
        ("SSL_free", None, pointer),
        ("SSL_set_fd", number, pointer, number),
        ("SSL_connect", number, pointer),
        ("SSL_do_handshake", number, pointer),
        ("SSL_write", number, pointer, ctypes.c_char_p, number),
        ("SSL_key_update", number, pointer, number),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


class Client:
    """A client that does as it likes, connected to a server of the kernel."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lib = libssl()
        ours, self.socket = socket.socketpair()
        self.server = End()
        self.transport = tls.TlsTransport(world.server)
        self.server.set_transport(self.transport)
        ours.setblocking(False)
        self.socket.setblocking(False)
        self.server.open(world.poller, ours.detach())
        self.context = self.lib.SSL_CTX_new(self.lib.TLS_client_method())
        self.ssl = self.lib.SSL_new(self.context)
        self.lib.SSL_set_fd(self.ssl, self.socket.fileno())
        world.run(lambda: self.lib.SSL_connect(self.ssl) == 1 and self.server.connected)

    def turn(self) -> None:
        self.world.poller.wait(0)

    def close(self) -> None:
        self.server.close_stream()
        self.lib.SSL_free(self.ssl)
        self.lib.SSL_CTX_free(self.context)
        self.socket.close()


@pytest.fixture
def connect():
    made = []

    def make() -> Client:
        made.append(Client(World()))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.world.poller.close()


def update(client: Client, answered: bool, times: int) -> None:
    for _ in range(times):
        assert client.lib.SSL_key_update(client.ssl, int(answered)) == 1
        client.lib.SSL_do_handshake(client.ssl)


@pytest.mark.parametrize("answered", [True, False])
def test_updates_of_keys_without_end(connect, answered):
    client = connect()
    update(client, answered, 32)
    client.turn()
    assert client.server.errors == []
    update(client, answered, 1)
    client.world.run(lambda: client.server.errors)
    assert client.transport.failure_reason == TOO_MANY


def test_updates_of_keys_between_data(connect):
    client = connect()
    for _ in range(5):
        update(client, True, 20)
        assert client.lib.SSL_write(client.ssl, b"x", 1) == 1
    client.world.run(lambda: client.server.received == b"xxxxx")
    assert client.server.errors == []
