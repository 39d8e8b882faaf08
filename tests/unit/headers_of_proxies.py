"""PROXY protocol headers, made by hand."""

from __future__ import annotations

import socket
import struct

V1 = b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::1 2001:DB8:0::2 1111 2222\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def ipv4(source: str = "1.2.3.4", destination: str = "5.6.7.8", ports: tuple[int, int] = (1111, 2222)) -> bytes:
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!HH", *ports)


def ipv6(source: str = "2001:db8::1", destination: str = "2001:db8::2") -> bytes:
    packed = [socket.inet_pton(socket.AF_INET6, ip) for ip in (source, destination)]
    return b"".join(packed) + struct.pack("!HH", 1111, 2222)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def v2(addresses: bytes, *tlvs: bytes, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    """A header of version 2; ``length`` where it shall lie."""
    body = addresses + b"".join(tlvs)
    size = len(body) if length is None else length
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", size) + body
