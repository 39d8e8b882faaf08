"""A listener whose address has ``protocol: UDP``, compiled: sockets without connections, filters without chains."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.event.slices import Steps
from proxeny.listener.config import ListenerConfig
from proxeny.listener.filter_chain_levels import MatchError
from proxeny.listener.listen_address import reuses_port
from proxeny.listener.stats import UDP_LISTENER
from proxeny.network.socket_options import SocketOption, SocketState
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.listener.udp_filter import UdpListenerFilterFactory
    from proxeny.network.factory_context import FactoryContext

log = logging.getLogger("proxeny.config")

MAX_DATAGRAM_SIZE: Final = 1500
"""``UdpSocketConfig.max_rx_datagram_size`` when unset."""
MESSAGES_AT_ONCE: Final = 16
"""Datagrams that one system call receives (Envoy: ``NUM_DATAGRAMS_PER_RECEIVE``)."""
LARGEST_DATAGRAM: Final = 65535
DEFAULT_WRITER: Final = "envoy.extensions.udp_packet_writer.v3.UdpDefaultWriterFactory"
UDP_GRO: Final = 104
"""Linux, udp.h: datagrams of one sender may come as one message."""


class UdpSocketConfig:
    """``envoy.config.core.v3.UdpSocketConfig``: how datagrams are received."""

    __slots__ = ("max_datagram_size", "prefer_gro")

    def __init__(self, message: Any, prefer_gro: bool) -> None:
        self.max_datagram_size: int = MAX_DATAGRAM_SIZE
        if message.HasField("max_rx_datagram_size"):
            self.max_datagram_size = message.max_rx_datagram_size.value
        self.prefer_gro: bool = message.prefer_gro.value if message.HasField("prefer_gro") else prefer_gro

    @property
    def room(self) -> int:
        """Bytes that one message may have: coalesced datagrams come as one, so there is no limit then, as in Envoy."""
        return LARGEST_DATAGRAM if self.prefer_gro else self.max_datagram_size


class UdpListenerConfig(ListenerConfig):
    """A compiled UDP listener; receiving is ``active_udp_listener``."""

    __slots__ = ("filters", "socket_config", "udp_stats")

    filters: tuple[UdpListenerFilterFactory, ...]
    udp_stats: Block

    def __init__(self, listener: Any) -> None:
        super().__init__(listener)
        if not self.bind_to_port:
            raise ConfigError(f"listener {self.name}: bind_to_port: false is not supported for UDP listeners")
        self.exact_balance = False  # nothing is accepted that could be balanced
        self.socket_config = UdpSocketConfig(listener.udp_listener_config.downstream_socket_config, False)
        if self.socket_config.prefer_gro:
            for listen in self.listen_addresses:
                listen.options += (SocketOption(socket.IPPROTO_UDP, UDP_GRO, 1, SocketState.BOUND),)

    @classmethod
    def compile_steps(
        cls, listener: Any, context: FactoryContext, origin: ListenerConfig | None = None
    ) -> Steps[ListenerConfig]:
        """From the message; ConfigError in Envoy's words."""
        _check(listener, context)
        return (yield from super().compile_steps(listener, context, origin))

    def _compile_chains(self, listener: Any, context: FactoryContext, origin: ListenerConfig | None) -> Steps[None]:
        yield
        self.udp_stats = context.stats.block(UDP_LISTENER, f"{self.stat_prefix}udp.")
        self.filters = tuple([_compile_filter(item, context) for item in listener.listener_filters])
        if listener.filter_chains or listener.HasField("default_filter_chain"):
            count = len(listener.filter_chains)
            raise MatchError(f"{count} filter chain(s) specified for connection-less UDP listener.")


def _check(listener: Any, context: FactoryContext) -> None:
    if not reuses_port(listener) and context.concurrency > 1:
        raise ConfigError(
            "Listening on UDP when concurrency is > 1 without the SO_REUSEPORT socket option results in unstable "
            "packet proxying. Configure the reuse_port listener option or set concurrency = 1."
        )
    _check_writer(listener.udp_listener_config)


def _check_writer(config: Any) -> None:
    if config.HasField("udp_packet_packet_writer_config"):
        writer = config.udp_packet_packet_writer_config
        type_name = writer.typed_config.type_url.rpartition("/")[2]
        if type_name != DEFAULT_WRITER:
            raise ConfigError(
                f"Didn't find a registered implementation for '{writer.name}' with type URL: '{type_name}'"
            )


def _compile_filter(item: Any, context: FactoryContext) -> UdpListenerFilterFactory:
    if item.WhichOneof("config_type") == "config_discovery":
        raise ConfigError(f"UDP listener filter: {item.name} is configured with unsupported dynamic configuration")
    type_name = item.typed_config.type_url.rpartition("/")[2]
    if not type_name:
        raise ConfigError(f"Didn't find a registered implementation for '{item.name}' with type URL: ''")
    if item.HasField("filter_disabled") and context.role == "main":
        log.warning("filter_disabled has no effect on the UDP listener filter '%s'", item.name)
    extension = REGISTRY.factory("udp_listener_filter", item.name, type_name)
    factory: UdpListenerFilterFactory = extension.create_filter_factory(unpack_any(item.typed_config), context)
    return factory
