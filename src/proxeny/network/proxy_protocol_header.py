"""PROXY protocol headers as a client sends them (Envoy: ``Extensions::Common::ProxyProtocol``)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.network.address import Address

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_LOCAL: Final = b"\x20\x00\x00\x00"
"""Version 2, LOCAL; unspecified family; no addresses."""
_V2_PROXY: Final = b"\x21"
_V2_TCP4: Final = b"\x11"
_V2_TCP6: Final = b"\x21"
_LONGEST: Final = 65535


def v1_header(source: Address, destination: Address) -> bytes:
    """The line for a connection between two IP addresses; UNKNOWN for others."""
    if not source.ip or not destination.ip:
        return b"PROXY UNKNOWN\r\n"
    family = "TCP6" if ":" in source.ip else "TCP4"
    return f"PROXY {family} {source.ip} {destination.ip} {source.port} {destination.port}\r\n".encode()


def local_v2_header() -> bytes:
    """A header that says nothing of addresses: the connection is the proxy's own."""
    return _V2_SIGNATURE + _V2_LOCAL


def v2_header(source: Address, destination: Address, tlvs: Iterable[tuple[int, bytes]] = ()) -> tuple[bytes, bool]:
    """A header for a connection between two IP addresses, LOCAL for others, and whether all ``tlvs`` were told.

    Those that would make it longer than its length can say (16 bits) are left out.
    """
    if not source.ip or not destination.ip:
        return local_v2_header(), True
    versions = [ipaddress.ip_address(address.ip.partition("%")[0]) for address in (source, destination)]
    family = 6 if versions[0].version == 6 else 4
    packed = b"".join([_packed(address, family) for address in versions])
    body = [packed, source.port.to_bytes(2, "big"), destination.port.to_bytes(2, "big")]
    length = len(packed) + 4
    complete = True
    for kind, value in tlvs:
        if length + 3 + len(value) > _LONGEST:
            complete = False
            continue
        length += 3 + len(value)
        body.append(bytes((kind,)) + len(value).to_bytes(2, "big") + value)
    head = _V2_PROXY + (_V2_TCP6 if family == 6 else _V2_TCP4) + length.to_bytes(2, "big")
    return b"".join([_V2_SIGNATURE, head, *body]), complete


def _packed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, family: int) -> bytes:
    """In the family of the header; an IPv4 address among IPv6 ones is a mapped one."""
    if family == 6 and address.version == 4:
        return b"\x00" * 10 + b"\xff\xff" + address.packed
    return address.packed if address.version == family else address.packed[-4:]
