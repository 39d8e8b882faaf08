"""Socket options compiled from their messages and applied at their state."""

import socket

import pytest
from envoy.config.core.v3 import address_pb2, socket_option_pb2

from proxeny.network.socket_options import (
    SocketOption,
    SocketOptionError,
    SocketState,
    apply_options,
    compile_options,
    freebind_options,
    keepalive_options,
    transparent_options,
)


def test_compile_and_apply_by_state():
    messages = [
        socket_option_pb2.SocketOption(level=socket.SOL_SOCKET, name=socket.SO_KEEPALIVE, int_value=1),
        socket_option_pb2.SocketOption(
            level=socket.IPPROTO_TCP, name=socket.TCP_NODELAY, buf_value=b"\1\0\0\0", state="STATE_LISTENING"
        ),
    ]
    options = compile_options(messages)
    assert [option.state for option in options] == [SocketState.PREBIND, SocketState.LISTENING]
    with socket.socket() as target:
        apply_options(target.fileno(), options, SocketState.PREBIND)
        assert target.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not target.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        apply_options(target.fileno(), options, SocketState.LISTENING)
        assert target.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_refused_option_is_an_error():
    with socket.socket() as target, pytest.raises(SocketOptionError, match="Setting socket option failed"):
        apply_options(target.fileno(), [SocketOption(9999, 1, 1)], SocketState.PREBIND)


def test_keepalive():
    message = address_pb2.TcpKeepalive()
    assert [option.name for option in keepalive_options(message)] == [socket.SO_KEEPALIVE]
    message.keepalive_time.value = 7
    with socket.socket() as target:
        apply_options(target.fileno(), keepalive_options(message), SocketState.PREBIND)
        assert target.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7


def test_families():
    for family in (socket.AF_INET, socket.AF_INET6):
        level = socket.IPPROTO_IPV6 if family == socket.AF_INET6 else socket.IPPROTO_IP
        assert {option.level for option in (*transparent_options(family), *freebind_options(family))} == {level}
        with socket.socket(family) as target:
            apply_options(target.fileno(), freebind_options(family), SocketState.PREBIND)
