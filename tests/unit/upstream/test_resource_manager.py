"""Circuit breakers: thresholds, budgets, what the runtime overrides."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import circuit_breaker_pb2
from google.protobuf.json_format import ParseDict

from proxeny.kernel.limits import LimitTable
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream.resource_manager import (
    COUNTABLE,
    NO_LIMIT,
    ResourceManager,
    Thresholds,
    parse_per_host,
    parse_thresholds,
)


def manager(thresholds: Thresholds, priority: int = 0, runtime: Any = None) -> ResourceManager:
    return ResourceManager("c", priority, thresholds, LimitTable.create(1), 0, runtime)


def overriding(**values: float) -> RuntimeReader:
    entries = {f"circuit_breakers.c.default.{name}": make_entry(value) for name, value in values.items()}
    return RuntimeReader(Snapshot(entries))


@pytest.mark.parametrize(
    ("resource", "field"),
    [
        ("connections", "max_connections"),
        ("pending_requests", "max_pending_requests"),
        ("requests", "max_requests"),
        ("retries", "max_retries"),
        ("connection_pools", "max_connection_pools"),
    ],
)
@pytest.mark.parametrize("priority", [0, 1])
def test_each_limit(resource: str, field: str, priority: int) -> None:
    limited = getattr(manager(Thresholds(**{field: 1}), priority), resource)
    assert limited.can_create()
    assert limited.try_acquire()
    assert not limited.can_create()
    assert not limited.try_acquire()
    assert limited.count == 1
    limited.dec()
    assert limited.try_acquire()


def test_resources_and_priorities_are_counted_apart() -> None:
    table = LimitTable.create(1)
    made = [ResourceManager("c", priority, Thresholds(), table, 0) for priority in (0, 1)]
    made[0].requests.inc()
    made[0].retries.inc()
    names = ("connections", "pending_requests", "requests", "retries", "connection_pools")
    assert [getattr(made[0], name).count for name in names] == [0, 0, 1, 1, 0]
    assert [getattr(made[1], name).count for name in names] == [0] * 5


def test_zero_means_none() -> None:
    assert not manager(Thresholds(max_requests=0)).requests.try_acquire()


def test_retry_budget_follows_the_load() -> None:
    resources = manager(Thresholds(budget_percent=50.0, min_retry_concurrency=1))
    assert resources.retries.try_acquire()
    assert not resources.retries.can_create()
    for _ in range(4):
        resources.requests.inc()
    assert resources.retries.max == 2
    assert resources.retries.try_acquire()
    assert not resources.retries.try_acquire()


def test_the_runtime_overrides_limits() -> None:
    resources = manager(Thresholds(), runtime=overriding(max_requests=7, max_retries=0, max_connection_pools=2))
    assert (resources.requests.max, resources.retries.max, resources.connection_pools.max) == (7, 0, 2)
    assert resources.counts_pools
    assert resources.connections.max == 1024
    resources.apply(RuntimeReader(Snapshot({})))
    assert (resources.requests.max, resources.retries.max, resources.connection_pools.max) == (1024, 3, COUNTABLE)
    assert not resources.counts_pools


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        ({"retry_budget.budget_percent": 100.0}, 10),
        ({"retry_budget.budget_percent": 50.0, "retry_budget.min_retry_concurrency": 8}, 8),
        ({"retry_budget.min_retry_concurrency": 1}, 2),
    ],
)
def test_the_runtime_brings_a_budget(keys: dict[str, float], most: int) -> None:
    resources = manager(Thresholds(max_retries=1), runtime=overriding(**keys))
    for _ in range(10):
        resources.requests.inc()
    assert (resources.retries.budget, resources.retries.max) == (True, most)


def test_thresholds_of_a_message() -> None:
    thresholds = [
        {"max_requests": 5, "max_connection_pools": 9, "track_remaining": True, "retry_budget": {}},
        {"max_requests": 6},
        {"priority": "HIGH", "max_retries": 4},
    ]
    default, high = parse_thresholds(ParseDict({"thresholds": thresholds}, circuit_breaker_pb2.CircuitBreakers()))
    assert default == Thresholds(
        max_requests=5, max_connection_pools=9, track_remaining=True, budget_percent=20.0, min_retry_concurrency=3
    )
    assert high == Thresholds(max_retries=4)


def test_thresholds_per_host() -> None:
    per_host = [{"max_connections": 3}, {"max_connections": 4}, {"priority": "HIGH"}]
    proto = ParseDict({"per_host_thresholds": per_host}, circuit_breaker_pb2.CircuitBreakers())
    assert parse_per_host(proto) == (3, NO_LIMIT)
