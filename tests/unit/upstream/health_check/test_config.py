"""Health checks compiled: defaults, and what is refused (more of it in the differential verdicts)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from envoy.extensions.health_check.event_sinks.file.v3 import file_pb2

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import FAILED_ACTIVE_HC
from proxeny.upstream.health_check.config import HealthCheckConfig, Intervals

MakeCluster = Callable[..., Any]
CHECK = {"timeout": "1s", "interval": "2s", "unhealthy_threshold": 3, "healthy_threshold": 4}
KINDS = ("http_health_check", "tcp_health_check", "grpc_health_check", "custom_health_check")

TCP: dict[str, Any] = {"tcp_health_check": {}}


@pytest.fixture
def compile_checks(context: FactoryContext, static_cluster: MakeCluster) -> Callable[..., list[HealthCheckConfig]]:
    def compile_them(*checks: dict[str, Any]) -> list[HealthCheckConfig]:
        made = [{**CHECK, **({} if any(kind in check for kind in KINDS) else TCP), **check} for check in checks]
        proto = static_cluster("c", 1, health_checks=made)
        return cluster_config.compile(proto, context).health_checks

    return compile_them


def test_defaults(compile_checks: Any) -> None:
    (check,) = compile_checks({})
    assert check.intervals == Intervals(2000, 2000, 2000, 2000, 60_000, 60_000, 0, 0, 0)
    assert (check.timeout_ms, check.unhealthy_threshold, check.healthy_threshold) == (1000, 3, 4)
    assert check.log_paths == ()
    assert not check.log_failures


def test_intervals_default_to_each_other(compile_checks: Any) -> None:
    (check,) = compile_checks({"unhealthy_interval": "5s", "no_traffic_interval": "7s"})
    assert check.intervals.unhealthy_edge == 5000
    assert check.intervals.no_traffic_healthy == 7000


def test_where_events_go(compile_checks: Any) -> None:
    sink = {
        "name": "file",
        "typed_config": {
            "@type": f"type.googleapis.com/{file_pb2.HealthCheckEventFileSink.DESCRIPTOR.full_name}",
            "event_log_path": "/b",
        },
    }
    (check,) = compile_checks({"event_log_path": "/a", "event_logger": [sink]})
    assert check.log_paths == ("/a", "/b")


def test_a_worker_knows_only_that_hosts_start_unchecked(context: FactoryContext, static_cluster: MakeCluster) -> None:
    context.role = "worker"
    config = cluster_config.compile(static_cluster("c", 1, health_checks=[{**CHECK, **TCP}]), context)
    assert config.health_checks == []
    assert config.info.health_checked
    assert [entry.health_flags for entry in config.hosts] == [FAILED_ACTIVE_HC]


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ([{}, {}], "health check at index 0 is missing a name"),
        ([{"name": "a"}, {"name": "a"}], "duplicate health check name 'a' at index 1"),
        ([{"custom_health_check": {"name": "x"}}], "Didn't find a registered implementation for 'x' with type URL: ''"),
        ([{"grpc_health_check": {}}], "c cluster must support HTTP/2 for gRPC healthchecking"),
        ([{"tcp_health_check": {"send": {"text": "x"}}}], "invalid hex string 'x'"),
        (
            [{"http_health_check": {"path": "/", "send": {"text": "00"}, "method": "HEAD"}}],
            "HTTP health check cannot specify a request payload with method 'HEAD'",
        ),
    ],
)
def test_refused(compile_checks: Any, checks: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        compile_checks(*checks)


def test_refused_by_name(compile_checks: Any) -> None:
    for check in (
        {"custom_health_check": {"name": "envoy.health_checkers.redis"}},
        {"event_service": {"grpc_service": {"envoy_grpc": {"cluster_name": "c"}}}},
        {"http_health_check": {"path": "/", "codec_client_type": "HTTP3"}},
    ):
        with pytest.raises(UnsupportedFieldError):
            compile_checks(check)
