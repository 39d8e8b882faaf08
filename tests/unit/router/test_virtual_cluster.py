"""Statistics of virtual clusters and routes."""

from __future__ import annotations

from proxeny.network.factory_context import FactoryContext
from proxeny.router.virtual_cluster import TIMEOUT, VirtualCluster, route_stats, with_route_stats
from proxeny.stats.store import MainStore

CONTEXT = FactoryContext("main", MainStore())


def test_a_route_without_prefix_has_none() -> None:
    assert route_stats("v", "", CONTEXT) is None
    assert with_route_stats(None, None) is None


def test_both_are_counted() -> None:
    route = route_stats("v", "r", CONTEXT)
    cluster = VirtualCluster("v", "c", (), CONTEXT)
    assert with_route_stats(route, None) is route
    assert with_route_stats(None, cluster) is cluster
    both = with_route_stats(route, cluster)
    both.stats.inc(TIMEOUT)
    assert route is not None
    assert route.stats.get(TIMEOUT) == cluster.stats.get(TIMEOUT) == 1
    both.charge_code(404)
    both.charge_time(5)
