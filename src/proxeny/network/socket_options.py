"""Socket options (Envoy: ``Network::SocketOptionImpl``): compiled once, applied at their state of the socket's life."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from proxeny.kernel.sockets import set_option

IP_TRANSPARENT = 19
IP_FREEBIND = 15
IPV6_TRANSPARENT = 75
IPV6_FREEBIND = 78


class SocketState(IntEnum):
    """When an option is set (``envoy.config.core.v3.SocketOption.SocketState``)."""

    PREBIND = 0
    BOUND = 1
    LISTENING = 2


class SocketOptionError(OSError):
    """An option that the system refused; the text is Envoy's."""


class SocketOption:
    """One setsockopt call and the state at which it happens."""

    __slots__ = ("level", "name", "state", "value")

    def __init__(self, level: int, name: int, value: int | bytes, state: SocketState = SocketState.PREBIND) -> None:
        self.level = level
        self.name = name
        self.value = value
        self.state = state

    def apply(self, fd: int) -> int:
        """Set it; 0 or an errno."""
        return set_option(fd, self.level, self.name, self.value)

    def __repr__(self) -> str:
        return f"<SocketOption {self.level}/{self.name}={self.value!r} {self.state.name}>"


def compile_options(messages: Iterable[Any]) -> tuple[SocketOption, ...]:
    """The options of ``socket_options`` (``envoy.config.core.v3.SocketOption``)."""
    out = []
    for message in messages:
        value = message.int_value if message.WhichOneof("value") == "int_value" else message.buf_value
        out.append(SocketOption(message.level, message.name, value, SocketState(message.state)))
    return tuple(out)


def transparent_options(family: int) -> tuple[SocketOption, ...]:
    """``transparent``: accept and send with foreign addresses."""
    v6 = family == socket.AF_INET6
    pair = (socket.IPPROTO_IPV6, IPV6_TRANSPARENT) if v6 else (socket.IPPROTO_IP, IP_TRANSPARENT)
    return (SocketOption(*pair, 1), SocketOption(*pair, 1, SocketState.BOUND))


def freebind_options(family: int) -> tuple[SocketOption, ...]:
    """``freebind``: bind to an address that is not configured (yet)."""
    if family == socket.AF_INET6:
        return (SocketOption(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1),)
    return (SocketOption(socket.IPPROTO_IP, IP_FREEBIND, 1),)


def keepalive_options(message: Any) -> tuple[SocketOption, ...]:
    """``tcp_keepalive`` (``envoy.config.core.v3.TcpKeepalive``); fields that are not set stay the system's."""
    out = [SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for field, name in (
        ("keepalive_probes", socket.TCP_KEEPCNT),
        ("keepalive_time", socket.TCP_KEEPIDLE),
        ("keepalive_interval", socket.TCP_KEEPINTVL),
    ):
        if message.HasField(field):
            out.append(SocketOption(socket.IPPROTO_TCP, name, getattr(message, field).value))
    return tuple(out)


def apply_options(fd: int, options: Iterable[SocketOption], state: SocketState) -> None:
    """Set the options of one state; raises SocketOptionError at the first that is refused."""
    for option in options:
        if option.state is state:
            error = option.apply(fd)
            if error:
                raise SocketOptionError(error, f"Setting socket option failed: {os.strerror(error)}: {option!r}")
