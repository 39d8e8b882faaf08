"""What tests of clusters share: contexts, hosts and cluster messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.common_config import DEFAULT, CommonLbConfig
from proxeny.upstream.load_balancer.contract import LbPolicy, LbSetting, LoadBalancer
from proxeny.upstream.priority_set import PrioritySet


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    dispatcher = Dispatcher()
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def context(dispatcher: Dispatcher) -> FactoryContext:
    return FactoryContext(role="main", stats=MainStore(), dispatcher=dispatcher)


@pytest.fixture
def make_hosts(context: FactoryContext) -> Callable[..., list[Host]]:
    """Hosts of a fresh cluster: one per given entry, or per weight."""

    def make(*weights: int, entries: list[HostEntry] | None = None) -> list[Host]:
        proto = json_format.ParseDict({"name": "c"}, cluster_pb2.Cluster())
        info = cluster_config.compile(proto, context).info
        if entries is None:
            entries = [HostEntry("127.0.0.1", 1000 + i, weight=weight) for i, weight in enumerate(weights)]
        return [Host(info, entry, info.host_stats(i)) for i, entry in enumerate(entries)]

    return make


@pytest.fixture
def make_balancer(context: FactoryContext) -> Callable[..., LoadBalancer]:
    """The load balancer of a policy over the hosts of ``make_hosts``; ``members`` when they are not all in it."""

    def make(
        policy: LbPolicy, hosts: list[Host], members: PrioritySet | None = None, common: CommonLbConfig = DEFAULT
    ) -> LoadBalancer:
        if members is None:
            members = PrioritySet()
            members.update(hosts)
        made = policy.create(LbSetting(hosts[0].cluster, common, members, context))
        made.refresh()
        return made

    return make


def static_cluster(name: str, *ports: int, **fields: Any) -> Any:
    """A STATIC cluster message with loopback endpoints."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    return json_format.ParseDict(
        {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}, **fields},
        cluster_pb2.Cluster(),
    )


@pytest.fixture(name="static_cluster")
def static_cluster_fixture() -> Callable[..., Any]:
    return static_cluster
