"""Listening sockets: one per worker under SO_REUSEPORT, shared without, options at their states, Envoy's words."""

import gc
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


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("STATE_PREBIND", "ListenSocket: Setting socket options failed"),
        ("STATE_BOUND", "l: Setting socket options failed"),
        ("STATE_LISTENING", "cannot set post-listen socket option on socket: 127.0.0.1:"),
    ],
)
def test_an_option_that_the_system_refuses(
    context: FactoryContext, state: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = {"level": 12345, "name": 1, "int_value": 1, "state": state}
    with pytest.raises(ConfigError, match=f"^{words}"), caplog.at_level("WARNING"):
        Made(context, 1, socket_options=[bad])
    assert caplog.messages == ["Setting 12345/1 option on socket failed: Protocol not available"]


def test_numbers_of_64_bits_are_cut(context: FactoryContext) -> None:
    option_of = {"level": (1 << 32) + socket.SOL_SOCKET, "name": socket.SO_RCVBUF, "int_value": (5 << 32) + 200_000}
    with Made(context, 1, socket_options=[option_of]) as sockets:
        assert option(sockets.fds(0)[0], socket.SOL_SOCKET, socket.SO_RCVBUF) == 400_000


def test_bound_but_not_listening_yet(context: FactoryContext) -> None:
    config = ListenerConfig.compile(listener_proto(enable_reuse_port=False), context)
    sockets = ListenSocketFactory(config, 2, listen=False)
    try:
        fd = sockets.fds(0)[0]
        assert option(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
        sockets.listen()
        sockets.listen()
        assert option(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    finally:
        sockets.close()


def test_who_listens_where_another_does_already(context: FactoryContext) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        address = {"socket_address": {"address": "127.0.0.1", "port_value": taken.getsockname()[1]}}
        config = ListenerConfig.compile(listener_proto(address=address, enable_reuse_port=False), context)
        sockets = ListenSocketFactory(config, 1, listen=False)
        taken.listen()
        with pytest.raises(ConfigError, match=r"^cannot listen\(\) errno=98$"):
            sockets.listen()
        sockets.close()


def test_fast_open(context: FactoryContext) -> None:
    with Made(context, 1, tcp_fast_open_queue_length=33) as sockets:
        assert option(sockets.fds(0)[0], socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 33


def test_freebind(context: FactoryContext) -> None:
    address = {"socket_address": {"address": "192.0.2.1", "port_value": 0}}
    with pytest.raises(ConfigError, match=r"cannot bind '192.0.2.1:0': Cannot assign requested address"):
        Made(context, 1, address=address)
    with Made(context, 2, address=address, freebind=True) as sockets:
        assert sockets.addresses[0].ip == "192.0.2.1"


@pytest.mark.parametrize("field", ["freebind", "transparent"])
def test_options_of_ip_on_a_unix_socket(context: FactoryContext, tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigError, match="l: Setting socket options failed"):
        Made(context, 1, address={"pipe": {"path": str(tmp_path / "s")}}, **{field: True})


def test_options_before_binding_are_not_for_unix_sockets(context: FactoryContext, tmp_path: Path) -> None:
    bad = {"level": 12345, "name": 1, "int_value": 1}
    pipe = {"pipe": {"path": str(tmp_path / "s")}}
    with Made(context, 1, address=pipe, socket_options=[bad]) as sockets:
        assert len(sockets.fds(0)) == 1
    with pytest.raises(ConfigError, match="l: Setting socket options failed"):
        Made(context, 1, address=pipe, socket_options=[bad | {"state": "STATE_BOUND"}])


def test_mptcp(context: FactoryContext) -> None:
    with Made(context, 1, enable_mptcp=True) as sockets:
        protocol = option(sockets.fds(0)[0], socket.SOL_SOCKET, socket.SO_PROTOCOL)
        assert protocol == 262


@pytest.mark.parametrize("size", [0, 7, 2**32 - 1])
def test_backlog(context: FactoryContext, size: int) -> None:
    with Made(context, 1, tcp_backlog_size=size) as sockets:
        assert option(sockets.fds(0)[0], socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_an_address_and_a_pipe(context: FactoryContext, tmp_path: Path) -> None:
    extra = [{"address": {"pipe": {"path": str(tmp_path / "s")}}}]
    with Made(context, 2, additional_addresses=extra) as sockets:
        first, second = sockets.fds(0), sockets.fds(1)
        assert first[0] != second[0] and first[1] == second[1]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/no/such/file", "failed to open netns file /no/such/file: No such file or directory"),
        ("/dev/null", "failed to set netns to /dev/null .fd=[0-9]+.: (Invalid argument|Operation not permitted)"),
    ],
)
def test_a_namespace_that_is_none(context: FactoryContext, path: str, words: str) -> None:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0, "network_namespace_filepath": path}}
    with pytest.raises(ConfigError, match=words):
        Made(context, 1, address=address)


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


def test_sockets_do_not_hold_the_configuration_that_they_were_made_by(context: FactoryContext) -> None:
    with Made(context, 1) as sockets:
        assert not any(isinstance(one, ListenerConfig) for one in gc.get_referents(sockets.__dict__))
