"""PROXY protocol headers as a client sends them (Envoy: ``Extensions::Common::ProxyProtocol``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.network.address import Address

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_LOCAL: Final = b"\x20\x00\x00\x00"
"""Version 2, LOCAL; unspecified family; no addresses."""


def v1_header(source: Address, destination: Address) -> bytes:
    """The line for a connection between two IP addresses; UNKNOWN for others."""
    if not source.ip or not destination.ip:
        return b"PROXY UNKNOWN\r\n"
    family = "TCP6" if ":" in source.ip else "TCP4"
    return f"PROXY {family} {source.ip} {destination.ip} {source.port} {destination.port}\r\n".encode()


def local_v2_header() -> bytes:
    """A header that says nothing of addresses: the connection is the proxy's own."""
    return _V2_SIGNATURE + _V2_LOCAL
