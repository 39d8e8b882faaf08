"""``Cluster.common_lb_config`` compiled: what concerns every policy of the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.upstream.load_balancer.priority_load import DEFAULT_PANIC_THRESHOLD
from proxeny.upstream.override_host import DEFAULT_STATUSES


@dataclass(slots=True, frozen=True)
class CommonLbConfig:
    """Equal ones are shared."""

    panic_threshold: int = DEFAULT_PANIC_THRESHOLD
    """Percent."""
    fail_traffic_on_panic: bool = False
    override_statuses: frozenset[int] = DEFAULT_STATUSES
    """The health (core.v3.HealthStatus) in which a host may be asked for by address."""


DEFAULT: Final = CommonLbConfig()


def compile(common: Any) -> CommonLbConfig:
    """Of a ``Cluster.CommonLbConfig``, or None."""
    if common is None:
        return DEFAULT
    values: dict[str, Any] = {}
    if common.HasField("healthy_panic_threshold"):
        # Envoy truncates the percentage.
        values["panic_threshold"] = min(100, int(common.healthy_panic_threshold.value))
    if common.HasField("zone_aware_lb_config") and common.zone_aware_lb_config.fail_traffic_on_panic:
        values["fail_traffic_on_panic"] = True
    if common.HasField("override_host_status"):
        values["override_statuses"] = frozenset(common.override_host_status.statuses)
    return CommonLbConfig(**values) if values else DEFAULT
