"""Localities: their weights, zone-aware routing, priorities that count weights or leave hosts out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.bootstrap.v3.bootstrap_pb2 import ClusterManager as ClusterManagerConfig
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Locality, Node
from google.protobuf.json_format import ParseDict

from proxeny.extensions.load_balancing_policies.round_robin import RoundRobin
from proxeny.network.factory_context import FactoryContext, LocalInfo
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.endpoints import (
    DEGRADED_EDS_HEALTH,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_EDS_HEALTH,
    PENDING_ACTIVE_HC,
    HostEntry,
    HostUpdate,
)
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.common_config import DEFAULT
from proxeny.upstream.load_balancer.contract import LbSetting
from proxeny.upstream.load_balancer.locality_config import LocalityConfig
from proxeny.upstream.load_balancer.locality_scheduler import effective_weights
from proxeny.upstream.load_balancer.priority_load import calculate
from proxeny.upstream.localities import our_locality
from proxeny.upstream.priority_set import HostSet, PrioritySet
from proxeny.upstream.stats import (
    LB_LOCAL_CLUSTER_NOT_OK,
    LB_RECALCULATE_ZONE_STRUCTURES,
    LB_ZONE_CLUSTER_TOO_SMALL,
    LB_ZONE_ROUTING_ALL_DIRECTLY,
    LB_ZONE_ROUTING_CROSS_ZONE,
    LB_ZONE_ROUTING_SAMPLED,
)

MakeHosts = Callable[..., list[Host]]
OURS = ("r", "a", "")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    random.seed(5)


def entries(**zones: int) -> list[HostEntry]:
    """So many hosts per zone."""
    return [
        HostEntry("127.0.0.1", 1000 + 100 * at + i, region="r", zone=zone)
        for at, (zone, count) in enumerate(zones.items())
        for i in range(count)
    ]


def priority_set(hosts: list[Host], **options: Any) -> PrioritySet:
    made = PrioritySet(local=OURS, **options)
    made.update(hosts)
    return made


class Zones:
    """A balancer over hosts by zone, with a local cluster."""

    def __init__(
        self,
        make_hosts: MakeHosts,
        context: FactoryContext,
        upstream: dict[str, int],
        local: dict[str, int],
        config: LocalityConfig = LocalityConfig(min_cluster_size=1),  # noqa: B008
        **runtime: Any,
    ) -> None:
        self.hosts = make_hosts(entries=entries(**upstream))
        fellows = priority_set(make_hosts(entries=entries(**local)))
        if runtime:
            values = {key.replace("__", "."): make_entry(value) for key, value in runtime.items()}
            context = replace(context, runtime=RuntimeReader(Snapshot(values)))
        self.stats = self.hosts[0].cluster.stats
        setting = LbSetting(self.hosts[0].cluster, DEFAULT, priority_set(self.hosts), context, lambda: fellows)
        self.lb: ZoneAwareLoadBalancer = RoundRobin(locality=config).create(setting)
        self.lb.refresh()

    def picks(self, count: int) -> dict[str, int]:
        chosen = Counter(host.locality[1] for _ in range(count) if (host := self.lb.choose_host(None)) is not None)
        return dict(chosen)


def test_all_stay_where_our_zone_has_room(make_hosts: MakeHosts, context: FactoryContext) -> None:
    zones = Zones(make_hosts, context, {"a": 2, "b": 2}, {"a": 1, "b": 1})
    assert zones.picks(50) == {"a": 50}
    assert zones.stats.get(LB_ZONE_ROUTING_ALL_DIRECTLY) == 50
    assert zones.stats.get(LB_RECALCULATE_ZONE_STRUCTURES) == 1


def test_the_rest_goes_where_others_have_room(make_hosts: MakeHosts, context: FactoryContext) -> None:
    # We are half of the callers with a quarter of the hosts: half of our requests stay.
    zones = Zones(make_hosts, context, {"a": 1, "b": 3}, {"a": 1, "b": 1})
    assert zones.lb._zones is not None
    assert zones.lb._zones.statistics() == {"direct": False, "local_share": 5000, "residual": [0, 2500]}
    picks = zones.picks(4000)
    assert abs(picks["a"] - 2000) < 130
    assert zones.stats.get(LB_ZONE_ROUTING_SAMPLED) == picks["a"]
    assert zones.stats.get(LB_ZONE_ROUTING_CROSS_ZONE) == picks["b"]


@pytest.mark.parametrize(
    ("upstream", "local", "counter"),
    [
        ({"a": 2}, {"a": 1, "b": 1}, None),
        ({"a": 2, "b": 2}, {"a": 1}, None),
        ({"a": 2, "b": 2}, {"b": 1, "c": 1}, LB_LOCAL_CLUSTER_NOT_OK),
        ({"a": 1, "b": 1}, {"a": 1, "b": 1}, LB_ZONE_CLUSTER_TOO_SMALL),
    ],
)
def test_where_zones_do_not_matter(
    make_hosts: MakeHosts,
    context: FactoryContext,
    upstream: dict[str, int],
    local: dict[str, int],
    counter: int | None,
) -> None:
    zones = Zones(make_hosts, context, upstream, local, LocalityConfig(min_cluster_size=3))
    count = sum(upstream.values())
    assert zones.picks(count) == upstream
    assert zones.lb.always_finds
    assert [slot for slot in (LB_LOCAL_CLUSTER_NOT_OK, LB_ZONE_CLUSTER_TOO_SMALL) if zones.stats.get(slot)] == (
        [] if counter is None else [counter]
    )


def test_forced_into_our_zone(make_hosts: MakeHosts, context: FactoryContext) -> None:
    forced = LocalityConfig(min_cluster_size=1, force_local_min_size=2)
    assert Zones(make_hosts, context, {"a": 2, "b": 9}, {"a": 1}, forced).picks(20) == {"a": 20}
    assert Zones(make_hosts, context, {"a": 1, "b": 9}, {"a": 1, "b": 1}, forced).picks(100).get("b", 0) > 50


def test_runtime_has_its_say(make_hosts: MakeHosts, context: FactoryContext) -> None:
    off = Zones(make_hosts, context, {"a": 2, "b": 2}, {"a": 1, "b": 1}, upstream__zone_routing__enabled=0)
    assert off.picks(40) == {"a": 20, "b": 20}
    small = Zones(make_hosts, context, {"a": 2, "b": 2}, {"a": 1, "b": 1}, upstream__zone_routing__min_cluster_size=5)
    assert small.picks(40) == {"a": 20, "b": 20}
    key = {"upstream__zone_routing__force_local_zone__min_size": 1}
    assert Zones(make_hosts, context, {"a": 1, "b": 9}, {"a": 1}, **key).picks(20) == {"a": 20}


def test_half_of_the_requests(make_hosts: MakeHosts, context: FactoryContext) -> None:
    half = LocalityConfig(min_cluster_size=1, routing_enabled=50)
    picks = Zones(make_hosts, context, {"a": 2, "b": 2}, {"a": 1, "b": 1}, half).picks(4000)
    assert abs(picks["a"] - 3000) < 130


def test_a_local_cluster_in_panic(make_hosts: MakeHosts, context: FactoryContext) -> None:
    for fail, expected in ((False, {"a": 20, "b": 20}), (True, {})):
        config = LocalityConfig(min_cluster_size=1, fail_traffic_on_panic=fail)
        zones = Zones(make_hosts, context, {"a": 2, "b": 2}, {"a": 2, "b": 1}, config)
        fellows = zones.lb._setting.local_hosts()
        assert fellows is not None
        for host in fellows.hosts()[1:]:
            host.set_health_flags(FAILED_EDS_HEALTH)
        fellows.refresh({0})
        zones.lb.refresh()
        before = zones.stats.get(LB_LOCAL_CLUSTER_NOT_OK)
        assert zones.picks(40) == expected
        assert zones.stats.get(LB_LOCAL_CLUSTER_NOT_OK) == before + 40


def weighted(make_hosts: MakeHosts, context: FactoryContext, hosts: list[HostEntry]) -> ZoneAwareLoadBalancer:
    made = make_hosts(entries=hosts)
    setting = LbSetting(made[0].cluster, DEFAULT, priority_set(made), context)
    lb = RoundRobin(locality=LocalityConfig(weighted=True)).create(setting)
    lb.refresh()
    return lb


def test_localities_by_weight(make_hosts: MakeHosts, context: FactoryContext) -> None:
    hosts = entries(a=1, b=3, c=2)
    for entry, weight in zip(hosts, (1, 3, 3, 3, 0, 0), strict=True):
        entry.locality_weight = weight
    lb = weighted(make_hosts, context, hosts)
    picks = Counter(host.locality[1] for _ in range(400) if (host := lb.choose_host(None)) is not None)
    assert abs(picks["a"] - 100) <= 1
    assert picks["c"] == 0


def test_a_locality_loses_weight_with_its_hosts(make_hosts: MakeHosts) -> None:
    hosts = entries(a=2, b=2)
    for entry in hosts:
        entry.locality_weight = 10
    hosts[0].health_flags = FAILED_EDS_HEALTH
    hosts[2].health_flags = PENDING_ACTIVE_HC | FAILED_EDS_HEALTH
    made = HostSet(0, make_hosts(entries=hosts))
    # Half of a's hosts at 140 %, all of those that count of b's.
    assert effective_weights(made, made.localities.healthy) == [pytest.approx(7.0), pytest.approx(10.0)]


def test_our_locality_is_first_and_others_are_in_order(make_hosts: MakeHosts) -> None:
    made = priority_set(make_hosts(entries=entries(c=1, a=2, b=1))).host_sets[0].localities
    assert made.names == [("r", "a", ""), ("r", "b", ""), ("r", "c", "")]
    assert made.has_local
    alone = HostSet(0, make_hosts(entries=entries(c=1, b=1)), local=OURS).localities
    assert (alone.names, alone.has_local) == ([("r", "b", ""), ("r", "c", "")], False)
    node = Node(locality=Locality(region="r", zone="a"))
    assert our_locality(LocalInfo(node=node)) == OURS
    assert our_locality(LocalInfo(node=Node())) is None


def test_priorities_that_count_weights(make_hosts: MakeHosts) -> None:
    hosts = [
        HostEntry("127.0.0.1", 1, weight=1, health_flags=FAILED_EDS_HEALTH),
        HostEntry("127.0.0.1", 2, weight=9),
        HostEntry("127.0.0.1", 3, priority=1),
    ]
    made = make_hosts(entries=hosts)
    assert calculate(priority_set(made).host_sets, 50).healthy == [70, 30]
    assert calculate(priority_set(made, weighted_health=True).host_sets, 50).healthy == [100, 0]


def test_excluded_hosts_do_not_count(make_hosts: MakeHosts) -> None:
    flags = (0, EXCLUDED_VIA_IMMEDIATE_HC_FAIL | FAILED_EDS_HEALTH, PENDING_ACTIVE_HC | FAILED_EDS_HEALTH)
    hosts = [HostEntry("127.0.0.1", port, health_flags=flag) for port, flag in enumerate(flags, 1)]
    load = calculate(priority_set(make_hosts(entries=hosts)).host_sets, 50)
    assert load == ([100], [0], [False])


def test_degraded_localities(make_hosts: MakeHosts, context: FactoryContext) -> None:
    hosts = entries(a=1, b=1)
    for entry, weight in zip(hosts, (1, 3), strict=True):
        entry.locality_weight = weight
        entry.health_flags = DEGRADED_EDS_HEALTH
    lb = weighted(make_hosts, context, hosts)
    picks = Counter(host.locality[1] for _ in range(400) if (host := lb.choose_host(None)) is not None)
    assert abs(picks["a"] - 100) <= 1


def zoned(name: str, **zones: int) -> Cluster:
    groups = [
        {
            "locality": {"region": "r", "zone": zone},
            "lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
                for port in range(1000 + 100 * at, 1000 + 100 * at + count)
            ],
        }
        for at, (zone, count) in enumerate(zones.items())
    ]
    common = {"zone_aware_lb_config": {"min_cluster_size": 1}}
    assignment = {"cluster_name": name, "endpoints": groups}
    return ParseDict({"name": name, "load_assignment": assignment, "common_lb_config": common}, Cluster())


def test_changes_of_the_local_cluster_reach_the_others(context: FactoryContext) -> None:
    node = Node(locality=Locality(region="r", zone="a"))
    bootstrap = Bootstrap(cluster_manager=ClusterManagerConfig(local_cluster_name="us"), node=node)
    worker = replace(context, role="worker", bootstrap=bootstrap, local_info=LocalInfo(node=node))
    manager = ClusterManager(worker)
    manager.add_or_update(zoned("us", a=1, b=1))
    manager.add_or_update(zoned("them", a=2, b=2))
    cluster = manager.get("them")
    assert cluster is not None

    def zones() -> set[str]:
        return {host.locality[1] for _ in range(20) if (host := cluster.choose_host(None)) is not None}

    assert zones() == {"a"}
    elsewhere = HostUpdate([HostEntry("127.0.0.1", 9, region="r", zone=zone, stat_index=1) for zone in "bc"], {})
    manager.update_hosts("us", msgspec.msgpack.encode(elsewhere))
    assert zones() == {"a", "b"}
    manager.close()
