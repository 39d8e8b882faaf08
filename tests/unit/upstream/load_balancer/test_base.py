"""Priorities, health and panic: which hosts get how much of the load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from proxeny.extensions.load_balancing_policies import round_robin
from proxeny.extensions.load_balancing_policies.round_robin import RoundRobin
from proxeny.upstream.endpoints import DEGRADED_EDS_HEALTH, FAILED_EDS_HEALTH, HostEntry
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.common_config import CommonLbConfig
from proxeny.upstream.load_balancer.contract import LbPolicy, LoadBalancer
from proxeny.upstream.load_balancer.locality_config import LocalityConfig
from proxeny.upstream.load_balancer.priority_load import PriorityLoad, calculate
from proxeny.upstream.priority_set import PrioritySet
from proxeny.upstream.stats import LB_HEALTHY_PANIC

MakeHosts = Callable[..., list[Host]]
MakeBalancer = Callable[..., LoadBalancer]
HEALTHY, DEGRADED, FAILED = 0, DEGRADED_EDS_HEALTH, FAILED_EDS_HEALTH


def entries(*priorities: list[int]) -> list[HostEntry]:
    return [
        HostEntry("127.0.0.1", 1000 + 100 * priority + i, priority=priority, health_flags=flags)
        for priority, hosts in enumerate(priorities)
        for i, flags in enumerate(hosts)
    ]


def priority_set(make_hosts: MakeHosts, *priorities: list[int]) -> PrioritySet:
    result = PrioritySet()
    result.update(make_hosts(entries=entries(*priorities)))
    return result


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ([[HEALTHY]], ([100], [0], [False])),
        # 140 * 3 / 4 is above 100: a quarter may be down.
        ([[HEALTHY, HEALTHY, HEALTHY, FAILED], [HEALTHY]], ([100, 0], [0, 0], [False, False])),
        # 140 * 1 / 2 = 70: the rest spills over.
        ([[HEALTHY, FAILED], [HEALTHY]], ([70, 30], [0, 0], [False, False])),
        ([[FAILED], [HEALTHY]], ([0, 100], [0, 0], [False, False])),
        ([[], [HEALTHY]], ([0, 100], [0, 0], [False, False])),
        # Degraded hosts take what healthy ones cannot.
        ([[HEALTHY, DEGRADED]], ([70], [30], [False])),
        ([[DEGRADED]], ([0], [100], [False])),
        # 35 + 35 of 100, normalized; both in panic: by size.
        ([[HEALTHY, FAILED, FAILED, FAILED], [HEALTHY, FAILED, FAILED, FAILED]], ([50, 50], [0, 0], [True, True])),
        ([[FAILED, FAILED], [FAILED]], ([67, 33], [0, 0], [True, True])),
        ([[]], ([100], [0], [True])),
    ],
)
def test_loads(make_hosts: MakeHosts, priorities: list[list[int]], expected: tuple[list[int], ...]) -> None:
    assert calculate(priority_set(make_hosts, *priorities).host_sets, 50) == PriorityLoad(*expected)


def test_without_panic_threshold_nothing_panics(make_hosts: MakeHosts) -> None:
    host_sets = priority_set(make_hosts, [FAILED], [FAILED]).host_sets
    assert calculate(host_sets, 0) == PriorityLoad([100, 0], [0, 0], [False, False])


def balancer(
    make_hosts: MakeHosts,
    make_balancer: MakeBalancer,
    *priorities: list[int],
    policy: LbPolicy = round_robin.DEFAULT,
    **common: Any,
) -> tuple[LoadBalancer, list[Host]]:
    hosts = make_hosts(entries=entries(*priorities)) or make_hosts(1)
    members = PrioritySet()
    members.update(hosts if any(priorities) else [])
    return make_balancer(policy, hosts, members, CommonLbConfig(**common)), hosts


def test_one_healthy_host_is_chosen_directly(make_hosts: MakeHosts, make_balancer: MakeBalancer) -> None:
    lb, hosts = balancer(make_hosts, make_balancer, [HEALTHY])
    assert lb.choose_host(None) is hosts[0]


def test_spill_over(make_hosts: MakeHosts, make_balancer: MakeBalancer) -> None:
    lb, hosts = balancer(make_hosts, make_balancer, [HEALTHY, FAILED], [HEALTHY])
    counter = Counter(id(lb.choose_host(None)) for _ in range(5000))
    assert 3250 < counter[id(hosts[0])] < 3750
    assert counter[id(hosts[1])] == 0


def test_panic_uses_all_and_counts(make_hosts: MakeHosts, make_balancer: MakeBalancer) -> None:
    lb, hosts = balancer(make_hosts, make_balancer, [HEALTHY, FAILED, FAILED])
    counter = Counter(id(lb.choose_host(None)) for _ in range(300))
    assert [counter[id(host)] for host in hosts] == [100, 100, 100]
    assert hosts[0].cluster.stats.get(LB_HEALTHY_PANIC) == 300


def test_fail_traffic_on_panic(make_hosts: MakeHosts, make_balancer: MakeBalancer) -> None:
    failing = RoundRobin(locality=LocalityConfig(fail_traffic_on_panic=True))
    lb, hosts = balancer(make_hosts, make_balancer, [HEALTHY, FAILED, FAILED], policy=failing)
    assert lb.choose_host(None) is None
    assert hosts[0].cluster.stats.get(LB_HEALTHY_PANIC) == 1


def test_no_host(make_hosts: MakeHosts, make_balancer: MakeBalancer) -> None:
    lb, _ = balancer(make_hosts, make_balancer, [])
    assert lb.choose_host(None) is None


def test_unhealthy_only_without_panic_is_none(make_hosts: MakeHosts, make_balancer: MakeBalancer) -> None:
    lb, _ = balancer(make_hosts, make_balancer, [FAILED], panic_threshold=0)
    assert lb.choose_host(None) is None
