"""Reads PROXY protocol headers of both versions, without I/O (HAProxy: doc/proxy-protocol.txt).

The verdicts are Envoy's; only in ports and addresses of version 1 it is stricter, where Envoy takes signs, blanks and
what stands before a NUL.
"""

from __future__ import annotations

import re
import socket
import struct
from enum import IntEnum
from typing import Final

from proxeny.config.errors import ConfigError
from proxeny.network.address import Address, ip_address

V1_SIGNATURE: Final = b"PROXY "
V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEADER: Final = 16
V2_IPV4: Final = 12
V2_IPV6: Final = 36
V1_MOST: Final = 108
"""The longest line of version 1, its CRLF included; the specification's own limit is 107."""
FIRST_READ: Final = V2_HEADER + 216
"""Room for version 2 with its longest addresses, those of unix sockets."""
LOCAL: Final = 0
ON_BEHALF_OF: Final = 1
STREAM: Final = 1
DATAGRAM: Final = 2
TLV_HEADER: Final = 3

# What of these is an address, inet_pton(3) says.
_ADDRESSES: Final = {
    b"TCP4": (re.compile(rb"[0-9.]+"), socket.AF_INET),
    b"TCP6": (re.compile(rb"[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?"), socket.AF_INET6),
}
_PORT: Final = re.compile(rb"[0-9]+")
_BLANKS: Final = b" \t\n\v\f\r"


class Outcome(IntEnum):
    """What became of the bytes."""

    MORE = 0
    """The header is not whole yet."""
    FOUND = 1
    SKIPPED = 2
    """It begins with no header that is allowed, and needs none."""
    ERROR = 3
    DENIED = 4
    """A header of a version that is not allowed."""


class Ipv6Address(Address):
    """An IPv6 address that a header calls one: IPv4-mapped ones (``::ffff:1.2.3.4``) stay what they are."""

    __slots__ = ()

    @property
    def packed(self) -> bytes:
        """Its 16 bytes."""
        return self.sockaddr[8:24]

    def _read(self) -> None:
        scope = int.from_bytes(self.sockaddr[24:28], "little")
        self._port = int.from_bytes(self.sockaddr[2:4], "big")
        self._ip = socket.inet_ntop(socket.AF_INET6, self.packed) + (f"%{scope}" if scope else "")


class Header:
    """One header."""

    __slots__ = ("destination", "size", "source", "tlvs_at")

    def __init__(self, size: int, tlvs_at: int, source: Address | None, destination: Address | None) -> None:
        self.size = size
        self.tlvs_at = tlvs_at
        """Where its TLVs begin; they reach to its end."""
        self.source = source
        """None, like the destination, where the connection's own addresses hold (LOCAL, UNKNOWN)."""
        self.destination = destination


class HeaderParser:
    """Reads the header of one connection."""

    __slots__ = ("_optional", "_searched", "_v1", "_v2", "header", "version")

    def __init__(self, v1: bool = True, v2: bool = True, optional: bool = False) -> None:
        self._v1 = v1
        self._v2 = v2
        self._optional = optional
        self._searched = 0
        self.version = 0
        """1 or 2 once it is known."""
        self.header: Header | None = None

    def feed(self, data: bytes) -> Outcome:
        """Look at all bytes since the first one. ``header`` may be known, with its size, before all of it is there."""
        if self.header is None:
            outcome = self._read(data)
            if outcome is not Outcome.FOUND:
                return outcome
        assert self.header is not None
        return Outcome.FOUND if len(data) >= self.header.size else Outcome.MORE

    def _read(self, data: bytes) -> Outcome:
        if self._optional:
            may_be_v1 = self._v1 and V1_SIGNATURE.startswith(data[: len(V1_SIGNATURE)])
            if not may_be_v1 and not (self._v2 and V2_SIGNATURE.startswith(data[: len(V2_SIGNATURE)])):
                return Outcome.SKIPPED
        if len(data) >= V2_HEADER:
            if data.startswith(V2_SIGNATURE):
                self.version = 2
                return self._read_v2(data) if self._v2 else Outcome.DENIED
            if not data.startswith(V1_SIGNATURE):
                return Outcome.ERROR
        return self._find_v1(data)

    def _find_v1(self, data: bytes) -> Outcome:
        end = data.find(b"\r\n", max(0, self._searched - 1))
        if end == 0:
            # Version 2 begins like this.
            return Outcome.MORE
        if end < 0:
            self._searched = len(data)
            return Outcome.ERROR if len(data) > V1_MOST else Outcome.MORE
        self.version = 1
        if end + 2 > V1_MOST:
            return Outcome.ERROR
        if not self._v1:
            return Outcome.DENIED
        self.header = v1_header(data[: end + 2])
        return Outcome.ERROR if self.header is None else Outcome.FOUND

    def _read_v2(self, data: bytes) -> Outcome:
        command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
        if command >> 4 != 2:
            return Outcome.ERROR
        command &= 15
        if command == LOCAL:
            self.header = Header(V2_HEADER + length, V2_HEADER + length, None, None)
            return Outcome.FOUND
        room = {1: V2_IPV4, 2: V2_IPV6}.get(family >> 4, 0)
        if not room or length < room:
            return Outcome.ERROR
        if len(data) < V2_HEADER + room:
            return Outcome.MORE
        if command != ON_BEHALF_OF or family & 15 not in (STREAM, DATAGRAM):
            return Outcome.ERROR
        source, destination = v2_addresses(data[V2_HEADER : V2_HEADER + room])
        self.header = Header(V2_HEADER + length, V2_HEADER + room, source, destination)
        return Outcome.FOUND


def v1_header(line: bytes) -> Header | None:
    """The header in a line with its CRLF; None when it is malformed."""
    size = len(line)
    parts = line.rstrip(_BLANKS).split(b" ")
    if len(parts) < 2 or parts[0] != b"PROXY":
        return None
    if parts[1] == b"UNKNOWN":
        return Header(size, size, None, None)
    kind = _ADDRESSES.get(parts[1])
    if kind is None or len(parts) != 6:
        return None
    source = _v1_address(parts[2], parts[4], *kind)
    destination = _v1_address(parts[3], parts[5], *kind)
    if source is None or destination is None:
        return None
    return Header(size, size, source, destination)


def _v1_address(ip: bytes, port: bytes, pattern: re.Pattern[bytes], family: int) -> Address | None:
    if not pattern.fullmatch(ip) or not _PORT.fullmatch(port) or int(port) > 65535:
        return None
    try:
        address = ip_address(ip.decode(), int(port))
    except ConfigError:
        return None
    if address.family != family:
        return None
    return address if family == socket.AF_INET else Ipv6Address(family, address.sockaddr)


def v2_addresses(block: bytes) -> tuple[Address, Address]:
    """Source and destination of an address block."""
    if len(block) == V2_IPV4:
        source, destination, from_port, to_port = struct.unpack("!4s4sHH", block)
        return _ipv4(source, from_port), _ipv4(destination, to_port)
    source, destination, from_port, to_port = struct.unpack("!16s16sHH", block)
    return _ipv6(source, from_port), _ipv6(destination, to_port)


def _ipv4(packed: bytes, port: int) -> Address:
    return Address(socket.AF_INET, struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, packed))


def _ipv6(packed: bytes, port: int) -> Address:
    return Ipv6Address(socket.AF_INET6, struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, packed, 0))


def is_unicast(address: Address) -> bool:
    """Neither the wildcard nor broadcast nor a multicast address."""
    if address.family == socket.AF_INET:
        packed = address.sockaddr[4:8]
        return any(packed) and packed != b"\xff\xff\xff\xff" and packed[0] & 0xF0 != 0xE0
    packed = address.sockaddr[8:24]
    return any(packed) and packed[0] != 0xFF


def read_tlvs(block: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """The TLVs of a block, type and value; and whether nothing but TLVs was in it."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(block):
        start = at + TLV_HEADER
        end = start + int.from_bytes(block[at + 1 : start], "big")
        if start > len(block) or end > len(block):
            return found, False
        found.append((block[at], block[start:end]))
        at = end
    return found, True
