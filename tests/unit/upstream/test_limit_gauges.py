"""The gauges of circuit breakers, made of the shared counts."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf.json_format import ParseDict

from proxeny.network.factory_context import FactoryContext
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.upstream.main_cluster_manager import MainClusterManager

OPEN = {
    "connections": "cx_open",
    "pending_requests": "rq_pending_open",
    "requests": "rq_open",
    "retries": "rq_retry_open",
    "connection_pools": "cx_pool_open",
}
MOST = (1 << 64) - 1


class World:
    """Main with one cluster."""

    def __init__(self, priority: int = 0, **thresholds: Any) -> None:
        self.store = MainStore()
        self.manager = MainClusterManager(FactoryContext(role="main", stats=self.store))
        breakers = {"thresholds": [{"priority": ("DEFAULT", "HIGH")[priority], **thresholds}]}
        self.manager.add_static([ParseDict({"name": "c", "circuit_breakers": breakers}, cluster_pb2.Cluster())])
        found = self.manager.find("c")
        assert found is not None
        self.resources = found.config.info.resource_manager(priority)
        self.prefix = f"cluster.c.circuit_breakers.{('default', 'high')[priority]}."

    def gauges(self, *names: str) -> tuple[int | None, ...]:
        values = {value.name: value.value for value in StatsView(self.store).gauges()}
        return tuple(values.get(self.prefix + name) for name in names)

    def used(self) -> set[str]:
        view = StatsView(self.store).counters_and_gauges()
        return {value.name.removeprefix(self.prefix) for value in view if value.used and "_breakers" in value.name}


@pytest.mark.parametrize("resource", list(OPEN))
@pytest.mark.parametrize("priority", [0, 1])
def test_a_breaker_that_opens_and_closes(resource: str, priority: int) -> None:
    field = "max_" + resource
    world = World(priority, **{field: 1})
    limited = getattr(world.resources, resource)
    assert world.gauges(OPEN[resource]) == (0,)
    assert world.used() == set()
    limited.try_acquire()
    assert world.gauges(OPEN[resource]) == (1,)
    limited.dec()
    assert world.gauges(OPEN[resource]) == (0,)
    assert world.used() == {OPEN[resource]}


def test_a_limit_of_zero_is_never_seen_open() -> None:
    world = World(max_requests=0)
    assert not world.resources.requests.try_acquire()
    assert world.gauges("rq_open") == (0,)


def test_what_remains() -> None:
    world = World(max_requests=5, track_remaining=True)
    names = ("remaining_cx", "remaining_pending", "remaining_rq", "remaining_retries", "remaining_cx_pools")
    assert world.gauges(*names) == (1024, 1024, 5, 3, MOST)
    world.resources.requests.inc()
    world.resources.requests.inc()
    world.resources.connection_pools.inc()
    assert world.gauges("remaining_rq", "remaining_cx_pools") == (3, MOST - 1)
    for _ in range(4):
        world.resources.requests.inc()
    assert world.gauges("remaining_rq", "rq_open") == (0, 1)


def test_nothing_remains_under_a_budget() -> None:
    world = World(track_remaining=True, retry_budget={"min_retry_concurrency": 2})
    assert world.gauges("remaining_retries") == (3,)
    world.resources.retries.try_acquire()
    assert world.gauges("remaining_retries", "rq_retry_open") == (0, 0)


def test_a_cluster_that_goes_takes_its_gauges_along() -> None:
    world = World(track_remaining=True)
    assert world.gauges("remaining_cx_pools") == (MOST,)
    world.manager.on_cluster_removed = lambda name, table: world.manager.release_stats(table)
    assert world.manager.remove("c")
    assert world.gauges("remaining_cx_pools", "remaining_cx") == (None, None)
