"""Policies take the cheapest picker that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.extensions.load_balancing_policies.least_request import LeastRequest, LeastRequestMaker
from proxeny.extensions.load_balancing_policies.random import RandomMaker
from proxeny.extensions.load_balancing_policies.round_robin import RoundRobinMaker
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.base import ALL, PickerMaker
from proxeny.upstream.load_balancer.pickers import (
    LeastRequestPicker,
    LeastRequestScanPicker,
    OneHost,
    RandomPicker,
    RoundRobinPicker,
    ScheduledPicker,
    WeightedRoundRobinPicker,
)

MakeHosts = Callable[..., list[Host]]
SOURCE = (0, ALL, -1)


def made(maker: PickerMaker, hosts: list[Host]) -> type[Any]:
    return type(maker.make(hosts, SOURCE))


def test_the_cheapest_picker_is_chosen(make_hosts: MakeHosts, context: FactoryContext) -> None:
    maker = RoundRobinMaker()
    assert made(maker, make_hosts(5)) is OneHost
    assert made(maker, make_hosts(5, 5)) is RoundRobinPicker
    assert made(maker, make_hosts(5, 6)) is WeightedRoundRobinPicker
    assert made(RandomMaker(), make_hosts(5, 6)) is RandomPicker
    least = LeastRequestMaker(LeastRequest(), context)
    assert made(least, make_hosts(2, 2)) is LeastRequestPicker
    assert made(least, make_hosts(2, 3)) is ScheduledPicker
    assert made(LeastRequestMaker(LeastRequest(full_scan=True), context), make_hosts(2, 2)) is LeastRequestScanPicker


def test_round_robin_goes_on_after_a_change_of_hosts(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 1, 1)
    maker = RoundRobinMaker()
    first = maker.make(hosts, SOURCE)
    seen = [first.pick() for _ in range(2)]
    again = maker.make(hosts, SOURCE)
    assert {*seen, again.pick()} == set(hosts)
