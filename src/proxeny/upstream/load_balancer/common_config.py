"""``Cluster.common_lb_config`` compiled: what concerns every policy of the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.upstream.load_balancer.locality_config import whole_percent
from proxeny.upstream.load_balancer.priority_load import DEFAULT_PANIC_THRESHOLD
from proxeny.upstream.override_host import DEFAULT_STATUSES


@dataclass(slots=True, frozen=True)
class CommonLbConfig:
    """Equal ones are shared."""

    panic_threshold: int = DEFAULT_PANIC_THRESHOLD
    """Percent."""
    override_statuses: frozenset[int] = DEFAULT_STATUSES
    """The health (core.v3.HealthStatus) in which a host may be asked for by address."""
    close_on_change: bool = False
    """``close_connections_on_host_set_change``"""


DEFAULT: Final = CommonLbConfig()


def compile(common: Any) -> CommonLbConfig:
    """Of a ``Cluster.CommonLbConfig``, or None."""
    if common is None:
        return DEFAULT
    values: dict[str, Any] = {}
    if common.HasField("healthy_panic_threshold"):
        values["panic_threshold"] = whole_percent(common.healthy_panic_threshold)
    if common.HasField("override_host_status"):
        values["override_statuses"] = frozenset(common.override_host_status.statuses)
    if common.close_connections_on_host_set_change:
        values["close_on_change"] = True
    return CommonLbConfig(**values) if values else DEFAULT
