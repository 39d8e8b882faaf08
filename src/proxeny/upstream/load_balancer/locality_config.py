"""How a policy treats localities: ``LocalityLbConfig`` of the extensions, ``common_lb_config`` of a Cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

DEFAULT_MIN_CLUSTER_SIZE: Final = 6
"""ZoneAwareLbConfig.min_cluster_size."""
_HEALTHY_HOSTS_WEIGHT: Final = 1
"""ZoneAwareLbConfig.LocalityBasis."""


@dataclass(slots=True, frozen=True)
class LocalityConfig:
    """Equal ones compare equal. Without any, zone-aware routing has its defaults."""

    weighted: bool = False
    """Localities take load by their own weights (``locality_weighted_lb_config``)."""
    routing_enabled: int = 100
    """Percent of the requests that zone-aware routing is for."""
    min_cluster_size: int = DEFAULT_MIN_CLUSTER_SIZE
    fail_traffic_on_panic: bool = False
    force_local_min_size: int = 0
    """So many healthy hosts of our own locality take everything; 0: never forced."""
    by_weight: bool = False
    """Localities are compared by the weights of their hosts, not by their number."""


DEFAULT: Final = LocalityConfig()


def compile(config: Any) -> LocalityConfig:
    """Of a ``LocalityLbConfig``."""
    if config.HasField("locality_weighted_lb_config"):
        return LocalityConfig(weighted=True)
    if not config.HasField("zone_aware_lb_config"):
        return DEFAULT
    zone = config.zone_aware_lb_config
    values = _shared_fields(zone)
    if zone.HasField("force_local_zone"):
        force = zone.force_local_zone
        values["force_local_min_size"] = force.min_size.value if force.HasField("min_size") else 1
    elif zone.force_locality_direct_routing:
        values["force_local_min_size"] = 1
    if zone.locality_basis == _HEALTHY_HOSTS_WEIGHT:
        values["by_weight"] = True
    return LocalityConfig(**values)


def compile_legacy(cluster: Any) -> LocalityConfig:
    """Of a Cluster's ``common_lb_config``."""
    common = cluster.common_lb_config
    if common.HasField("locality_weighted_lb_config"):
        return LocalityConfig(weighted=True)
    if common.HasField("zone_aware_lb_config"):
        return LocalityConfig(**_shared_fields(common.zone_aware_lb_config))
    return DEFAULT


def of(config: Any) -> LocalityConfig:
    """Of a policy's message that may have a ``locality_lb_config``."""
    return compile(config.locality_lb_config) if config.HasField("locality_lb_config") else DEFAULT


def whole_percent(percent: Any) -> int:
    """A ``Percent`` as Envoy truncates it to a whole number: 29 is 28 (``ProtobufPercentHelper::convertPercent``)."""
    return int(100 * (percent.value / 100.0))


def _shared_fields(zone: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"fail_traffic_on_panic": zone.fail_traffic_on_panic}
    if zone.HasField("routing_enabled"):
        values["routing_enabled"] = whole_percent(zone.routing_enabled)
    if zone.HasField("min_cluster_size"):
        values["min_cluster_size"] = zone.min_cluster_size.value
    return values
