"""A Cluster message compiled: everything that Envoy refuses is refused here, in Envoy's words.

The same code runs in main (validates, allots the statistics) and in a worker (finds them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.network.happy_eyeballs import ANY_VERSION
from proxeny.network.transport_socket import compile_upstream
from proxeny.registry import REGISTRY
from proxeny.upstream import bind_config, http_protocol_options, transport_socket_match
from proxeny.upstream.bind_config import LocalAddress
from proxeny.upstream.cluster_info import ClusterInfo, reports_load
from proxeny.upstream.cluster_types import factory_of, type_text
from proxeny.upstream.discovery import ClusterFactory, ClusterType
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.endpoints import FAILED_ACTIVE_HC, PENDING_ACTIVE_HC, HostEntry
from proxeny.upstream.health_check.config import HealthCheckConfig, compile_health_checks
from proxeny.upstream.http_protocol_options import UpstreamProtocol
from proxeny.upstream.internal_upstream import TYPE_NAME as INTERNAL_UPSTREAM
from proxeny.upstream.internal_upstream import InternalUpstream
from proxeny.upstream.load_assignment import DEFAULT_POLICY, parse_policy
from proxeny.upstream.load_balancer import common_config
from proxeny.upstream.load_balancer import policy as lb_policy
from proxeny.upstream.load_metrics import LoadMetrics
from proxeny.upstream.merge_window import DEFAULT_MERGE_WINDOW_MS
from proxeny.upstream.original_dst_config import HOST_BLOCKS
from proxeny.upstream.outlier.monitor import outlier_rules
from proxeny.upstream.resource_manager import DEFAULT_THRESHOLDS, parse_per_host, parse_thresholds
from proxeny.upstream.transport_socket_match import PLAIN, ClusterSocket
from proxeny.upstream.upstream_names import compile_upstream_names

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.load_balancer.common_config import CommonLbConfig
    from proxeny.upstream.load_balancer.contract import LbPolicy

_STRICT_DNS: Final = 1
_IP_VERSIONS: Final = (ANY_VERSION, 4, 6)
"""UpstreamConnectionOptions.FirstAddressFamilyVersion."""

_REFUSED: Final = (
    "transport_socket_matcher",
    "filters",
)
"""Fields with an effect that is not served yet (DESIGN section 7: refused by name)."""


class ClusterConfig:
    """A compiled cluster: its info, how to balance, and where its hosts come from."""

    __slots__ = (
        "close_on_health_failure",
        "context",
        "factory",
        "health_checks",
        "health_when_new",
        "hosts",
        "ignore_health_on_removal",
        "info",
        "is_secondary",
        "lb_common",
        "lb_policy",
        "options",
        "policy",
        "pool_per_downstream",
        "predictive_preconnect_ratio",
        "type",
        "update_merge_window_ms",
        "wait_for_warm_on_init",
    )

    def __init__(
        self,
        factory: ClusterFactory,
        options: Any,
        info: ClusterInfo,
        context: FactoryContext,
        policy: LbPolicy,
        lb_common: CommonLbConfig,
    ) -> None:
        self.factory = factory
        self.type = factory.type
        self.options = options
        """What the cluster's type made of its own settings (``Compiled.options``)."""
        self.info = info
        self.context = context
        self.lb_policy = policy
        self.lb_common = lb_common
        self.hosts: list[HostEntry] = []
        """Hosts that the configuration itself names (STATIC)."""
        self.pool_per_downstream = False
        """``connection_pool_per_downstream_connection``"""
        self.predictive_preconnect_ratio = 1.0
        self.policy = DEFAULT_POLICY
        """What the cluster's own ``load_assignment`` says besides its hosts."""
        self.update_merge_window_ms = DEFAULT_MERGE_WINDOW_MS
        self.health_checks: list[HealthCheckConfig] = []
        """Compiled in main only."""
        self.health_when_new = 0
        """Health flags of a host that was not checked yet."""
        self.ignore_health_on_removal = False
        """Whether a host that discovery no longer knows goes even while its checks succeed."""
        self.close_on_health_failure = False
        """Whether TCP connections to a host that fails are closed."""
        self.wait_for_warm_on_init = True
        self.is_secondary = False
        """``Compiled.is_secondary``"""

    @property
    def overprovisioning_factor(self) -> int:
        """Percent."""
        return self.policy.overprovisioning_factor

    @property
    def weighted_priority_health(self) -> bool:
        """Whether hosts count by their weights for the availability of their priority."""
        return self.policy.weighted_priority_health


def compile(cluster: Any, context: FactoryContext, generation: int = 0) -> ClusterConfig:
    """Compile an ``envoy.config.cluster.v3.Cluster``; ConfigError on what Envoy refuses or we do not serve yet.

    ``generation``: how many clusters of this name it follows.
    """
    present = {field.name: value for field, value in cluster.ListFields()}
    factory = factory_of(cluster, present)
    _check(cluster, present, context)
    options, hosts, host_blocks, is_secondary = factory.compile(cluster, present, context)
    http = http_protocol_options.compile(cluster, present)
    policy = lb_policy.compile(cluster, present, context, factory.provides_lb)
    thresholds = DEFAULT_THRESHOLDS
    if "circuit_breakers" in present:
        thresholds = parse_thresholds(present["circuit_breakers"])
    info = ClusterInfo(cluster.name, cluster.alt_stat_name, context, http, thresholds, generation)
    _set_info(info, present, context)
    names = http_protocol_options.names_of(present)
    if names is not None:
        info.upstream_names = compile_upstream_names(names)
    overrides = http_protocol_options.overrides_of(present)
    if overrides is not None:
        compiler = REGISTRY.factory("cluster_overrides", http_protocol_options.NAME)
        info.overrides = compiler.compile(overrides, cluster.name, context)
    if "outlier_detection" in present:
        matcher = http_protocol_options.error_matcher(present)
        info.outlier = outlier_rules(present["outlier_detection"], matcher, info, context)
    lb_common = common_config.compile(present.get("common_lb_config"))
    config = ClusterConfig(factory, options, info, context, policy, lb_common)
    policy.allot(context.stats, info.stat_prefix)
    config.hosts = hosts
    config.is_secondary = is_secondary
    _set_health(config, cluster, present)
    info.transport_socket = _transport_socket(present.get("transport_socket"), info, context)
    if "transport_socket_matches" in present:
        matches = [
            (one, _transport_socket(one.transport_socket, info, context)) for one in present["transport_socket_matches"]
        ]
        info.transport_sockets = transport_socket_match.compile(
            matches, info.transport_socket, info.stats, info.stat_prefix, context.stats
        )
    if http.protocol is UpstreamProtocol.AUTO:
        _check_alpn(info)
    for index in (*range(host_blocks), *(entry.stat_index for entry in hosts)):
        info.host_stats(index)
    if factory.type is ClusterType.ORIGINAL_DST and context.role == "main":
        for index in range(context.concurrency * HOST_BLOCKS):
            info.host_stats(index)
    metrics = present.get("lrs_report_endpoint_metrics")
    if metrics is not None and context.role == "worker" and reports_load(context):
        info.orca = info.load_metrics = LoadMetrics(tuple(metrics), context, cluster.name)
    if "load_assignment" in present:
        config.policy = parse_policy(present["load_assignment"], cluster.name, context)
        info.drop_overload = config.policy.drop_overload
    if cluster.common_lb_config.HasField("update_merge_window"):
        config.update_merge_window_ms = milliseconds(cluster.common_lb_config.update_merge_window)
    config.pool_per_downstream = cluster.connection_pool_per_downstream_connection
    if "preconnect_policy" in present:
        preconnect = present["preconnect_policy"]
        if preconnect.HasField("predictive_preconnect_ratio"):
            config.predictive_preconnect_ratio = preconnect.predictive_preconnect_ratio.value
    if "wait_for_warm_on_init" in present:
        config.wait_for_warm_on_init = present["wait_for_warm_on_init"].value
    return config


def _set_health(config: ClusterConfig, cluster: Any, present: dict[str, Any]) -> None:
    config.ignore_health_on_removal = present.get("ignore_health_on_host_removal", False)
    config.close_on_health_failure = present.get("close_connections_on_host_health_failure", False)
    if "health_checks" not in present:
        return
    if config.type is ClusterType.ORIGINAL_DST:
        raise UnsupportedFieldError(
            f"health_checks of ORIGINAL_DST clusters are not supported (cluster '{cluster.name}')", "health_checks"
        )
    config.health_when_new = FAILED_ACTIVE_HC
    if cluster.common_lb_config.ignore_new_hosts_until_first_hc:
        config.health_when_new |= PENDING_ACTIVE_HC
    for entry in config.hosts:
        if not entry.is_unchecked:
            entry.health_flags |= FAILED_ACTIVE_HC
    config.info.health_checked = True
    if config.context.role == "main":
        config.health_checks = compile_health_checks(cluster, config.info, config.context)


def local_cluster_name(context: FactoryContext) -> str:
    """The cluster that this proxy is a member of; empty where it is not said."""
    return "" if context.bootstrap is None else str(context.bootstrap.cluster_manager.local_cluster_name)


def _check(cluster: Any, present: dict[str, Any], context: FactoryContext) -> None:
    """What is refused regardless of the cluster's type."""
    accept = bool(getattr(context.options, "accept_unsupported_fields", False))
    if not accept:
        for field in _REFUSED:
            if field in present:
                raise UnsupportedFieldError(f"{field} is not supported yet (cluster '{cluster.name}')", field)
    if cluster.common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing and cluster.type != _STRICT_DNS:
        raise ConfigError(
            f"Cannot use hostname for consistent hashing loadbalancing for cluster of type: '{type_text(cluster)}'"
        )
    if "circuit_breakers" in present:
        for per_host in present["circuit_breakers"].per_host_thresholds:
            if {field.name for field, _ in per_host.ListFields()} - {"priority", "max_connections"}:
                raise ConfigError("Unsupported field in per_host_thresholds")


def _transport_socket(message: Any, info: ClusterInfo, context: FactoryContext) -> ClusterSocket:
    """Compile a ``core.v3.TransportSocket``, None: there is none."""
    if message is None:
        return PLAIN
    if message.typed_config.type_url.endswith(f"/{INTERNAL_UPSTREAM}"):
        internal = InternalUpstream(unpack_any(message.typed_config), info.stat_prefix, context)
        return ClusterSocket(internal.inner, internal)
    return ClusterSocket(compile_upstream(message, info.stat_prefix, context))


def _check_alpn(info: ClusterInfo) -> None:
    """``auto_config`` goes by what TLS handshakes say."""
    text = f"ALPN configured for cluster {info.name} which has a non-ALPN transport socket"
    if not info.transport_socket.factory.supports_alpn:
        raise ConfigError(text)
    if info.transport_sockets is not None and not info.transport_sockets.supports_alpn:
        raise ConfigError(f"{text} matcher")


def _set_info(info: ClusterInfo, present: dict[str, Any], context: FactoryContext) -> None:
    if "connect_timeout" in present:
        info.connect_timeout_ms = milliseconds(present["connect_timeout"])
    if "per_connection_buffer_limit_bytes" in present:
        info.per_connection_buffer_limit = present["per_connection_buffer_limit_bytes"].value
    if "preconnect_policy" in present:
        preconnect = present["preconnect_policy"]
        if preconnect.HasField("per_upstream_preconnect_ratio"):
            info.preconnect_ratio = preconnect.per_upstream_preconnect_ratio.value
    if "circuit_breakers" in present and present["circuit_breakers"].per_host_thresholds:
        info.max_connections_per_host = parse_per_host(present["circuit_breakers"])
    info.metadata = present.get("metadata")
    tracked = present.get("track_cluster_stats")
    info.track(
        bool(present.get("track_timeout_budgets")) or (tracked is not None and tracked.timeout_budgets),
        tracked is not None and tracked.request_response_sizes,
    )
    local = bind_config.compile(info.name, present, context.bootstrap)
    if isinstance(local, LocalAddress):
        info.local_address = local
    else:
        info.address_selector = local
    upstream = present.get("upstream_config")
    if upstream is not None:
        type_name = upstream.typed_config.type_url.rpartition("/")[2]
        info.upstream_pool = REGISTRY.factory("upstream_pool", upstream.name, type_name)
    connection_options = present.get("upstream_connection_options")
    if connection_options is not None:
        eyes = connection_options.happy_eyeballs_config
        version = _IP_VERSIONS[eyes.first_address_family_version]
        info.happy_eyeballs = (version, eyes.first_address_family_count.value or 1)
