"""A Cluster message compiled: everything that Envoy refuses is refused here, in Envoy's words.

The same code runs in main (validates, allots the statistics) and in a worker (finds them).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.network.address import ip_address
from proxeny.network.socket_options import SocketOption, compile_options, freebind_options, keepalive_options
from proxeny.registry import REGISTRY
from proxeny.upstream import dns_options, http_protocol_options, original_dst_config
from proxeny.upstream.cluster_info import ClusterInfo
from proxeny.upstream.dns_options import DnsOptions, milliseconds
from proxeny.upstream.endpoints import DnsTarget, HostEntry, parse_dns, parse_static, socket_address_pair
from proxeny.upstream.host_health import DEFAULT_MERGE_WINDOW_MS
from proxeny.upstream.internal_upstream import TYPE_NAME as INTERNAL_UPSTREAM
from proxeny.upstream.internal_upstream import InternalUpstream
from proxeny.upstream.load_balancer import common_config
from proxeny.upstream.load_balancer import policy as lb_policy
from proxeny.upstream.original_dst_config import HOST_BLOCKS
from proxeny.upstream.priority_set import DEFAULT_OVERPROVISIONING_FACTOR
from proxeny.upstream.resource_manager import DEFAULT_THRESHOLDS, parse_thresholds

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.load_balancer.common_config import CommonLbConfig
    from proxeny.upstream.load_balancer.contract import LbPolicy
    from proxeny.upstream.original_dst_config import OriginalDstOptions


class ClusterType(Enum):
    """How a cluster finds its hosts."""

    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL_DST = "ORIGINAL_DST"


_BY_NUMBER: Final = {0: "STATIC", 1: "STRICT_DNS", 2: "LOGICAL_DNS", 3: "EDS", 4: "ORIGINAL_DST"}
_STRICT_DNS: Final = 1
_BY_EXTENSION: Final = {
    "envoy.cluster.static": ClusterType.STATIC,
    "envoy.cluster.strict_dns": ClusterType.STRICT_DNS,
    "envoy.cluster.logical_dns": ClusterType.LOGICAL_DNS,
    original_dst_config.EXTENSION_NAME: ClusterType.ORIGINAL_DST,
    "envoy.clusters.dns": ClusterType.STRICT_DNS,
}
_WITHOUT_DNS: Final = (ClusterType.STATIC, ClusterType.ORIGINAL_DST)
_DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"
_RAW_BUFFER: Final = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"

_REFUSED: Final = (
    "health_checks",
    "outlier_detection",
    "transport_socket_matches",
    "transport_socket_matcher",
    "filters",
    "preconnect_policy",
    "connection_pool_per_downstream_connection",
)
"""Fields with an effect that is not served yet (DESIGN section 7: refused by name)."""


class ClusterConfig:
    """A compiled cluster: its info, how to balance, and where its hosts come from."""

    __slots__ = (
        "context",
        "dns",
        "hosts",
        "info",
        "internal_upstream",
        "lb_common",
        "lb_policy",
        "original_dst",
        "overprovisioning_factor",
        "targets",
        "type",
        "update_merge_window_ms",
        "wait_for_warm_on_init",
    )

    def __init__(
        self,
        cluster_type: ClusterType,
        info: ClusterInfo,
        context: FactoryContext,
        policy: LbPolicy,
        lb_common: CommonLbConfig,
    ) -> None:
        self.type = cluster_type
        self.info = info
        self.context = context
        self.lb_policy = policy
        self.lb_common = lb_common
        self.hosts: list[HostEntry] = []
        """The hosts of a STATIC cluster."""
        self.targets: list[DnsTarget | HostEntry] = []
        """The names (and pipes) of a DNS cluster."""
        self.dns: DnsOptions | None = None
        self.internal_upstream: InternalUpstream | None = None
        self.original_dst: OriginalDstOptions | None = None
        """Of a cluster that has no hosts but those which connections bring."""
        self.overprovisioning_factor = DEFAULT_OVERPROVISIONING_FACTOR
        self.update_merge_window_ms = DEFAULT_MERGE_WINDOW_MS
        self.wait_for_warm_on_init = True


def compile(cluster: Any, context: FactoryContext) -> ClusterConfig:
    """Compile an ``envoy.config.cluster.v3.Cluster``; ConfigError on what Envoy refuses or we do not serve yet."""
    present = {field.name: value for field, value in cluster.ListFields()}
    cluster_type, dns = _type_of(cluster, present)
    _check(cluster, present, cluster_type, context)
    original_dst = None
    if cluster_type is ClusterType.ORIGINAL_DST:
        original_dst = original_dst_config.compile(cluster, present)
    http = http_protocol_options.compile(cluster, present)
    policy = lb_policy.compile(cluster, present, context, cluster_type is ClusterType.ORIGINAL_DST)
    endpoints = present.get("load_assignment")
    hosts: list[HostEntry] = []
    targets: list[DnsTarget | HostEntry] = []
    if cluster_type is ClusterType.STATIC:
        hosts = parse_static(endpoints) if endpoints is not None else []
    elif dns is not None:
        targets = _dns_targets(cluster_type, endpoints)
    thresholds = DEFAULT_THRESHOLDS
    if "circuit_breakers" in present:
        thresholds = parse_thresholds(present["circuit_breakers"])
    info = ClusterInfo(cluster.name, cluster.alt_stat_name, context, http, thresholds)
    _set_info(info, present, context)
    overrides = http_protocol_options.overrides_of(present)
    if overrides is not None:
        compiler = REGISTRY.factory("cluster_overrides", http_protocol_options.NAME)
        info.overrides = compiler.compile(overrides, cluster.name, context)
    lb_common = common_config.compile(present.get("common_lb_config"))
    config = ClusterConfig(cluster_type, info, context, policy, lb_common)
    policy.allot(context.stats, info.stat_prefix)
    config.hosts = hosts
    config.targets = targets
    config.dns = dns
    config.original_dst = original_dst
    transport_socket = present.get("transport_socket")
    if transport_socket is not None and transport_socket.typed_config.type_url.endswith(f"/{INTERNAL_UPSTREAM}"):
        config.internal_upstream = InternalUpstream(
            unpack_any(transport_socket.typed_config), info.stat_prefix, context
        )
    for entry in hosts:
        info.host_stats(entry.stat_index)
    if original_dst is not None and context.role == "main":
        for index in range(context.concurrency * HOST_BLOCKS):
            info.host_stats(index)
    if endpoints is not None and endpoints.policy.HasField("overprovisioning_factor"):
        config.overprovisioning_factor = endpoints.policy.overprovisioning_factor.value
    if cluster.common_lb_config.HasField("update_merge_window"):
        config.update_merge_window_ms = milliseconds(cluster.common_lb_config.update_merge_window)
    if "wait_for_warm_on_init" in present:
        config.wait_for_warm_on_init = present["wait_for_warm_on_init"].value
    return config


def _type_of(cluster: Any, present: dict[str, Any]) -> tuple[ClusterType, DnsOptions | None]:
    custom = present.get("cluster_type")
    if custom is not None:
        return _extension_type(custom, cluster)
    name = _BY_NUMBER[cluster.type]
    if name == "EDS":
        if "eds_cluster_config" not in present:
            raise ConfigError("cannot create an EDS cluster without an EDS config")
        raise UnsupportedFieldError(f"clusters of type EDS are not supported yet (cluster '{cluster.name}')")
    if "eds_cluster_config" in present:
        raise ConfigError("eds_cluster_config set in a non-EDS cluster")
    cluster_type = ClusterType(name)
    return cluster_type, None if cluster_type in _WITHOUT_DNS else dns_options.from_cluster(cluster)


def _extension_type(custom: Any, cluster: Any) -> tuple[ClusterType, DnsOptions | None]:
    type_name = custom.typed_config.type_url.rpartition("/")[2]
    cluster_type = _BY_EXTENSION.get(custom.name)
    if type_name == _DNS_CLUSTER:
        config: Any = unpack_any(custom.typed_config)
        if custom.name == "envoy.clusters.dns" or cluster_type is None:
            single = config.all_addresses_in_single_endpoint
            cluster_type = ClusterType.LOGICAL_DNS if single else ClusterType.STRICT_DNS
        return cluster_type, dns_options.from_extension(config, cluster)
    if cluster_type is None:
        raise UnsupportedFieldError(
            f"Didn't find a registered cluster factory implementation for name: '{custom.name}'"
        )
    return cluster_type, None if cluster_type in _WITHOUT_DNS else dns_options.from_cluster(cluster)


def _check(cluster: Any, present: dict[str, Any], cluster_type: ClusterType, context: FactoryContext) -> None:
    """What is refused regardless of the cluster's type."""
    accept = bool(getattr(context.options, "accept_unsupported_fields", False))
    if not accept:
        for field in _REFUSED:
            if field in present:
                raise UnsupportedFieldError(f"{field} is not supported yet (cluster '{cluster.name}')", field)
    _check_transport_socket(cluster, present)
    if cluster.common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing and cluster.type != _STRICT_DNS:
        kind = cluster.cluster_type.name or f"envoy.cluster.{_BY_NUMBER[cluster.type].lower()}"
        raise ConfigError(f"Cannot use hostname for consistent hashing loadbalancing for cluster of type: '{kind}'")
    if "circuit_breakers" in present:
        for per_host in present["circuit_breakers"].per_host_thresholds:
            if {field.name for field, _ in per_host.ListFields()} - {"priority", "max_connections"}:
                raise ConfigError("Unsupported field in per_host_thresholds")
            if not accept:
                raise UnsupportedFieldError(f"per_host_thresholds is not supported yet (cluster '{cluster.name}')")
    assignment = present.get("load_assignment")
    if assignment is not None:
        overloads = assignment.policy.drop_overloads
        if len(overloads) > 1:
            raise ConfigError(f"Cluster drop_overloads config has {len(overloads)} categories. Envoy only support one.")
        if overloads and not accept:
            raise UnsupportedFieldError(f"drop_overloads is not supported yet (cluster '{cluster.name}')")


def _check_transport_socket(cluster: Any, present: dict[str, Any]) -> None:
    transport_socket = present.get("transport_socket")
    if transport_socket is None:
        return
    type_name = transport_socket.typed_config.type_url.rpartition("/")[2]
    if type_name in (_RAW_BUFFER, INTERNAL_UPSTREAM):
        return
    if not type_name:
        raise ConfigError(f"Didn't find a registered implementation for '{transport_socket.name}' with type URL: ''")
    raise UnsupportedFieldError(
        f"transport_socket '{transport_socket.name}' ({type_name}) is not supported yet (cluster '{cluster.name}')",
        "transport_socket",
    )


def _dns_targets(cluster_type: ClusterType, assignment: Any) -> list[DnsTarget | HostEntry]:
    if cluster_type is ClusterType.STRICT_DNS:
        return parse_dns(assignment, "STRICT_DNS") if assignment is not None else []
    if assignment is None:
        raise ConfigError("LOGICAL_DNS clusters must have a single host")
    if len(assignment.endpoints) != 1 or len(assignment.endpoints[0].lb_endpoints) != 1:
        raise ConfigError("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
    return parse_dns(assignment, "LOGICAL_DNS")


def _set_info(info: ClusterInfo, present: dict[str, Any], context: FactoryContext) -> None:
    if "connect_timeout" in present:
        info.connect_timeout_ms = milliseconds(present["connect_timeout"])
    if "per_connection_buffer_limit_bytes" in present:
        info.per_connection_buffer_limit = present["per_connection_buffer_limit_bytes"].value
    info.metadata = present.get("metadata")
    tracked = present.get("track_cluster_stats")
    info.track(
        bool(present.get("track_timeout_budgets")) or (tracked is not None and tracked.timeout_budgets),
        tracked is not None and tracked.request_response_sizes,
    )
    bind = present.get("upstream_bind_config")
    if bind is None and context.bootstrap is not None and context.bootstrap.HasField("cluster_manager"):
        manager = context.bootstrap.cluster_manager
        bind = manager.upstream_bind_config if manager.HasField("upstream_bind_config") else None
    upstream = present.get("upstream_config")
    if upstream is not None:
        type_name = upstream.typed_config.type_url.rpartition("/")[2]
        info.upstream_pool = REGISTRY.factory("upstream_pool", upstream.name, type_name)
    options: tuple[SocketOption, ...] = ()
    if bind is not None:
        if bind.HasField("source_address"):
            info.source_address = ip_address(*socket_address_pair(bind.source_address))
            if bind.freebind.value:
                options = freebind_options(info.source_address.family)
        options += compile_options(bind.socket_options)
    connection_options = present.get("upstream_connection_options")
    if connection_options is not None and connection_options.HasField("tcp_keepalive"):
        options += keepalive_options(connection_options.tcp_keepalive)
    info.socket_options = options
