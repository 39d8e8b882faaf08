"""``envoy.filters.listener.original_dst``: where a redirected connection was going.

The kernel knows it: netfilter's REDIRECT and DNAT keep the original destination with the connection's tracking entry,
and under TPROXY it is the socket's own local address. Connections of internal listeners bring it along as metadata or
filter state.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from proxeny.formatter.values import metadata_value
from proxeny.kernel.sockets import get_option, local_sockaddr
from proxeny.listener.filter import ListenerFilter
from proxeny.network.address import SOCKADDR_ROOM, Address, from_sockaddr, parse_ip_port
from proxeny.network.filter import FilterStatus
from proxeny.network.socket_options import IP_TRANSPARENT, IPV6_TRANSPARENT

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.listener.original_dst"
LOCAL_FIELD: Final = "local"
"""The key in the dynamic metadata of that name: ``IP:PORT``."""
LOCAL_STATE: Final = "envoy.filters.listener.original_dst.local_ip"
REMOTE_STATE: Final = "envoy.filters.listener.original_dst.remote_ip"
SO_ORIGINAL_DST: Final = 80
"""Linux, netfilter_ipv4.h and netfilter_ipv6/ip6_tables.h (IP6T_SO_ORIGINAL_DST)."""
CONTINUE: Final = FilterStatus.CONTINUE


def original_destination(fd: int, ip_version: int) -> Address | None:
    """Where the connection ``fd`` was going before it came here; None when the kernel knows of no redirection.

    ``ip_version`` is that of its local address: 4 also for an IPv4 connection on a dual-stack socket.
    """
    level = socket.IPPROTO_IP if ip_version == 4 else socket.IPPROTO_IPV6
    try:
        return from_sockaddr(get_option(fd, level, SO_ORIGINAL_DST, SOCKADDR_ROOM))
    except OSError:
        return from_sockaddr(local_sockaddr(fd)) if _is_transparent(fd, level) else None


def _is_transparent(fd: int, level: int) -> bool:
    name = IP_TRANSPARENT if level == socket.IPPROTO_IP else IPV6_TRANSPARENT
    try:
        return any(get_option(fd, level, name, 4))
    except OSError:
        return False


class OriginalDst(ListenerFilter):
    """Restores the local address of one accepted socket."""

    __slots__ = ()

    def on_accept(self) -> FilterStatus:
        """Ask the kernel, or what came with an internal connection; without an answer all stays as it is."""
        accepted = self.socket
        local = accepted.connection_info.local_address
        if local.is_internal:
            self._restore_internal()
        elif local.ip_version:
            original = original_destination(accepted.fd, local.ip_version)
            if original is not None:
                accepted.restore_local_address(original)
        return CONTINUE

    def _restore_internal(self) -> None:
        accepted = self.socket
        info = accepted.stream_info
        text = metadata_value(info.dynamic_metadata_map, NAME, (LOCAL_FIELD,))
        state: dict[str, Any] = info.filter_state_map or {}
        local = parse_ip_port(text) if isinstance(text, str) else state.get(LOCAL_STATE)
        if isinstance(local, Address):
            accepted.restore_local_address(local)
        remote = state.get(REMOTE_STATE)
        if isinstance(remote, Address):
            accepted.connection_info.remote_address = info.downstream_remote_address = remote


class OriginalDstFactory:
    """The listener filter factory; there is nothing to configure."""

    __slots__ = ()

    name = NAME

    def create(self) -> OriginalDst:
        """The filter of one socket."""
        return OriginalDst()


class OriginalDstExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> OriginalDstFactory:
        """There is nothing to configure (the listener's ``traffic_direction`` matters on Windows only)."""
        return OriginalDstFactory()


FACTORY = OriginalDstExtension()
