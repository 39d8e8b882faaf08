"""Counting of response codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.network.factory_context import FactoryContext
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream import cluster_config
from proxeny.upstream.stats import UPSTREAM_RQ_COMPLETED


def test_response_codes(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    info = cluster_config.compile(static_cluster("c", 1), context).info
    info.charge_response_code(200, internal=False)
    info.charge_response_code(503, internal=True, canary=True)
    dynamic = info.dynamic
    for name in ("upstream_rq_200", "upstream_rq_2xx", "external.upstream_rq_200", "external.upstream_rq_completed"):
        assert dynamic.get(name) == 1, name
    for name in (
        "upstream_rq_503",
        "internal.upstream_rq_5xx",
        "canary.upstream_rq_503",
        "canary.upstream_rq_completed",
    ):
        assert dynamic.get(name) == 1, name
    # Eager in Envoy, so it is the block's and not listed twice.
    assert info.stats.get(UPSTREAM_RQ_COMPLETED) == 2
    assert dynamic.get("upstream_rq_completed") == 0


def test_maintenance_and_limits_follow_the_runtime(context: FactoryContext, static_cluster: Callable[..., Any]) -> None:
    runtime = context.runtime = RuntimeReader()
    info = cluster_config.compile(static_cluster("c", 1), context).info
    requests = info.resource_manager(0).requests
    assert not info.in_maintenance()
    assert requests.max == 1024
    runtime.snapshot = Snapshot(
        {
            "upstream.maintenance_mode.c": make_entry(100),
            "circuit_breakers.c.default.max_requests": make_entry(7),
            "circuit_breakers.c.high.max_retries": make_entry(8),
        }
    )
    assert info.in_maintenance()
    assert requests.max == 7
    assert info.resource_manager(1).retries.max == 8
    runtime.snapshot = Snapshot()
    assert not info.in_maintenance()
    assert requests.max == 1024
