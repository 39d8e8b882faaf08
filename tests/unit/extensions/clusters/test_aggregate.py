"""Priorities of several clusters in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2 as aggregate_pb2  # noqa: F401
from google.protobuf import json_format

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.priority_load import PriorityLoad

CONFIG = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


@pytest.fixture
def manager() -> Iterator[ClusterManager]:
    extensions.install()
    dispatcher = Dispatcher()
    context = FactoryContext(role="worker", stats=MainStore(), dispatcher=dispatcher)
    made = context.cluster_manager = ClusterManager(context)
    yield made
    made.close()
    dispatcher.close()


def static(name: str, *priorities: list[tuple[int, str]]) -> Any:
    """A cluster; of each priority (port, health status) of its hosts."""
    groups = [
        {
            "priority": priority,
            "lb_endpoints": [
                {
                    "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}},
                    "health_status": status,
                }
                for port, status in hosts
            ],
        }
        for priority, hosts in enumerate(priorities)
        if hosts
    ]
    return json_format.ParseDict(
        {"name": name, "load_assignment": {"cluster_name": name, "endpoints": groups}}, cluster_pb2.Cluster()
    )


def aggregate(name: str, *clusters: str) -> Any:
    custom = {"name": "envoy.clusters.aggregate", "typed_config": {"@type": CONFIG, "clusters": clusters}}
    return json_format.ParseDict(
        {"name": name, "lb_policy": "CLUSTER_PROVIDED", "cluster_type": custom}, cluster_pb2.Cluster()
    )


def chosen(manager: ClusterManager, name: str, times: int = 400) -> Counter[int]:
    cluster = manager.get(name)
    assert cluster is not None
    hosts = [cluster.choose_host(None) for _ in range(times)]
    return Counter(host.address.port for host in hosts if host is not None)


def test_the_first_that_is_healthy(manager: ClusterManager) -> None:
    for one in (static("a", [(1, "UNHEALTHY")], [(2, "HEALTHY")]), static("b", [(3, "HEALTHY")])):
        manager.add_or_update(one)
    manager.add_or_update(aggregate("all", "a", "b"))
    assert chosen(manager, "all").keys() == {2}


def test_load_spills_over(manager: ClusterManager) -> None:
    # Half of a's hosts: 140 % of 50 % is 70 %.
    manager.add_or_update(static("a", [(1, "HEALTHY"), (2, "UNHEALTHY")]))
    manager.add_or_update(static("b", [(3, "HEALTHY")]))
    manager.add_or_update(aggregate("all", "a", "b"))
    counts = chosen(manager, "all", 2000)
    assert 1200 < counts[1] < 1600
    assert counts.keys() == {1, 3}


def test_degraded_hosts_come_last(manager: ClusterManager) -> None:
    manager.add_or_update(static("a", [(1, "DEGRADED")]))
    manager.add_or_update(static("b", [(3, "HEALTHY")]))
    manager.add_or_update(aggregate("all", "a", "b"))
    assert chosen(manager, "all").keys() == {3}
    manager.remove("b")
    assert chosen(manager, "all").keys() == {1}


def test_clusters_change_behind_it(manager: ClusterManager) -> None:
    manager.add_or_update(aggregate("all", "a", "all", "b"))
    assert not chosen(manager, "all", 10)
    manager.add_or_update(static("b", [(3, "HEALTHY")]))
    assert chosen(manager, "all", 10).keys() == {3}
    manager.add_or_update(static("a", [(1, "HEALTHY")]))
    assert chosen(manager, "all", 10).keys() == {1}
    manager.remove("all")
    assert not manager.change_callbacks


def test_two_aggregates_of_each_other_end(manager: ClusterManager) -> None:
    manager.add_or_update(aggregate("x", "y"))
    manager.add_or_update(aggregate("y", "x"))
    assert not chosen(manager, "x", 1)


def test_retries_see_the_row(manager: ClusterManager) -> None:
    manager.add_or_update(static("a", [(1, "HEALTHY")]))
    manager.add_or_update(static("b", [], [(3, "HEALTHY")]))
    manager.add_or_update(aggregate("all", "a", "b"))
    cluster = manager.get("all")
    assert cluster is not None
    seen: list[Any] = []

    def second(row: Any, load: PriorityLoad) -> PriorityLoad:
        seen.append((len(row.host_sets), load.healthy))
        return PriorityLoad([0, 100], [0, 0], [False, False])

    host: Host | None = cluster.choose_host_by(second, None)
    assert host is not None
    assert host.address.port == 3
    assert seen == [(2, [100, 0])]


def test_pools_are_those_of_the_hosts_cluster(manager: ClusterManager) -> None:
    manager.add_or_update(static("a", [(1, "HEALTHY")]))
    manager.add_or_update(aggregate("all", "a"))
    own, whole = manager.get("a"), manager.get("all")
    assert own is not None
    assert whole is not None
    host = whole.choose_host(None)
    assert host is not None
    assert whole.http_pool(host, 0) is own.http_pool(host, 0)
    assert whole.tcp_pool(host, 0) is own.tcp_pool(host, 0)
