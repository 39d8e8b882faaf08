"""An HTTP proxy to connect through, as filters ask for one (Envoy: ``Http11ProxyInfoFilterState``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.network.address import parse_ip_port

if TYPE_CHECKING:
    from proxeny.network.address import Address


class Http11ProxyInfo:
    """The proxy's address, and the name of the host to ask it for."""

    __slots__ = ("address", "hostname")

    def __init__(self, hostname: str, address: Address) -> None:
        self.hostname = hostname
        self.address = address


def parse_proxy_info(text: str) -> Http11ProxyInfo | None:
    """``<name>,<IP address and port of the proxy>``; None of any other text."""
    hostname, comma, rest = text.partition(",")
    address = parse_ip_port(rest) if comma and hostname else None
    return None if address is None else Http11ProxyInfo(hostname, address)
