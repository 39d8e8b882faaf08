"""Listening sockets: one per worker under SO_REUSEPORT, shared without, options at their states, Envoy's words."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.unit.listener.conftest import listener_proto

from proxeny.config.errors import ConfigError
from proxeny.listener.config import ListenerConfig
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.network.factory_context import FactoryContext

SO_MARK_LIKE = {"level": socket.SOL_SOCKET, "name": socket.SO_RCVBUF, "int_value": 200_000}


def option(fd: int, level: int, name: int) -> int:
    copy = socket.socket(fileno=os.dup(fd))
    try:
        return copy.getsockopt(level, name)
    finally:
        copy.close()


class Made:
    def __init__(self, context: FactoryContext, concurrency: int, **fields: Any) -> None:
        self.factory = ListenSocketFactory(ListenerConfig.compile(listener_proto(**fields), context), concurrency)

    def __enter__(self) -> ListenSocketFactory:
        return self.factory

    def __exit__(self, *exc: object) -> None:
        self.factory.close()


def test_one_socket_per_worker(context: FactoryContext) -> None:
    with Made(context, 2) as sockets:
        first, second = sockets.fds(0), sockets.fds(1)
        assert len(first) == len(second) == 1 and first != second
        port = sockets.addresses[0].port
        assert port > 0
        for fd in first + second:
            assert option(fd, socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
            assert option(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        socket.create_connection(("127.0.0.1", port)).close()


def test_one_socket_for_all_without_reuse_port(context: FactoryContext) -> None:
    with Made(context, 2, enable_reuse_port=False) as sockets:
        assert sockets.fds(0) == sockets.fds(1)
        assert option(sockets.fds(0)[0], socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_several_addresses(context: FactoryContext) -> None:
    extra = [{"address": {"socket_address": {"address": "127.0.0.2", "port_value": 0}}}]
    with Made(context, 2, additional_addresses=extra) as sockets:
        assert len(sockets.fds(0)) == 2
        assert [address.ip for address in sockets.addresses] == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.parametrize("state", ["STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING"])
def test_options_are_set(context: FactoryContext, state: str) -> None:
    with Made(context, 1, socket_options=[SO_MARK_LIKE | {"state": state}]) as sockets:
        assert option(sockets.fds(0)[0], socket.SOL_SOCKET, socket.SO_RCVBUF) == 400_000


def test_an_option_that_the_system_refuses(context: FactoryContext) -> None:
    with pytest.raises(ConfigError, match="Setting socket option"):
        Made(context, 1, socket_options=[{"level": 12345, "name": 1, "int_value": 1}])


def test_an_address_in_use(context: FactoryContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        with pytest.raises(ConfigError, match=f"cannot bind '127.0.0.1:{port}': Address already in use"):
            Made(context, 2, address=address)


def test_unix_sockets(context: FactoryContext, tmp_path: Path) -> None:
    path = tmp_path / "s"
    pipe = {"pipe": {"path": str(path), "mode": 0o600}}
    with Made(context, 2, address=pipe) as sockets:
        assert sockets.fds(0) == sockets.fds(1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Made(context, 2, address=pipe):
        assert path.exists()


def test_v6_only_unless_compatible(context: FactoryContext) -> None:
    for compatible in (False, True):
        address = {"socket_address": {"address": "::", "port_value": 0, "ipv4_compat": compatible}}
        with Made(context, 1, address=address) as sockets:
            v6_only = option(sockets.fds(0)[0], socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            assert bool(v6_only) is not compatible


def test_a_listener_that_does_not_bind_has_no_sockets(context: FactoryContext) -> None:
    extra = [{"address": {"socket_address": {"address": "127.0.0.2", "port_value": 0}}}]
    with Made(context, 2, bind_to_port=False, additional_addresses=extra) as sockets:
        assert sockets.fds(0) == sockets.fds(1) == []
        assert [address.as_string() for address in sockets.addresses] == ["127.0.0.1:0", "127.0.0.2:0"]
