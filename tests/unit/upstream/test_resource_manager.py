"""Circuit breakers: limits and gauges, across workers."""

from __future__ import annotations

import pytest

from proxeny.kernel.limits import LimitTable
from proxeny.stats.store import MainStore
from proxeny.upstream.resource_manager import ResourceManager, Thresholds, show_limits
from proxeny.upstream.stats import CLUSTER, REMAINING


def manager(thresholds: Thresholds, store: MainStore, priority: int = 0) -> ResourceManager:
    remaining = store.block(REMAINING, "r.") if thresholds.track_remaining else None
    if remaining is not None:
        show_limits(thresholds, remaining)
    return ResourceManager(priority, thresholds, LimitTable.create(1), 0, store.block(CLUSTER, "c."), remaining)


@pytest.mark.parametrize(
    ("resource", "field", "gauge"),
    [
        ("connections", "max_connections", "cx_open"),
        ("pending_requests", "max_pending_requests", "rq_pending_open"),
        ("requests", "max_requests", "rq_open"),
        ("retries", "max_retries", "rq_retry_open"),
    ],
)
@pytest.mark.parametrize("priority", [0, 1])
def test_open_gauges(resource: str, field: str, gauge: str, priority: int) -> None:
    store = MainStore()
    limited = getattr(manager(Thresholds(**{field: 1}), store, priority), resource)
    slot = CLUSTER.slot(f"circuit_breakers.{('default', 'high')[priority]}.{gauge}")
    block = store.block(CLUSTER, "c.")
    assert limited.can_create()
    limited.inc()
    assert (limited.can_create(), block.get(slot)) == (False, 1)
    limited.dec()
    assert (limited.can_create(), block.get(slot)) == (True, 0)


def test_remaining_gauges() -> None:
    store = MainStore()
    resources = manager(Thresholds(max_requests=5, track_remaining=True), store)
    block = store.block(REMAINING, "r.")
    assert block.get(REMAINING.slot("remaining_rq")) == 5
    resources.requests.inc()
    resources.requests.inc()
    assert block.get(REMAINING.slot("remaining_rq")) == 3
    resources.requests.dec()
    assert block.get(REMAINING.slot("remaining_rq")) == 4
    assert block.get(REMAINING.slot("remaining_cx")) == 1024


def test_zero_means_none() -> None:
    assert not manager(Thresholds(max_requests=0), MainStore()).requests.can_create()


def test_retry_budget_follows_the_load() -> None:
    resources = manager(Thresholds(budget_percent=50.0, min_retry_concurrency=1), MainStore())
    assert resources.retries.can_create()
    resources.retries.inc()
    assert not resources.retries.can_create()
    for _ in range(4):
        resources.requests.inc()
    assert resources.retries.max == 2
    assert resources.retries.can_create()
