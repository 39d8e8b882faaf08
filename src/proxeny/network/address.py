"""Addresses of sockets (Envoy: ``Network::Address``): raw sockaddr for the kernel, text for people, made when asked."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from proxeny.config.errors import ConfigError

LOOPBACK = (b"\x7f\x00\x00\x01", b"\x00" * 15 + b"\x01")
V4_MAPPED = b"\x00" * 10 + b"\xff\xff"
IP_RESOLVER = "envoy.ip"
"""The one ``resolver_name`` that there is: it takes literals."""
UNIX_PATH_ROOM = 108
"""sizeof(sockaddr_un.sun_path), unix(7)."""
SOCKADDR_ROOM = 128
"""sizeof(sockaddr_storage)."""


class Address:
    """An IP address with port, a unix socket or an internal listener; immutable, compared by family and text."""

    __slots__ = ("_bytes", "_ip", "_port", "_text", "family", "mode", "sockaddr")

    def __init__(self, family: int, sockaddr: bytes, mode: int = 0) -> None:
        self.family = family
        self.sockaddr = sockaddr
        self.mode = mode
        """Permissions of a unix socket's file; 0 = as the umask leaves them."""
        self._ip: str | None = None
        self._port = -1
        self._text: str | None = None
        self._bytes: bytes | None = None

    @property
    def is_pipe(self) -> bool:
        """Whether it is a unix socket."""
        return self.family == socket.AF_UNIX

    @property
    def is_internal(self) -> bool:
        """Whether it names an internal listener (``InternalAddress``)."""
        return False

    @property
    def network_namespace(self) -> str:
        """The file of the network namespace that it is an address of; empty for the process's own."""
        return ""

    @property
    def ip(self) -> str:
        """The IP address without port or brackets; empty if it is none. A v4-mapped v6 address reads as v4."""
        if self._ip is None:
            self._read()
        return self._ip or ""

    @property
    def port(self) -> int:
        """The port; 0 without IP address."""
        if self._port < 0:
            self._read()
        return self._port

    @property
    def packed(self) -> bytes:
        """The IP address in network byte order, 4 or 16 bytes, v4-mapped as v4; empty for a unix socket."""
        raw = self.sockaddr
        if self.family == socket.AF_INET:
            return raw[4:8]
        if self.family != socket.AF_INET6:
            return b""
        return raw[20:24] if raw[8:20] == V4_MAPPED else raw[8:24]

    @property
    def path(self) -> str:
        """The path of a unix socket, ``@`` first when abstract; empty for IP."""
        return self.as_string() if self.is_pipe else ""

    def _read(self) -> None:
        raw = self.sockaddr
        self._port = 0
        if self.family == socket.AF_INET:
            self._port = int.from_bytes(raw[2:4], "big")
            self._ip = socket.inet_ntoa(raw[4:8])
        elif self.family == socket.AF_INET6:
            self._port = int.from_bytes(raw[2:4], "big")
            if raw[8:20] == V4_MAPPED:
                self._ip = socket.inet_ntoa(raw[20:24])
            else:
                scope = int.from_bytes(raw[24:28], "little")
                self._ip = socket.inet_ntop(socket.AF_INET6, raw[8:24]) + (f"%{scope}" if scope else "")
        else:
            self._ip = ""

    def as_string(self) -> str:
        """``127.0.0.1:80``, ``[::1]:80``, ``/path`` or ``@abstract``; a unix socket without a name is empty."""
        if self._text is None:
            if self.is_pipe:
                name = self.sockaddr[2:]
                abstract = name[:1] == b"\x00"
                name = b"@" + name[1:] if abstract else name.split(b"\x00", 1)[0]
                self._text = os.fsdecode(name) if name != b"@" else ""
            else:
                self._text = f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"
        return self._text

    def as_bytes(self) -> bytes:
        """The same as bytes, for logs."""
        if self._bytes is None:
            self._bytes = self.as_string().encode("utf-8", "surrogateescape")
        return self._bytes

    def serialize_as_string(self) -> str:
        """As a filter state object (Envoy: ``AddressObject``) prints; its fields are ``ip`` and ``port``."""
        return self.as_string()

    def with_port(self, port: int) -> Address:
        """The same IP address with another port."""
        return Address(self.family, self.sockaddr[:2] + port.to_bytes(2, "big") + self.sockaddr[4:])

    @property
    def ip_version(self) -> int:
        """4, 6, or 0 without IP address."""
        if not self.ip:
            return 0
        return 6 if ":" in self.ip else 4

    @property
    def is_any(self) -> bool:
        """Whether it is the wildcard address."""
        return self.ip in ("0.0.0.0", "::")

    @property
    def is_loopback(self) -> bool:
        """Whether it is 127.0.0.1 or ::1: for Envoy there are no others."""
        return self.packed in LOOPBACK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return (
            self.family == other.family
            and self.as_string() == other.as_string()
            and self.network_namespace == other.network_namespace
        )

    def __hash__(self) -> int:
        return hash(self.as_string())

    def __repr__(self) -> str:
        return f"<Address {self.as_string()}>"


class InternalAddress(Address):
    """The address of an internal listener of this proxy: the name of its listener, and an id that tells hosts apart."""

    __slots__ = ("endpoint_id", "listener_name")

    def __init__(self, listener_name: str, endpoint_id: str = "") -> None:
        super().__init__(socket.AF_UNSPEC, b"\x00\x00")
        self.listener_name = listener_name
        self.endpoint_id = endpoint_id
        self._text = f"envoy://{listener_name}/{endpoint_id}"

    @property
    def is_internal(self) -> bool:
        """Always."""
        return True


class Ipv6Literal(Address):
    """A v6 address as somebody wrote it: a v4-mapped one stays v6 (those of sockets read as v4)."""

    __slots__ = ()

    @property
    def packed(self) -> bytes:
        return bytes(self.sockaddr[8:24])

    def _read(self) -> None:
        raw = self.sockaddr
        scope = int.from_bytes(raw[24:28], "little")
        self._port = int.from_bytes(raw[2:4], "big")
        self._ip = socket.inet_ntop(socket.AF_INET6, raw[8:24]) + (f"%{scope}" if scope else "")


class NamespacedAddress(Address):
    """An IP address in another network namespace (``network_namespace_filepath``); its text does not tell."""

    __slots__ = ("_network_namespace",)

    def __init__(self, address: Address, network_namespace: str) -> None:
        super().__init__(address.family, address.sockaddr)
        self._network_namespace = network_namespace

    @property
    def network_namespace(self) -> str:
        return self._network_namespace

    def with_port(self, port: int) -> Address:
        return NamespacedAddress(super().with_port(port), self._network_namespace)


def from_sockaddr(sockaddr: bytes) -> Address:
    """The address in a raw sockaddr as the kernel returned it."""
    family = int.from_bytes(sockaddr[:2], "little") if len(sockaddr) >= 2 else int(socket.AF_UNIX)
    return Address(family, sockaddr)


def ip_address(ip: str, port: int = 0) -> Address:
    """The address of a literal; a v6 literal may carry ``%scope``. Raises ConfigError in Envoy's words."""
    bare, _, scope = ip.partition("%")
    try:
        packed = socket.inet_pton(socket.AF_INET, ip)
        return Address(socket.AF_INET, struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, packed))
    except (OSError, ValueError):
        pass
    try:
        packed = socket.inet_pton(socket.AF_INET6, bare)
        number = (int(scope) if scope.isascii() and scope.isdigit() else socket.if_nametoindex(scope)) if scope else 0
        tail = struct.pack("=I", number)
    except (OSError, ValueError, struct.error):
        # Besides what is no address: NUL bytes, scopes beyond 32 bits.
        raise ConfigError(f"malformed IP address: {ip}") from None
    head = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16s", port, 0, packed)
    return Address(socket.AF_INET6, head + tail)


def ip_literal(text: bytes) -> Address | None:
    """An IP address in a header, without port or brackets; None for anything else."""
    try:
        address = ip_address(text.decode("ascii"))
    except (UnicodeDecodeError, ConfigError):
        return None
    return Ipv6Literal(address.family, address.sockaddr) if address.family == socket.AF_INET6 else address


def as_mapped(address: Address) -> Address:
    """A v4 address as v4-mapped v6 (RFC 4291 2.5.5.2), any other as it is."""
    packed = address.packed
    if len(packed) != 4:
        return address
    head = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", address.port, 0)
    return Ipv6Literal(socket.AF_INET6, head + V4_MAPPED + packed + bytes(4))


def parse_ip_port(text: str) -> Address | None:
    """``IP:PORT`` or ``[IPv6]:PORT``, else None (Envoy: ``Utility::parseInternetAddressAndPortNoThrow``)."""
    host, colon, digits = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > 65535:
        return None
    try:
        found = ip_address(host[1:-1] if bracketed else host, int(digits))
    except ConfigError:
        return None
    return found if (found.family == socket.AF_INET6) == bracketed else None


def pipe_address(path: str, mode: int = 0) -> Address:
    """The address of a unix socket; a leading ``@`` means the abstract name space. Raises ConfigError."""
    name = os.fsencode(path)
    if len(name) >= UNIX_PATH_ROOM:
        raise ConfigError(f'Path "{path}" exceeds maximum UNIX domain socket path size of {UNIX_PATH_ROOM}.')
    abstract = name.startswith(b"@")
    if abstract:
        if mode:
            raise ConfigError("Cannot set mode for Abstract AF_UNIX sockets")
        name = b"\x00" + name[1:]
    else:
        name += b"\x00"
    return Address(socket.AF_UNIX, struct.pack("=H", socket.AF_UNIX) + name, mode)


def from_proto(message: Any) -> Address:
    """The address of an ``envoy.config.core.v3.Address`` that holds a literal; ConfigError in Envoy's words."""
    kind = message.WhichOneof("address")
    if kind == "pipe":
        return pipe_address(message.pipe.path, message.pipe.mode)
    if kind == "socket_address":
        return _from_socket_address(message.socket_address)
    raise ConfigError(f"Unsupported address type: {kind or 'none'}")


def _from_socket_address(message: Any) -> Address:
    if message.resolver_name not in ("", IP_RESOLVER):
        raise ConfigError(f"Unknown address resolver: {message.resolver_name}")
    address = ip_address(message.address, message.port_value)
    if message.network_namespace_filepath:
        return NamespacedAddress(address, message.network_namespace_filepath)
    return address
