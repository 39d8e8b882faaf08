"""Socket options (Envoy: ``Network::SocketOptionImpl``): compiled once, applied at their state of the socket's life."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import socket
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from proxeny.kernel.sockets import set_option
from proxeny.network.address import Address, ip_address

log = logging.getLogger("proxeny.connection")

IP_TRANSPARENT = 19
IP_FREEBIND = 15
IPV6_TRANSPARENT = 75
IPV6_FREEBIND = 78
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_DO = 2
IP_PKTINFO = 8
SO_RXQ_OVFL = 40
SO_MARK = 36


class SocketState(IntEnum):
    """When an option is set (``envoy.config.core.v3.SocketOption.SocketState``)."""

    PREBIND = 0
    BOUND = 1
    LISTENING = 2


class SocketOptionError(OSError):
    """An option that the system refused; the text is Envoy's."""


class SocketOption:
    """One setsockopt call and the state at which it happens; ``label`` is how log lines name it."""

    __slots__ = ("label", "level", "name", "state", "value")

    def __init__(
        self, level: int, name: int, value: int | bytes, state: SocketState = SocketState.PREBIND, label: str = ""
    ) -> None:
        self.level = level
        self.name = name
        self.value = value
        self.state = state
        self.label = label or f"{level}/{name}"

    @property
    def key(self) -> tuple[int, int, int | bytes, int]:
        """What tells it from others."""
        return self.level, self.name, self.value, int(self.state)

    def apply(self, fd: int) -> int:
        """Set it; 0 or an errno."""
        return set_option(fd, self.level, self.name, self.value)

    def __repr__(self) -> str:
        return f"<SocketOption {self.label}={self.value!r} {self.state.name}>"


class SourceAddressOption(SocketOption):
    """No option of the kernel's: the local address of an upstream socket, before whatever else says one."""

    __slots__ = ("address",)

    def __init__(self, address: Address) -> None:
        super().__init__(0, 0, address.sockaddr)
        self.address = address

    def apply(self, fd: int) -> int:
        """Nothing to set: the connection binds its socket to ``address``."""
        return 0


def compile_options(messages: Iterable[Any], socket_type: int = socket.SOCK_STREAM) -> tuple[SocketOption, ...]:
    """The options of ``socket_options`` (``envoy.config.core.v3.SocketOption``) that are for this type of socket.

    The API's numbers have 64 bits, the system call's 32: as in Envoy the upper half is dropped.
    """
    out = []
    for message in messages:
        if not _is_for(message.type, socket_type):
            continue
        value = _c_int(message.int_value) if message.WhichOneof("value") == "int_value" else message.buf_value
        level, name, state = _c_int(message.level), _c_int(message.name), SocketState(message.state)
        out.append(SocketOption(level, name, value, state, f"{message.level}/{message.name}"))
    return tuple(out)


def _is_for(chosen: Any, socket_type: int) -> bool:
    if chosen.HasField("stream"):
        if chosen.HasField("datagram"):
            log.warning("Both Stream and Datagram socket types are set, setting the socket type to Stream.")
        return socket_type == socket.SOCK_STREAM
    return not chosen.HasField("datagram") or socket_type == socket.SOCK_DGRAM


def _c_int(number: int) -> int:
    return ctypes.c_int(number & 0xFFFFFFFF).value


class NonIpOption(SocketOption):
    """An option of IP sockets asked for on a unix socket: refused at every state, as Envoy does."""

    __slots__ = ()

    def apply(self, fd: int) -> int:
        return errno.EOPNOTSUPP


def _by_family(family: int, v4: int, v6: int, name: str, *states: SocketState) -> tuple[SocketOption, ...]:
    if family == socket.AF_UNIX:
        return (NonIpOption(socket.IPPROTO_IP, v4, 1, SocketState.BOUND, f"IPPROTO_IP/IP_{name}"),)
    if family == socket.AF_INET6:
        level, number, label = socket.IPPROTO_IPV6, v6, f"IPPROTO_IPV6/IPV6_{name}"
    else:
        level, number, label = socket.IPPROTO_IP, v4, f"IPPROTO_IP/IP_{name}"
    return tuple(SocketOption(level, number, 1, state, label) for state in states)


def transparent_options(family: int) -> tuple[SocketOption, ...]:
    """``transparent``: accept and send with foreign addresses."""
    states = (SocketState.PREBIND, SocketState.BOUND)
    return _by_family(family, IP_TRANSPARENT, IPV6_TRANSPARENT, "TRANSPARENT", *states)


def original_src_options(source: Address, mark: int) -> tuple[SocketOption, ...]:
    """An upstream socket that comes from the IP address of ``source``, though it is not ours, from any port.

    SO_MARK lets routing rules know its packets; ``mark`` 0: none.
    """
    # An IPv4 client of a dual-stack listener has an IPv4 address.
    local = ip_address(source.ip, 0)
    marks = (SocketOption(socket.SOL_SOCKET, SO_MARK, mark),) if mark else ()
    return (SourceAddressOption(local), *marks, *transparent_options(local.family))


def source_of(options: Iterable[SocketOption]) -> Address | None:
    """The source address among ``options``; the last one counts."""
    found = None
    for option in options:
        if isinstance(option, SourceAddressOption):
            found = option.address
    return found


def freebind_options(family: int) -> tuple[SocketOption, ...]:
    """``freebind``: bind to an address that is not configured (yet)."""
    return _by_family(family, IP_FREEBIND, IPV6_FREEBIND, "FREEBIND", SocketState.PREBIND)


def fast_open_options(queue_length: int) -> tuple[SocketOption, ...]:
    """``tcp_fast_open_queue_length``: data in the SYN is accepted."""
    label = "IPPROTO_TCP/TCP_FASTOPEN"
    option = SocketOption(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, _c_int(queue_length), SocketState.LISTENING, label)
    return (option,)


def datagram_options(family: int, *, v4_too: bool) -> tuple[SocketOption, ...]:
    """What every UDP listener sets: destination addresses and lost datagrams are told, nothing is fragmented."""
    v6 = family == socket.AF_INET6
    mtu = [SocketOption(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO, SocketState.BOUND)] if not v6 or v4_too else []
    if v6:
        mtu.append(SocketOption(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO, SocketState.BOUND))
        told = SocketOption(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1, SocketState.BOUND)
    else:
        told = SocketOption(socket.IPPROTO_IP, IP_PKTINFO, 1, SocketState.BOUND)
    return (told, SocketOption(socket.SOL_SOCKET, SO_RXQ_OVFL, 1, SocketState.BOUND), *mtu)


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
                reason = os.strerror(error)
                log.warning("Setting %s option on socket failed: %s", option.label, reason)
                raise SocketOptionError(error, f"Setting socket option failed: {reason}: {option!r}")
