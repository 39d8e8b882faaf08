"""What a Listener message says about its sockets: addresses, their options, how workers share them."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.network import address as addresses
from proxeny.network.socket_options import (
    SocketOption,
    compile_options,
    datagram_options,
    fast_open_options,
    freebind_options,
    transparent_options,
)

if TYPE_CHECKING:
    from proxeny.network.address import Address

log = logging.getLogger("proxeny.config")

IPPROTO_MPTCP: Final = 262
DATAGRAM: Final = socket.SOCK_DGRAM
STREAM: Final = socket.SOCK_STREAM


class ListenAddress:
    """One address of a listener and how its sockets are made."""

    __slots__ = ("address", "ipv4_compat", "options", "protocol", "reuse_port", "socket_type")

    def __init__(self, address: Address, options: tuple[SocketOption, ...], ipv4_compat: bool = False) -> None:
        self.address = address
        self.options = options
        self.ipv4_compat = ipv4_compat
        self.socket_type: int = STREAM
        self.protocol = 0
        """The third argument of socket(2)."""
        self.reuse_port = False
        """Whether every worker has a socket of its own; otherwise they share one."""

    def facts(self) -> tuple[Any, ...]:
        """All that a socket depends on, to compare: what has equal facts may go on with the same sockets."""
        options = tuple((one.level, one.name, one.value, one.state) for one in self.options)
        return self.address, options, self.ipv4_compat, self.socket_type, self.protocol, self.reuse_port


def binds_to_port(listener: Any) -> bool:
    """False: the listener has no socket of its own and only gets connections that others hand off."""
    deprecated = listener.deprecated_v1
    return not (
        (listener.HasField("bind_to_port") and not listener.bind_to_port.value)
        or (deprecated.HasField("bind_to_port") and not deprecated.bind_to_port.value)
    )


def reuses_port(listener: Any, *, warn: bool = False) -> bool:
    """``enable_reuse_port`` (true when unset); the older ``reuse_port`` counts only where that is not set."""
    if not listener.HasField("enable_reuse_port"):
        return True  # the older field can only say true, which is the default as well
    if listener.reuse_port and warn:
        log.warning(
            "both enable_reuse_port and reuse_port set on listener '%s', preferring enable_reuse_port.", listener.name
        )
    return bool(listener.enable_reuse_port.value)


def socket_type(address: Any) -> int:
    """The type of socket of an ``envoy.config.core.v3.Address``."""
    if address.HasField("socket_address") and address.socket_address.protocol == address.socket_address.UDP:
        return DATAGRAM
    return STREAM


def compile_addresses(listener: Any) -> list[ListenAddress]:
    """The addresses of a listener, the main one first; ConfigError in Envoy's words."""
    kind = socket_type(listener.address)
    found = [_compile(listener, listener.address, listener.socket_options, kind)]
    for extra in listener.additional_addresses:
        if socket_type(extra.address) != kind:
            raise ConfigError(
                f"listener {listener.name}: has different socket type. The listener only support same socket type for "
                "all the addresses."
            )
        replaced = extra.socket_options.socket_options if extra.HasField("socket_options") else listener.socket_options
        found.append(_compile(listener, extra.address, replaced, kind))
    if listener.enable_mptcp:
        _check_mptcp(listener.name, found)
        for listen in found:
            listen.protocol = IPPROTO_MPTCP
    return found


def _compile(listener: Any, message: Any, literal: Any, kind: int) -> ListenAddress:
    if message.HasField("socket_address") and message.socket_address.WhichOneof("port_specifier") == "named_port":
        raise ConfigError("IP resolver can't handle port specifier type 4")
    address = addresses.from_proto(message)
    compat = message.socket_address.ipv4_compat
    if compat:
        _check_compat(listener)
    family = address.family
    options: tuple[SocketOption, ...] = ()
    if listener.transparent.value:
        options += transparent_options(family)
    if listener.freebind.value:
        options += freebind_options(family)
    options += compile_options(literal, kind)
    if kind == DATAGRAM:
        options += datagram_options(family, v4_too=compat)
    elif listener.HasField("tcp_fast_open_queue_length"):
        options += fast_open_options(listener.tcp_fast_open_queue_length.value)
    listen = ListenAddress(address, options, compat)
    listen.socket_type = kind
    listen.reuse_port = not address.is_pipe and reuses_port(listener)
    return listen


def _check_compat(listener: Any) -> None:
    # Envoy asks this of the main address, also where an additional one says ipv4_compat.
    main = addresses.from_proto(listener.address)
    mapped = main.family == socket.AF_INET6 and main.ip_version == 4
    if not main.is_pipe and main.ip != "::" and not mapped:
        raise ConfigError(
            f"Only IPv6 address '::' or valid IPv4-mapped IPv6 address can set ipv4_compat: {main.as_string()}"
        )


def _check_mptcp(name: str, found: list[ListenAddress]) -> None:
    if found[0].socket_type != STREAM:
        raise ConfigError(f"listener {name}: enable_mptcp can only be used with TCP listeners")
    if any(listen.address.is_pipe for listen in found):
        raise ConfigError(f"listener {name}: enable_mptcp can only be used with IP addresses")
    if not supports_mptcp():
        raise ConfigError(f"listener {name}: enable_mptcp is set but MPTCP is not supported by the operating system")


def supports_mptcp() -> bool:
    """Whether the kernel makes MPTCP sockets."""
    try:
        socket.socket(socket.AF_INET, STREAM, IPPROTO_MPTCP).close()
    except OSError:
        return False
    return True
