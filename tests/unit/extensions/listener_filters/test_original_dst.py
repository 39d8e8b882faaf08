"""The original destination of accepted sockets: the kernel's word, TPROXY, and what internal connections bring."""

import socket
import struct

import pytest
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2

from proxeny.extensions.listener_filters import original_dst
from proxeny.network.address import InternalAddress, from_sockaddr, ip_address, pipe_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore

PEER = ip_address("10.0.0.9", 999)


class Accepted:
    """An accepted socket that remembers what was restored."""

    def __init__(self, local, fd=7):
        self.fd = fd
        self.connection_info = ConnectionInfo(local, PEER, 1)
        self.stream_info = StreamInfo(self.connection_info, 0.0, 0)
        self.restored = None

    def restore_local_address(self, address):
        self.restored = address.as_string()


def run(accepted):
    message = original_dst_pb2.OriginalDst()
    made = original_dst.FACTORY.create_filter_factory(message, FactoryContext("worker", MainStore())).create()
    made.socket = accepted
    assert made.max_read_bytes == 0
    assert made.on_accept() is FilterStatus.CONTINUE
    return accepted


@pytest.fixture
def kernel(monkeypatch):
    """The kernel's answers: (level, name) -> bytes; everything else is refused."""
    answers = {}

    def get_option(fd, level, name, room):
        if (level, name) not in answers:
            raise OSError(92, "getsockopt")
        return answers[level, name][:room]

    monkeypatch.setattr(original_dst, "get_option", get_option)
    return answers


def test_ipv4_redirect(kernel):
    kernel[socket.IPPROTO_IP, 80] = ip_address("192.0.2.1", 8080).sockaddr
    assert run(Accepted(ip_address("127.0.0.1", 15001))).restored == "192.0.2.1:8080"


def test_ipv6_redirect(kernel):
    kernel[socket.IPPROTO_IPV6, 80] = ip_address("2001:db8::1", 8080).sockaddr
    assert run(Accepted(ip_address("::1", 15001))).restored == "[2001:db8::1]:8080"


def test_ipv4_connection_on_a_dual_stack_socket(kernel):
    kernel[socket.IPPROTO_IP, 80] = ip_address("192.0.2.1", 8080).sockaddr
    kernel[socket.IPPROTO_IPV6, 80] = ip_address("2001:db8::1", 8080).sockaddr
    mapped = (
        struct.pack("=H", socket.AF_INET6)
        + struct.pack("!HI", 15001, 0)
        + b"\0" * 10
        + b"\xff\xff\x7f\0\0\1"
        + b"\0" * 4
    )
    assert run(Accepted(from_sockaddr(mapped))).restored == "192.0.2.1:8080"


def test_the_unredirected_address_counts_as_restored_too(kernel):
    """A tracked connection that nobody redirected has its own address as original destination."""
    kernel[socket.IPPROTO_IP, 80] = ip_address("127.0.0.1", 15001).sockaddr
    assert run(Accepted(ip_address("127.0.0.1", 15001))).restored == "127.0.0.1:15001"


def test_untracked_connection(kernel):
    assert run(Accepted(ip_address("127.0.0.1", 15001))).restored is None


@pytest.mark.parametrize(("level", "name"), [(socket.IPPROTO_IP, 19), (socket.IPPROTO_IPV6, 75)])
def test_transparent_sockets_have_it_as_local_address(kernel, level, name):
    family, loopback = (socket.AF_INET, "127.0.0.1") if level == socket.IPPROTO_IP else (socket.AF_INET6, "::1")
    kernel[level, name] = struct.pack("=i", 1)
    with socket.socket(family) as bound:
        bound.bind((loopback, 0))
        accepted = Accepted(ip_address(loopback, 1), bound.fileno())
        assert run(accepted).restored == ip_address(loopback, bound.getsockname()[1]).as_string()
        kernel[level, name] = struct.pack("=i", 0)
        assert run(Accepted(ip_address(loopback, 1), bound.fileno())).restored is None


def test_unix_sockets_are_left_alone(kernel):
    assert run(Accepted(pipe_address("/s"))).restored is None


def test_real_socket_without_redirection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        taken, _ = server.accept()
        with taken:
            local = ip_address(*server.getsockname())
            assert run(Accepted(local, taken.fileno())).restored in (None, local.as_string())
            assert client.getpeername() == server.getsockname()


def test_internal_connection_by_metadata():
    accepted = Accepted(InternalAddress("inner", "a"))
    accepted.stream_info.dynamic_metadata[original_dst.NAME] = {"local": "192.0.2.1:80"}
    accepted.stream_info.filter_state[original_dst.LOCAL_STATE] = ip_address("192.0.2.2", 81)
    assert run(accepted).restored == "192.0.2.1:80"
    assert accepted.connection_info.remote_address is PEER


def test_internal_connection_by_filter_state():
    accepted = Accepted(InternalAddress("inner", "a"))
    accepted.stream_info.filter_state[original_dst.LOCAL_STATE] = ip_address("192.0.2.2", 81)
    accepted.stream_info.filter_state[original_dst.REMOTE_STATE] = ip_address("192.0.2.3", 82)
    assert run(accepted).restored == "192.0.2.2:81"
    assert accepted.connection_info.remote_address.as_string() == "192.0.2.3:82"


@pytest.mark.parametrize("text", ["", "nonsense", "1.2.3.4", 7])
def test_internal_connection_with_a_bad_address(text):
    accepted = Accepted(InternalAddress("inner", "a"))
    accepted.stream_info.dynamic_metadata[original_dst.NAME] = {"local": text}
    assert run(accepted).restored is None
