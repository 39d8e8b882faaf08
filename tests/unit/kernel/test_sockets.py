"""Socket calls on bare descriptors."""

import errno
import os
import socket
import struct

import pytest

from proxeny.kernel.sockets import (
    accept_many,
    bind_to,
    close_descriptor,
    connect_to,
    get_option,
    local_sockaddr,
    open_socket,
    peer_sockaddr,
    set_no_delay,
    set_option,
    shutdown_write,
    so_error,
)
from proxeny.network.address import from_sockaddr, ip_address


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


def test_accept_many_takes_what_is_there_up_to_the_limit(listener):
    clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
    first = accept_many(listener.fileno(), 3)
    rest = accept_many(listener.fileno(), 0)
    assert (len(first), len(rest)) == (3, 2)
    assert accept_many(listener.fileno(), 0) == []
    names = {from_sockaddr(raw).as_string() for _, raw in first + rest}
    assert names == {"{}:{}".format(*client.getsockname()) for client in clients}
    for fd, raw in first + rest:
        assert not os.get_blocking(fd) and not os.get_inheritable(fd)
        assert peer_sockaddr(fd)[: len(raw)] == raw
        close_descriptor(fd)
    for client in clients:
        client.close()


def test_accept_on_a_bad_descriptor_is_an_error():
    with pytest.raises(OSError) as caught:
        accept_many(-1, 0)
    assert caught.value.errno == errno.EBADF


def test_bind_connect_and_options(listener):
    fd = open_socket(socket.AF_INET)
    assert bind_to(fd, ip_address("127.0.0.1").sockaddr) == 0
    assert bind_to(fd, ip_address("127.0.0.1").sockaddr) == errno.EINVAL
    assert connect_to(fd, ip_address(*listener.getsockname()).sockaddr) == 0
    assert from_sockaddr(local_sockaddr(fd)).ip == "127.0.0.1"
    assert so_error(fd) == 0
    assert set_no_delay(fd) == 0
    assert get_option(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == struct.pack("i", 1)
    assert set_option(fd, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) == 0
    assert set_option(fd, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0)) == 0
    assert set_option(fd, 9999, 1, 1) in (errno.ENOPROTOOPT, errno.EOPNOTSUPP)
    with pytest.raises(OSError):
        get_option(fd, 9999, 1, 4)
    ((peer, _),) = accept_many(listener.fileno(), 0) or accept_soon(listener)
    assert shutdown_write(fd) == 0
    close_descriptor(peer)
    close_descriptor(fd)


def accept_soon(listener):
    listener.settimeout(10)
    peer, _ = listener.accept()
    return ((peer.detach(), b""),)


def test_no_delay_means_nothing_to_other_sockets():
    left, right = socket.socketpair()
    assert set_no_delay(left.fileno()) != 0
    left.close()
    right.close()
