"""``Cluster.outlier_detection`` compiled (Envoy: ``Outlier::DetectorConfig``), and the runtime's word on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.upstream.dns_options import milliseconds


class EjectionType(IntEnum):
    """``data.cluster.v3.OutlierEjectionType``."""

    CONSECUTIVE_5XX = 0
    CONSECUTIVE_GATEWAY_FAILURE = 1
    SUCCESS_RATE = 2
    CONSECUTIVE_LOCAL_ORIGIN_FAILURE = 3
    SUCCESS_RATE_LOCAL_ORIGIN = 4
    FAILURE_PERCENTAGE = 5
    FAILURE_PERCENTAGE_LOCAL_ORIGIN = 6
    DEGRADED = 7


DEFAULT_MAX_EJECTION_TIME_MS: Final = 300_000
"""OutlierDetection.max_ejection_time, unless base_ejection_time is longer."""


@dataclass(slots=True, frozen=True)
class OutlierConfig:
    """The settings, with Envoy's defaults; ``runtime`` names what may be overridden for all clusters at once."""

    interval_ms: int = 10_000
    base_ejection_time_ms: int = 30_000
    consecutive_5xx: int = 5
    consecutive_gateway_failure: int = 5
    consecutive_local_origin_failure: int = 5
    max_ejection_percent: int = 10
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 100
    success_rate_stdev_factor: int = 1900
    failure_percentage_threshold: int = 85
    failure_percentage_minimum_hosts: int = 5
    failure_percentage_request_volume: int = 50
    enforcing_consecutive_5xx: int = 100
    enforcing_consecutive_gateway_failure: int = 0
    enforcing_success_rate: int = 100
    enforcing_consecutive_local_origin_failure: int = 100
    enforcing_local_origin_success_rate: int = 100
    enforcing_failure_percentage: int = 0
    enforcing_failure_percentage_local_origin: int = 0
    max_ejection_time_ms: int = DEFAULT_MAX_EJECTION_TIME_MS
    max_ejection_time_jitter_ms: int = 0
    split_external_local_origin_errors: bool = False
    successful_active_health_check_uneject_host: bool = True
    always_eject_one_host: bool = False
    detect_degraded_hosts: bool = False


ENFORCING: Final = {
    EjectionType.CONSECUTIVE_5XX: "enforcing_consecutive_5xx",
    EjectionType.CONSECUTIVE_GATEWAY_FAILURE: "enforcing_consecutive_gateway_failure",
    EjectionType.SUCCESS_RATE: "enforcing_success_rate",
    EjectionType.CONSECUTIVE_LOCAL_ORIGIN_FAILURE: "enforcing_consecutive_local_origin_failure",
    EjectionType.SUCCESS_RATE_LOCAL_ORIGIN: "enforcing_local_origin_success_rate",
    EjectionType.FAILURE_PERCENTAGE: "enforcing_failure_percentage",
    EjectionType.FAILURE_PERCENTAGE_LOCAL_ORIGIN: "enforcing_failure_percentage_local_origin",
}
"""What says in how many of a hundred cases an outlier is really ejected."""
THRESHOLDS: Final = {
    EjectionType.CONSECUTIVE_5XX: "consecutive_5xx",
    EjectionType.CONSECUTIVE_GATEWAY_FAILURE: "consecutive_gateway_failure",
    EjectionType.CONSECUTIVE_LOCAL_ORIGIN_FAILURE: "consecutive_local_origin_failure",
}
"""How many failures of a kind in a row make an outlier; 0: no number does."""

_DURATIONS: Final = ("interval", "base_ejection_time", "max_ejection_time", "max_ejection_time_jitter")
_NAMES: Final = frozenset(field.name for field in fields(OutlierConfig))


def compile(proto: Any) -> OutlierConfig:
    """From an ``OutlierDetection``; ConfigError in Envoy's words."""
    values: dict[str, Any] = {}
    for field, value in proto.ListFields():
        if field.name in _DURATIONS:
            values[f"{field.name}_ms"] = milliseconds(value)
        elif field.name in _NAMES:
            values[field.name] = value if isinstance(value, bool) else value.value
    base = values.get("base_ejection_time_ms", OutlierConfig.__dataclass_fields__["base_ejection_time_ms"].default)
    longest = values.setdefault("max_ejection_time_ms", max(DEFAULT_MAX_EJECTION_TIME_MS, base))
    if longest < base:
        raise ConfigError("outlier detector's max_ejection_time cannot be smaller than base_ejection_time")
    return OutlierConfig(**values)


class OutlierSettings:
    """The settings as the runtime has them (``outlier_detection.<name>``)."""

    __slots__ = ("_runtime", "config")

    def __init__(self, config: OutlierConfig, runtime: Any) -> None:
        self.config = config
        self._runtime = runtime

    def integer(self, name: str) -> int:
        """The number ``name``; of a time its milliseconds."""
        value: int = getattr(self.config, name)
        return value if self._runtime is None else self._runtime.get_integer(f"outlier_detection.{name}", value)

    def enforced(self, kind: EjectionType, random_value: int) -> bool:
        """Whether an outlier of this kind is ejected, which ``random_value`` decides."""
        name = ENFORCING[kind]
        per_cent: int = getattr(self.config, name)
        if self._runtime is None:
            return random_value % 100 < per_cent
        enabled: bool = self._runtime.feature_enabled(f"outlier_detection.{name}", per_cent, 100, random_value)
        return enabled
