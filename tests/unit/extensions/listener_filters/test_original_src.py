"""The client's address becomes the source of upstream connections: listener filter and HTTP filter."""

import socket
import struct
from types import SimpleNamespace

import pytest
from envoy.extensions.filters.http.original_src.v3 import original_src_pb2 as http_pb2
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2

from proxeny.extensions.http_filters import original_src as http_original_src
from proxeny.extensions.listener_filters import original_src
from proxeny.http.filter import FilterHeadersStatus
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import from_sockaddr, ip_address, pipe_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus
from proxeny.network.socket_options import source_of
from proxeny.network.stream_info import ConnectionInfo
from proxeny.stats.store import MainStore

LOCAL = ip_address("10.0.0.1", 80)
V4_TRANSPARENT, V6_TRANSPARENT = (socket.IPPROTO_IP, 19), (socket.IPPROTO_IPV6, 75)
MAPPED = from_sockaddr(
    struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", 15001, 0) + bytes(10) + b"\xff\xff\x0a\0\0\x09" + bytes(4)
)


def options_of(remote, mark=0):
    message = original_src_pb2.OriginalSrc(mark=mark)
    made = original_src.FACTORY.create_filter_factory(message, FactoryContext("worker", MainStore())).create()
    made.socket = SimpleNamespace(connection_info=ConnectionInfo(LOCAL, remote, 1), upstream_options=[])
    assert made.on_accept() is FilterStatus.CONTINUE
    return made.socket.upstream_options


@pytest.mark.parametrize(
    ("remote", "source", "transparent"),
    [
        (ip_address("10.0.0.9", 999), "10.0.0.9:0", V4_TRANSPARENT),
        (ip_address("2001:db8::9", 999), "[2001:db8::9]:0", V6_TRANSPARENT),
        (MAPPED, "10.0.0.9:0", V4_TRANSPARENT),
    ],
)
def test_ip_clients(remote, source, transparent):
    made = options_of(remote)
    assert source_of(made).as_string() == source
    assert [(option.level, option.name, option.value) for option in made[1:]] == [(*transparent, 1)] * 2
    assert made[0].apply(-1) == 0, "nothing that the kernel is asked"


def test_mark():
    made = options_of(ip_address("10.0.0.9", 999), 77)
    assert (socket.SOL_SOCKET, 36, 77) in [(option.level, option.name, option.value) for option in made]


def test_clients_without_ip_address():
    assert options_of(pipe_address("/s"), 77) == []


def test_keys_tell_sources_apart():
    one, same, other = (
        tuple(o.key for o in options_of(ip_address(f"10.0.0.{n}", p))) for n, p in ((1, 1), (1, 2), (2, 1))
    )
    assert one == same != other


@pytest.mark.parametrize(("remote", "count"), [(ip_address("10.0.0.9", 999), 4), (pipe_address("/s"), 0)])
def test_http_filter(remote, count):
    found = []
    factory = http_original_src.FACTORY.create_filter_factory(
        http_pb2.OriginalSrc(mark=5), "", FactoryContext("worker", MainStore())
    )
    made = factory.create()
    made.decoder_callbacks = SimpleNamespace(
        stream_info=SimpleNamespace(downstream_remote_address=remote), add_upstream_options=found.extend
    )
    assert made.decode_headers(HeaderMap(), True) is FilterHeadersStatus.CONTINUE
    assert len(found) == count and not factory.is_terminal
    assert http_original_src.FACTORY.create_route_config(None, FactoryContext("main", MainStore())) is None
