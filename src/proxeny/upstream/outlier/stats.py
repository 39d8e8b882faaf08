"""The statistics of outlier detection; prefix ``cluster.<observability name>.outlier_detection.``."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema
from proxeny.upstream.outlier.config import EjectionType

OUTLIER: Final = Schema(
    "cluster_outlier_detection",
    counters=(
        "ejections_consecutive_5xx",
        "ejections_detected_consecutive_5xx",
        "ejections_detected_consecutive_gateway_failure",
        "ejections_detected_consecutive_local_origin_failure",
        "ejections_detected_degradation",
        "ejections_detected_failure_percentage",
        "ejections_detected_local_origin_failure_percentage",
        "ejections_detected_local_origin_success_rate",
        "ejections_detected_success_rate",
        "ejections_enforced_consecutive_5xx",
        "ejections_enforced_consecutive_gateway_failure",
        "ejections_enforced_consecutive_local_origin_failure",
        "ejections_enforced_failure_percentage",
        "ejections_enforced_local_origin_failure_percentage",
        "ejections_enforced_local_origin_success_rate",
        "ejections_enforced_success_rate",
        "ejections_enforced_total",
        "ejections_overflow",
        "ejections_success_rate",
        "ejections_total",
    ),
    gauges=("ejections_active",),
)
EJECTIONS_ACTIVE: Final = OUTLIER.slot("ejections_active")
EJECTIONS_ENFORCED_TOTAL: Final = OUTLIER.slot("ejections_enforced_total")
EJECTIONS_OVERFLOW: Final = OUTLIER.slot("ejections_overflow")
EJECTIONS_TOTAL: Final = OUTLIER.slot("ejections_total")
EJECTIONS_CONSECUTIVE_5XX: Final = OUTLIER.slot("ejections_consecutive_5xx")
EJECTIONS_SUCCESS_RATE: Final = OUTLIER.slot("ejections_success_rate")
"""The last three are deprecated, and counted as Envoy still counts them."""

_WORDS: Final = {
    EjectionType.CONSECUTIVE_5XX: "consecutive_5xx",
    EjectionType.CONSECUTIVE_GATEWAY_FAILURE: "consecutive_gateway_failure",
    EjectionType.SUCCESS_RATE: "success_rate",
    EjectionType.CONSECUTIVE_LOCAL_ORIGIN_FAILURE: "consecutive_local_origin_failure",
    EjectionType.SUCCESS_RATE_LOCAL_ORIGIN: "local_origin_success_rate",
    EjectionType.FAILURE_PERCENTAGE: "failure_percentage",
    EjectionType.FAILURE_PERCENTAGE_LOCAL_ORIGIN: "local_origin_failure_percentage",
}
ENFORCED: Final = {kind: OUTLIER.slot(f"ejections_enforced_{words}") for kind, words in _WORDS.items()}
DETECTED: Final = {
    **{kind: OUTLIER.slot(f"ejections_detected_{words}") for kind, words in _WORDS.items()},
    EjectionType.DEGRADED: OUTLIER.slot("ejections_detected_degradation"),
}
