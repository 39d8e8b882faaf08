"""Slow start: what share of its weight a host has after a while."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.extensions.load_balancing_policies.least_request import LeastRequest
from proxeny.extensions.load_balancing_policies.round_robin import RoundRobin
from proxeny.network.factory_context import FactoryContext
from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream.endpoints import FAILED_EDS_HEALTH
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.common_config import DEFAULT
from proxeny.upstream.load_balancer.contract import LbPolicy, LbSetting, LoadBalancer
from proxeny.upstream.load_balancer.slow_start import SlowStart, SlowStartConfig
from proxeny.upstream.priority_set import PrioritySet

MakeHosts = Callable[..., list[Host]]


class World:
    """Simulated time, and a balancer over hosts."""

    def __init__(self, context: FactoryContext) -> None:
        random.seed(3)
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.context = replace(context, dispatcher=self.dispatcher)
        self.members = PrioritySet()

    def pass_ms(self, milliseconds: int) -> None:
        self.time.advance_ms(milliseconds)
        self.dispatcher.run_once()

    def balancer(self, policy: LbPolicy, hosts: list[Host]) -> LoadBalancer:
        self.members.update(hosts)
        lb = policy.create(LbSetting(hosts[0].cluster, DEFAULT, self.members, self.context))
        lb.refresh()
        return lb


@pytest.fixture
def world(context: FactoryContext) -> Iterator[World]:
    made = World(context)
    yield made
    made.dispatcher.close()


def counts(lb: LoadBalancer, hosts: list[Host], picks: int) -> list[int]:
    counter = Counter(id(lb.choose_host(None)) for _ in range(picks))
    return [counter[id(host)] for host in hosts]


@pytest.mark.parametrize(
    ("after_ms", "settings", "expected"),
    [
        (0, {}, 0.1),
        (0, {"min_weight": 0.0}, 1 / 10_000),
        (0, {"min_weight": 0.5}, 0.5),
        (5_000, {}, 0.5),
        (2_500, {"aggression": 2.0}, 0.5),
        (2_500, {"aggression": 0.0}, 0.25),
        (2_500, {"aggression": -1.0}, 0.25),
        (10_000, {}, 1.0),
        (60_000, {}, 1.0),
    ],
)
def test_the_factor(
    world: World, make_hosts: MakeHosts, after_ms: int, settings: dict[str, Any], expected: float
) -> None:
    (host,) = make_hosts(1)
    slow = SlowStart(SlowStartConfig(10_000, **settings), world.context)
    slow.begin([host])
    world.pass_ms(after_ms)
    assert slow.factor(host) == pytest.approx(expected)


def test_aggression_by_runtime(world: World, make_hosts: MakeHosts) -> None:
    (host,) = make_hosts(1)
    values = {"aggressive": make_entry(2.0)}
    context = replace(world.context, runtime=RuntimeReader(Snapshot(values)))
    slow = SlowStart(SlowStartConfig(10_000, aggression=1.0, aggression_key="aggressive"), context)
    slow.begin([host])
    world.pass_ms(2_500)
    assert slow.factor(host) == pytest.approx(0.5)


def test_unhealthy_hosts_begin_when_they_are_well(world: World, make_hosts: MakeHosts) -> None:
    (host,) = make_hosts(1)
    host.set_health_flags(FAILED_EDS_HEALTH)
    slow = SlowStart(SlowStartConfig(10_000), world.context)
    slow.begin([host])
    assert host.healthy_since_ms == -1
    assert slow.factor(host) == 1.0


@pytest.mark.parametrize("policy", [RoundRobin, LeastRequest])
def test_a_new_host_takes_less_at_first(world: World, make_hosts: MakeHosts, policy: Any) -> None:
    old, new = make_hosts(1, 1)
    lb = world.balancer(policy(slow_start=SlowStartConfig(10_000)), [old])
    world.pass_ms(20_000)
    world.members.update([old, new])
    lb.refresh()
    world.pass_ms(2_500)
    first = counts(lb, [old, new], 1000)
    assert abs(first[1] - 200) < 20
    world.pass_ms(20_000)
    assert abs(counts(lb, [old, new], 1000)[1] - 500) < 20
    lb.refresh()
    # Long after all began, nobody pays for a scheduler any more.
    assert "Scheduled" not in type(lb.choose_host.__self__).__name__  # type: ignore[attr-defined]
