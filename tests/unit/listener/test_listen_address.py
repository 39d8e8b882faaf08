"""What a listener's sockets are to be like, and Envoy's words for what cannot be."""

import logging
import socket
from typing import Any

import pytest
from tests.unit.listener.conftest import listener_proto

from proxeny.config.errors import ConfigError
from proxeny.listener import listen_address
from proxeny.listener.listen_address import (
    IPPROTO_MPTCP,
    ListenAddress,
    binds_to_port,
    compile_addresses,
    reuses_port,
)
from proxeny.network.socket_options import IP_FREEBIND, IP_TRANSPARENT, IPV6_FREEBIND, SocketState

OPTION = {"level": 1, "name": 15, "int_value": 1}


def at(address: str, port: int = 80, **fields: Any) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port, **fields}}


def compiled(**fields: Any) -> list[ListenAddress]:
    return compile_addresses(listener_proto(**fields))


def names(listen: ListenAddress) -> list[tuple[int, SocketState]]:
    return [(option.name, option.state) for option in listen.options]


def test_additional_addresses_have_their_own_options() -> None:
    found = compiled(
        socket_options=[OPTION],
        additional_addresses=[
            {"address": at("127.0.0.1", 81)},
            {"address": at("127.0.0.1", 82), "socket_options": {"socket_options": [OPTION, OPTION]}},
            {"address": at("127.0.0.1", 83), "socket_options": {}},
        ],
    )
    assert [len(listen.options) for listen in found] == [1, 1, 2, 0]


def test_options_in_the_order_of_envoy() -> None:
    found = compiled(
        transparent=True,
        freebind=True,
        tcp_fast_open_queue_length=7,
        socket_options=[OPTION],
        additional_addresses=[{"address": at("::1")}],
    )
    assert names(found[0]) == [
        (IP_TRANSPARENT, SocketState.PREBIND),
        (IP_TRANSPARENT, SocketState.BOUND),
        (IP_FREEBIND, SocketState.PREBIND),
        (15, SocketState.PREBIND),
        (socket.TCP_FASTOPEN, SocketState.LISTENING),
    ]
    assert (IPV6_FREEBIND, SocketState.PREBIND) in names(found[1])
    assert found[0].options[-1].value == 7


def test_options_of_another_type_of_socket_are_left_out() -> None:
    kinds = [OPTION | {"type": kind} for kind in ({"datagram": {}}, {"stream": {}}, {}, {"stream": {}, "datagram": {}})]
    assert len(compiled(socket_options=kinds)[0].options) == 3
    datagram = compiled(socket_options=kinds, address=at("127.0.0.1", protocol="UDP"))[0]
    assert datagram.socket_type == socket.SOCK_DGRAM
    assert [option.label for option in datagram.options].count("1/15") == 2


def test_unix_sockets_are_shared() -> None:
    found = compiled(address={"pipe": {"path": "@x"}}, additional_addresses=[{"address": at("127.0.0.1")}])
    assert [listen.reuse_port for listen in found] == [False, True]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"reuse_port": True}, True),
        ({"reuse_port": False}, True),
        ({"enable_reuse_port": False}, False),
        ({"enable_reuse_port": False, "reuse_port": True}, False),
        ({"enable_reuse_port": True}, True),
    ],
)
def test_reuse_port(fields: dict[str, Any], expected: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert reuses_port(listener_proto(**fields), warn=True) is expected
    both = "both enable_reuse_port and reuse_port set on listener 'l', preferring enable_reuse_port."
    assert caplog.messages == ([both] if len(fields) == 2 else [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"bind_to_port": False}, False),
        ({"deprecated_v1": {"bind_to_port": False}}, False),
        ({"bind_to_port": True, "deprecated_v1": {"bind_to_port": False}}, False),
        ({"bind_to_port": True, "deprecated_v1": {}}, True),
    ],
)
def test_bind_to_port(fields: dict[str, Any], expected: bool) -> None:
    assert binds_to_port(listener_proto(**fields)) is expected


def test_mptcp() -> None:
    assert [listen.protocol for listen in compiled(enable_mptcp=True)] == [IPPROTO_MPTCP]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"enable_mptcp": True, "address": {"pipe": {"path": "@x"}}},
            "enable_mptcp can only be used with IP addresses",
        ),
        (
            {"enable_mptcp": True, "address": at("127.0.0.1", protocol="UDP")},
            "enable_mptcp can only be used with TCP listeners",
        ),
        (
            {"additional_addresses": [{"address": at("127.0.0.1", protocol="UDP")}]},
            "listener l: has different socket type. The listener only support same socket type for all the addresses.",
        ),
        (
            {"address": at("127.0.0.1"), "additional_addresses": [{"address": at("::", ipv4_compat=True)}]},
            "Only IPv6 address '::' or valid IPv4-mapped IPv6 address can set ipv4_compat: 127.0.0.1:80",
        ),
        ({"address": at("127.0.0.1", resolver_name="a.b")}, "Unknown address resolver: a.b"),
    ],
)
def test_refusals(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", ".")):
        compiled(**fields)


def test_a_kernel_without_mptcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_address, "supports_mptcp", lambda: False)
    with pytest.raises(ConfigError, match="enable_mptcp is set but MPTCP is not supported by the operating system"):
        compiled(enable_mptcp=True)


def test_facts_tell_sockets_apart() -> None:
    assert compiled()[0].facts() == compiled()[0].facts()
    for other in (
        {"freebind": True},
        {"enable_mptcp": True},
        {"enable_reuse_port": False},
        {"socket_options": [OPTION]},
    ):
        assert compiled(**other)[0].facts() != compiled()[0].facts()
