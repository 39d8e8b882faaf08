"""Addresses: text, raw bytes and Envoy's error words."""

import socket

import pytest
from envoy.config.core.v3 import address_pb2

from proxeny.config.errors import ConfigError
from proxeny.kernel.sockets import local_sockaddr
from proxeny.network.address import InternalAddress, from_proto, from_sockaddr, ip_address, parse_ip_port, pipe_address


def test_v4():
    address = ip_address("127.0.0.1", 8080)
    assert address.as_string() == "127.0.0.1:8080"
    assert (address.ip, address.port, address.ip_version) == ("127.0.0.1", 8080, 4)
    assert address.is_loopback and not address.is_any and not address.is_pipe
    assert address == from_sockaddr(address.sockaddr)
    assert address.with_port(1).as_string() == "127.0.0.1:1"


def test_v6():
    address = ip_address("::1", 443)
    assert address.as_string() == "[::1]:443"
    assert (address.ip, address.port, address.ip_version) == ("::1", 443, 6)
    assert ip_address("::", 0).is_any
    assert ip_address("fe80::1%3", 1).as_string() == "[fe80::1%3]:1"
    assert ip_address("::ffff:1.2.3.4", 5).as_string() == "1.2.3.4:5"


def test_pipes(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert from_sockaddr(local_sockaddr(server.fileno())).as_string() == path
    assert pipe_address(path).as_string() == path
    assert pipe_address("@name").as_string() == "@name"
    assert pipe_address("/a").port == 0 and pipe_address("/a").ip == ""
    with socket.socket(socket.AF_UNIX) as server:
        assert from_sockaddr(local_sockaddr(server.fileno())).as_string() == ""


def test_raw_addresses_are_what_the_kernel_takes():
    for family, text in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            server.bind((text, 0))
            address = from_sockaddr(local_sockaddr(server.fileno()))
            assert address == ip_address(text, server.getsockname()[1])


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::g", "1.2.3.4%1", "::1%nope"])
def test_malformed(text):
    with pytest.raises(ConfigError, match="malformed IP address"):
        ip_address(text)


def test_pipe_limits():
    with pytest.raises(ConfigError, match="exceeds maximum"):
        pipe_address("/" + "a" * 108)
    with pytest.raises(ConfigError, match="Abstract"):
        pipe_address("@x", 0o600)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:443", "0.0.0.0:0", "1.2.3.4:65535", "[fe80::1%3]:1"])
def test_parse_ip_port(text):
    assert parse_ip_port(text).as_string() == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "127.0.0.1", "127.0.0.1:", ":80", "::1:80", "[127.0.0.1]:80", "[::1]", "[::1]:", "1.2.3.4:65536", "a:80",
     "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4:1_0", "1.2.3.4:٣", "1.2.3.4:99999999999999999999", "01.2.3.4:5"],
)  # fmt: skip
def test_parse_ip_port_refuses(text):
    assert parse_ip_port(text) is None


def test_internal_address():
    address = InternalAddress("inner", "a")
    assert address.as_string() == "envoy://inner/a"
    assert address.is_internal and not address.is_pipe and not address.is_any and not address.is_loopback
    assert (address.ip, address.port, address.ip_version, address.path) == ("", 0, 0, "")
    assert address == InternalAddress("inner", "a") != InternalAddress("inner", "b")
    assert InternalAddress("inner").as_string() == "envoy://inner/"
    assert not ip_address("127.0.0.1", 1).is_internal


def test_an_address_of_another_network_namespace():
    message = address_pb2.Address()
    message.socket_address.address = "127.0.0.1"
    message.socket_address.port_value = 80
    own = from_proto(message)
    message.socket_address.network_namespace_filepath = "/run/netns/a"
    other = from_proto(message)
    assert own.network_namespace == "" and other.network_namespace == "/run/netns/a"
    assert own != other and own.as_string() == other.as_string()
    assert other.with_port(81).network_namespace == "/run/netns/a"


def test_resolvers():
    message = address_pb2.Address()
    message.socket_address.address = "127.0.0.1"
    message.socket_address.resolver_name = "envoy.ip"
    assert from_proto(message).ip == "127.0.0.1"
    message.socket_address.resolver_name = "mine"
    with pytest.raises(ConfigError, match=r"^Unknown address resolver: mine$"):
        from_proto(message)


def test_loopback_is_one_address_of_each_version() -> None:
    found = {
        text: ip_address(text).is_loopback for text in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.2", "::2")
    }
    assert found == {"127.0.0.1": True, "::1": True, "::ffff:127.0.0.1": True, "127.0.0.2": False, "::2": False}
    assert not pipe_address("/a").is_loopback


@pytest.mark.parametrize(("text", "packed"), [("1.2.3.4", "01020304"), ("::ffff:1.2.3.4", "01020304"), ("::2%1", "2")])
def test_packed(text: str, packed: str) -> None:
    assert ip_address(text).packed == bytes.fromhex(packed if len(packed) > 1 else packed.zfill(32))


@pytest.mark.parametrize(
    "text", ["::1%99999999999", "::1%\0", "1.2.3.4\0", "::1\0", "::1%nothing", "1.2.3.4%1", "\udcff", "%1"]
)
def test_hostile_literals_are_malformed(text: str) -> None:
    with pytest.raises(ConfigError, match="malformed IP address"):
        ip_address(text)
    assert parse_ip_port(f"[{text}]:1") is None
