"""OutlierDetection compiled: Envoy's defaults, its words, and what the runtime overrides."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from envoy.config.cluster.v3 import outlier_detection_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream.outlier import config
from proxeny.upstream.outlier.config import EjectionType, OutlierConfig, OutlierSettings


def compiled(**values: Any) -> OutlierConfig:
    return config.compile(json_format.ParseDict(values, outlier_detection_pb2.OutlierDetection()))


def test_every_field_but_the_monitors_is_compiled() -> None:
    names = {field.name.removesuffix("_ms") for field in fields(OutlierConfig)}
    known = {field.name for field in outlier_detection_pb2.OutlierDetection.DESCRIPTOR.fields}
    assert known - names <= {"monitors"}
    assert names - known <= {"detect_degraded_hosts"}


def test_defaults() -> None:
    assert compiled() == OutlierConfig()
    assert OutlierConfig().max_ejection_time_ms == 300_000
    assert OutlierConfig().successful_active_health_check_uneject_host


def test_values() -> None:
    made = compiled(
        interval="0.05s", base_ejection_time="1.5s", max_ejection_time_jitter="0.2s", consecutive_5xx=0,
        enforcing_success_rate=7, split_external_local_origin_errors=True, always_eject_one_host=True,
        successful_active_health_check_uneject_host=False,
    )  # fmt: skip
    assert (made.interval_ms, made.base_ejection_time_ms, made.max_ejection_time_jitter_ms) == (50, 1500, 200)
    assert (made.consecutive_5xx, made.enforcing_success_rate) == (0, 7)
    assert made.split_external_local_origin_errors and made.always_eject_one_host
    assert not made.successful_active_health_check_uneject_host


def test_the_longest_ejection_is_no_shorter_than_the_first() -> None:
    assert compiled(base_ejection_time="400s").max_ejection_time_ms == 400_000
    assert compiled(max_ejection_time="30s").max_ejection_time_ms == 30_000
    for values in ({"max_ejection_time": "29.999s"}, {"base_ejection_time": "2s", "max_ejection_time": "1s"}):
        with pytest.raises(ConfigError) as error:
            compiled(**values)
        assert str(error.value) == "outlier detector's max_ejection_time cannot be smaller than base_ejection_time"


def test_the_runtime_overrides() -> None:
    entries = {
        "outlier_detection.consecutive_5xx": make_entry(2),
        "outlier_detection.enforcing_consecutive_5xx": make_entry(50),
        "outlier_detection.enforcing_success_rate": make_entry({"numerator": 1, "denominator": "TEN_THOUSAND"}),
    }
    settings = OutlierSettings(OutlierConfig(), RuntimeReader(Snapshot(entries)))
    assert settings.integer("consecutive_5xx") == 2
    assert settings.integer("consecutive_gateway_failure") == 5
    assert [settings.enforced(EjectionType.CONSECUTIVE_5XX, value) for value in (49, 50, 149)] == [True, False, True]
    assert [settings.enforced(EjectionType.SUCCESS_RATE, value) for value in (0, 1, 10_000)] == [True, False, True]
    assert not settings.enforced(EjectionType.FAILURE_PERCENTAGE, 0)


def test_without_a_runtime() -> None:
    settings = OutlierSettings(compiled(enforcing_failure_percentage=30), None)
    assert settings.integer("interval_ms") == 10_000
    assert [settings.enforced(EjectionType.FAILURE_PERCENTAGE, value) for value in (29, 30)] == [True, False]
