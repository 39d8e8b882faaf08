"""The compiled configuration of a UDP proxy (``envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig``)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from proxeny.access_log.config import compile_access_logs
from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms
from proxeny.extensions.udp_filters.udp_proxy.router import compile_router
from proxeny.extensions.udp_filters.udp_proxy.stats import UDP_PROXY, UDP_UPSTREAM
from proxeny.kernel.sockets import close_descriptor, open_socket
from proxeny.listener.udp_config import UdpSocketConfig
from proxeny.listener.udp_filter import peer_of
from proxeny.matcher.xxhash import xxhash64
from proxeny.network.socket_options import transparent_options

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block
    from proxeny.network.connection import Connection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo
    from proxeny.upstream.load_balancer.context import LbContext
    from proxeny.upstream.metadata_criteria import MetadataCriteria

DEFAULT_IDLE_TIMEOUT_MS: Final = 60_000
"""UdpProxyConfig.idle_timeout."""


class FlowContext:
    """What a load balancer may ask of a session: a key to hash by (``hash_policies``), and nothing else."""

    __slots__ = ("_flow", "_key")

    metadata_match: MetadataCriteria | None = None
    downstream_connection: Connection | None = None
    request_stream_info: StreamInfo | None = None
    downstream_headers: HeaderMap | None = None
    host_selection_attempt: int = 0
    response_cookies: list[bytes] | None = None

    def __init__(self, key: int | None, flow: bytes) -> None:
        self._key = key
        self._flow = flow

    def hash_key(self) -> int | None:
        """By the source IP address, or a configured key: 64 bits."""
        return xxhash64(peer_of(self._flow).ip.encode()) if self._key is None else self._key


class UdpProxyConfig:
    """One UDP proxy's configuration; immutable, shared by its filters and their sessions."""

    __slots__ = (
        "_hash_key",
        "_hashes",
        "access_logs",
        "context",
        "flush_interval_ms",
        "idle_timeout_ms",
        "per_packet",
        "proxy_access_logs",
        "router",
        "stats",
        "upstream_socket",
        "use_original_src_ip",
    )

    def __init__(self, message: Any, context: FactoryContext) -> None:
        self.context = context
        self.router = compile_router(message, context)
        self.idle_timeout_ms = DEFAULT_IDLE_TIMEOUT_MS
        if message.HasField("idle_timeout"):
            self.idle_timeout_ms = duration_ms(message.idle_timeout)
        self.use_original_src_ip: bool = message.use_original_src_ip
        self.per_packet: bool = message.use_per_packet_load_balancing
        self.stats: Block = context.stats.block(UDP_PROXY, f"udp.{message.stat_prefix}.")
        self.upstream_socket = UdpSocketConfig(message.upstream_socket_config, True)
        if self.use_original_src_ip:
            _check_transparent(context)
        self.access_logs = compile_access_logs(message.access_log, context)
        self.proxy_access_logs = compile_access_logs(message.proxy_access_log, context)
        options = message.access_log_options
        self.flush_interval_ms = 0
        """0: sessions are logged at their end only."""
        if options.HasField("access_log_flush_interval"):
            self.flush_interval_ms = duration_ms(options.access_log_flush_interval)
        self._compile_hashes(message)
        if not context.is_worker:
            for name in self.router.cluster_names:
                context.stats.block(UDP_UPSTREAM, f"{_stat_prefix(name, context)}udp.")

    def _compile_hashes(self, message: Any) -> None:
        self._hashes = len(message.hash_policies) > 0
        self._hash_key: int | None = None
        for policy in message.hash_policies:
            if policy.WhichOneof("policy_specifier") == "key":
                self._hash_key = xxhash64(policy.key.encode())

    def load_balancer_context(self, flow: bytes) -> LbContext | None:
        """What the load balancer is told of a flow."""
        return FlowContext(self._hash_key, flow) if self._hashes else None


def _stat_prefix(name: str, context: FactoryContext) -> str:
    """``cluster.<observability name>.``, as far as main knows the cluster."""
    clusters = context.bootstrap.static_resources.clusters if context.bootstrap is not None else ()
    shown = next((cluster.alt_stat_name for cluster in clusters if cluster.name == name), "")
    return f"cluster.{shown or name}."


def _check_transparent(context: FactoryContext) -> None:
    v6 = getattr(context.options, "local_address_ip_version", "v4") == "v6"
    family = socket.AF_INET6 if v6 else socket.AF_INET
    fd = open_socket(family, socket.SOCK_DGRAM)
    try:
        if any([option.apply(fd) for option in transparent_options(family)]):
            raise ConfigError(
                "The platform does not support either IP_TRANSPARENT or IPV6_TRANSPARENT. Or the envoy is not running "
                "with the CAP_NET_ADMIN capability."
            )
    finally:
        close_descriptor(fd)
