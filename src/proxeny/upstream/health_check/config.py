"""A cluster's ``health_checks`` compiled (Envoy: ``HealthCheckerImplBase``'s constructor, ``HealthCheckerFactory``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.health_check.contract import Prober
from proxeny.upstream.health_check.transport import CheckTransport
from proxeny.upstream.stats import HEALTH_CHECK, HEALTH_CHECK_GROUP

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo

DEFAULT_NO_TRAFFIC_INTERVAL_MS: Final = 60_000
"""HealthCheck.no_traffic_interval."""
_KINDS: Final = {
    "http_health_check": "envoy.health_checkers.http",
    "tcp_health_check": "envoy.health_checkers.tcp",
    "grpc_health_check": "envoy.health_checkers.grpc",
}
_NOT_SERVED: Final = ("envoy.health_checkers.redis", "envoy.health_checkers.thrift")


@dataclass(slots=True, frozen=True)
class Intervals:
    """When a host is checked again; milliseconds."""

    normal: int
    unhealthy: int
    unhealthy_edge: int
    healthy_edge: int
    no_traffic: int
    no_traffic_healthy: int
    jitter: int
    jitter_percent: int
    initial_jitter: int

    @classmethod
    def of(cls, message: Any) -> Intervals:
        """From a ``HealthCheck`` message, whose fields default to each other."""

        def value(field: str, default: int) -> int:
            return milliseconds(getattr(message, field)) if message.HasField(field) else default

        normal = milliseconds(message.interval)
        unhealthy = value("unhealthy_interval", normal)
        no_traffic = value("no_traffic_interval", DEFAULT_NO_TRAFFIC_INTERVAL_MS)
        return cls(
            normal,
            unhealthy,
            value("unhealthy_edge_interval", unhealthy),
            value("healthy_edge_interval", normal),
            no_traffic,
            value("no_traffic_healthy_interval", no_traffic),
            value("interval_jitter", 0),
            message.interval_jitter_percent,
            value("initial_jitter", 0),
        )


@dataclass(slots=True, eq=False)
class HealthCheckConfig:
    """One health check of a cluster."""

    name: str
    timeout_ms: int
    intervals: Intervals
    unhealthy_threshold: int
    healthy_threshold: int
    prober: Prober
    stats: Block
    group_stats: Block | None
    """The gauges of all checks together, where a cluster has several."""
    log_paths: tuple[str, ...]
    """Files that events are written to."""
    log_failures: bool
    log_successes: bool
    transport: CheckTransport
    """What the connections speak through."""


def compile_health_checks(cluster: Any, info: ClusterInfo, context: FactoryContext) -> list[HealthCheckConfig]:
    """All checks of a Cluster message; ConfigError in Envoy's words."""
    checks = list(cluster.health_checks)
    if len(checks) > 1:
        seen: set[str] = set()
        for index, check in enumerate(checks):
            if not check.name:
                raise ConfigError(
                    f"health check at index {index} is missing a name; all health checks must have a name when "
                    "multiple health checks are configured"
                )
            if check.name in seen:
                raise ConfigError(
                    f"duplicate health check name '{check.name}' at index {index}; all health check names must be "
                    "unique within a cluster"
                )
            seen.add(check.name)
    group = None
    if len(checks) > 1:
        group = context.stats.block(HEALTH_CHECK_GROUP, f"{info.stat_prefix}health_check.")
    return [_compile(check, cluster, info, context, group) for check in checks]


def _compile(
    message: Any, cluster: Any, info: ClusterInfo, context: FactoryContext, group: Block | None
) -> HealthCheckConfig:
    if message.HasField("event_service"):
        raise UnsupportedFieldError("event_service of health checks is not supported yet", "event_service")
    prefix = f"{info.stat_prefix}health_check."
    if message.name:
        prefix += f"name.{message.name}."
    prober: Prober = _factory(message).compile(message, cluster, info, context)
    return HealthCheckConfig(
        message.name,
        milliseconds(message.timeout),
        Intervals.of(message),
        message.unhealthy_threshold.value,
        message.healthy_threshold.value,
        prober,
        context.stats.block(HEALTH_CHECK, prefix),
        group,
        _log_paths(message, context),
        message.always_log_health_check_failures,
        message.always_log_health_check_success,
        CheckTransport(message),
    )


def _factory(message: Any) -> Any:
    kind = message.WhichOneof("health_checker")
    if kind != "custom_health_check":
        return REGISTRY.factory("health_checker", _KINDS[kind])
    custom = message.custom_health_check
    type_name = custom.typed_config.type_url.rpartition("/")[2]
    if custom.name in _NOT_SERVED and not REGISTRY.knows("health_checker", custom.name, type_name):
        raise UnsupportedFieldError(f"health checker '{custom.name}' is not supported yet", "custom_health_check")
    return REGISTRY.factory("health_checker", custom.name, type_name)


def _log_paths(message: Any, context: FactoryContext) -> tuple[str, ...]:
    paths = [message.event_log_path] if message.event_log_path else []
    for sink in message.event_logger:
        type_name = sink.typed_config.type_url.rpartition("/")[2]
        factory = REGISTRY.factory("health_check_event_sink", sink.name, type_name)
        paths.append(factory.path(unpack_any(sink.typed_config)))
    return tuple(paths)
