"""Which hosts can be used, and how one of them is chosen."""

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf.json_format import ParseDict

from proxeny.explain.hosts import ClusterView, cluster_view
from proxeny.explain.rehearsal import Rehearsal, RehearsalDispatcher
from proxeny.explain.rehearsal_upstream import RehearsalClusters
from proxeny.explain.world import KnownCluster
from proxeny.kernel.outlier import OutlierTable
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config


def view(*healths: str, priorities: tuple[int, ...] = (), **fields: Any) -> ClusterView:
    priorities = priorities or (0,) * len(healths)
    endpoints = [
        {
            "priority": priority,
            "lb_endpoints": [
                {
                    "health_status": health,
                    "endpoint": {"address": {"socket_address": {"address": f"10.0.0.{at}", "port_value": 80}}},
                }
                for at, (health, own) in enumerate(zip(healths, priorities, strict=True))
                if own == priority
            ],
        }
        for priority in sorted(set(priorities))
    ]
    message = ParseDict(
        {"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": endpoints}, **fields}, Cluster()
    )
    context = FactoryContext("main", MainStore())
    hosts = cluster_config.compile(message, context).hosts
    world: Any = SimpleNamespace(cluster=lambda name: KnownCluster(message, hosts) if name == "c" else None)
    return cluster_view("c", RehearsalClusters(world, context, RehearsalDispatcher()), world)


def test_a_rehearsal_counts_nothing_for_outlier_detection() -> None:
    table = OutlierTable.create()
    message = HttpConnectionManager()
    context = FactoryContext("main", MainStore(), outliers=table)
    rehearsal = Rehearsal(message, SimpleNamespace(cluster=lambda name: None), context)  # type: ignore[arg-type]
    assert rehearsal.context.outliers is None
    rehearsal.close()


@pytest.mark.parametrize(
    ("healths", "choice"),
    [
        ((), "it has no hosts"),
        (("HEALTHY",), "10.0.0.0:80: the only host that can be used"),
        (("HEALTHY", "HEALTHY", "HEALTHY"), "round_robin among 3 hosts: any of them"),
        (("HEALTHY", "HEALTHY", "UNHEALTHY"), "round_robin among 2 hosts: any of them"),
        (("UNHEALTHY", "DRAINING", "HEALTHY"), "panic (too few are healthy): round_robin among 3 hosts: any of them"),
    ],
)
def test_choices(healths: tuple[str, ...], choice: str) -> None:
    assert view(*healths).choice == choice


def test_priorities() -> None:
    found = view("UNHEALTHY", "HEALTHY", priorities=(0, 1))
    assert [(one.priority, one.load, one.panic) for one in found.sets] == [(0, 0, False), (1, 100, False)]
    assert [(one.address, one.usable) for one in found.hosts] == [("10.0.0.0:80", False), ("10.0.0.1:80", True)]
    assert found.hosts[0].health == "/failed_eds_health"


def test_without_panic() -> None:
    found = view("UNHEALTHY", common_lb_config={"healthy_panic_threshold": {"value": 0}}, lb_policy="LEAST_REQUEST")
    assert (found.choice, found.policy) == ("no host can be used", "least_request")


def test_an_unknown_cluster() -> None:
    world: Any = SimpleNamespace(cluster=lambda name: None)
    context = FactoryContext("main", MainStore())
    assert not cluster_view("x", RehearsalClusters(world, context, RehearsalDispatcher()), world).found
