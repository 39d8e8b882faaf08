"""Tunnels through HTTP proxies: what is asked, what counts as an answer, where connections go."""

import pytest
from envoy.config.core.v3 import address_pb2, base_pb2

from proxeny.extensions.transport_sockets.http_11_proxy import (
    HOST_METADATA,
    Http11ProxySocketFactory,
    accepts,
    connect_request,
)
from proxeny.kernel.transports import Tunnel
from proxeny.network.address import ip_address
from proxeny.network.proxy_info import Http11ProxyInfo, parse_proxy_info
from proxeny.network.transport_socket import PLAIN_UPSTREAM, TransportSocketOptions, UpstreamTransportSocketFactory

PROXY = Http11ProxyInfo("a.test", ip_address("10.0.0.9", 3128))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nrest", 19),
        (b"HTTP/1.1 200\r\n\r\n", 16),
        (b"HTTP/1.0 200 OK\nA: b\n\n", 22),
        (b"HTTP/1.1 200 OK\r\n", 0),
        (b"", 0),
        (b"HTTP/1.1 204 OK\r\n\r\n", -1),
        (b"HTTP/1.1 2000 OK\r\n\r\n", -1),
        (b"HTTP/2 200 OK\r\n\r\n", -1),
        (b"garbage\r\n\r\n", -1),
    ],
)
def test_answers(answer: bytes, expected: int) -> None:
    assert accepts(answer) == expected


def test_requests() -> None:
    assert connect_request("a.test:443") == b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"


class Host:
    """A host, and where its proxy is said to be."""

    hostname = ""
    address = ip_address("192.0.2.1", 443)

    def __init__(self, own: str = "", locality: str = "") -> None:
        self.metadata = self.message(own)
        self.locality_metadata = self.message(locality)

    def message(self, proxy: str) -> base_pb2.Metadata | None:
        if not proxy:
            return None
        address = address_pb2.Address()
        address.socket_address.address = proxy
        address.socket_address.port_value = 8080
        made = base_pb2.Metadata()
        made.typed_filter_metadata[HOST_METADATA].Pack(address)
        return made


class Secure(UpstreamTransportSocketFactory):
    """As TLS."""

    secure = True


def test_where_connections_go() -> None:
    factory = Http11ProxySocketFactory(PLAIN_UPSTREAM)
    assert factory.redirect(None, Host()) is None
    assert factory.redirect(None, Host("10.0.0.1", "10.0.0.2")) == ip_address("10.0.0.1", 8080)
    assert factory.redirect(None, Host(locality="10.0.0.2")) == ip_address("10.0.0.2", 8080)
    assert factory.redirect(TransportSocketOptions(http11_proxy=PROXY), Host("10.0.0.1")) == PROXY.address


def test_what_needs_a_tunnel() -> None:
    plain, secure = Http11ProxySocketFactory(PLAIN_UPSTREAM), Http11ProxySocketFactory(Secure())
    asked = TransportSocketOptions(http11_proxy=PROXY)
    assert plain.create(None, None, Host()) is None  # type: ignore[arg-type]
    assert isinstance(plain.create(None, None, Host("10.0.0.1")), Tunnel)  # type: ignore[arg-type]
    # Plain requests are sent to the proxy as they are.
    assert plain.create(None, asked, Host()) is None  # type: ignore[arg-type]
    assert isinstance(secure.create(None, asked, Host()), Tunnel)  # type: ignore[arg-type]
    assert secure.hash_key(None) == ()
    assert secure.hash_key(asked) == ("10.0.0.9:3128", "a.test")


@pytest.mark.parametrize(
    "text", ["", "a.test", "10.0.0.1:80", ",10.0.0.1:80", "a.test,", "a.test,b.test:80", "a.test,10.0.0.1"]
)
def test_texts_that_name_no_proxy(text: str) -> None:
    assert parse_proxy_info(text) is None


def test_texts_that_name_a_proxy() -> None:
    info = parse_proxy_info("a.test,[::1]:3128")
    assert info is not None
    assert (info.hostname, info.address) == ("a.test", ip_address("::1", 3128))
