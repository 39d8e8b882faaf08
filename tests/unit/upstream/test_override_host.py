"""Hosts asked for by address: health, strictness, who counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf.json_format import ParseDict

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import DEGRADED_ACTIVE_HC, FAILED_ACTIVE_HC, HostEntry
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer import common_config
from proxeny.upstream.override_host import DEFAULT_STATUSES, OverrideHost
from proxeny.upstream.stats import UPSTREAM_CX_NONE_HEALTHY
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

MakeHosts = Callable[..., list[Host]]
NAMES = ("UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED")


@pytest.fixture
def cluster(context: FactoryContext, dispatcher: Dispatcher) -> ThreadLocalCluster:
    endpoints = [
        {
            "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 10 + number}}},
            "health_status": name,
        }
        for number, name in enumerate(NAMES)
    ]
    message = {"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]}}
    return ThreadLocalCluster(cluster_config.compile(ParseDict(message, Cluster()), context), dispatcher)


def chosen(cluster: ThreadLocalCluster, address: str, strict: bool = True) -> int:
    host = cluster.choose_override_host(OverrideHost(address, strict), None)
    return 0 if host is None else host.entry.port


def test_health_decides(cluster: ThreadLocalCluster) -> None:
    assert [chosen(cluster, f"127.0.0.1:{10 + number}") for number in range(6)] == [10, 11, 0, 0, 0, 15]
    assert cluster.info.stats.get(UPSTREAM_CX_NONE_HEALTHY) == 3


def test_others_get_the_load_balancers_host(cluster: ThreadLocalCluster) -> None:
    assert chosen(cluster, "127.0.0.1:12", strict=False) in (10, 11, 15)
    assert chosen(cluster, "nonsense", strict=False) in (10, 11, 15)
    assert chosen(cluster, "nonsense") == 0


def test_hosts_that_come_and_go(cluster: ThreadLocalCluster) -> None:
    assert chosen(cluster, "127.0.0.1:99") == 0
    cluster.update_hosts([HostEntry("127.0.0.1", 99)])
    assert (chosen(cluster, "127.0.0.1:99"), chosen(cluster, "127.0.0.1:10")) == (99, 0)


@pytest.mark.parametrize(
    ("said", "flags", "status"),
    [(0, 0, 0), (1, 0, 1), (4, 0, 4), (1, FAILED_ACTIVE_HC, 2), (0, DEGRADED_ACTIVE_HC, 5), (3, DEGRADED_ACTIVE_HC, 3)],
)
def test_status_of_a_host(make_hosts: MakeHosts, said: int, flags: int, status: int) -> None:
    (host,) = make_hosts(entries=[HostEntry("127.0.0.1", 1, health_status=said, health_flags=flags)])
    assert host.health_status == status


@pytest.mark.parametrize(
    ("common", "statuses"),
    [
        ({}, DEFAULT_STATUSES),
        ({"override_host_status": {}}, frozenset()),
        ({"override_host_status": {"statuses": ["UNHEALTHY", "DRAINING"]}}, frozenset((2, 3))),
    ],
)
def test_statuses_that_are_allowed(common: dict[str, Any], statuses: frozenset[int]) -> None:
    assert common_config.compile(ParseDict(common, Cluster.CommonLbConfig())).override_statuses == statuses
