"""Policies take the cheapest picker that is right."""

from __future__ import annotations

from collections.abc import Callable

from proxeny.extensions.load_balancing_policies import random
from proxeny.extensions.load_balancing_policies.least_request import LeastRequest
from proxeny.extensions.load_balancing_policies.round_robin import RoundRobin
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.pickers import (
    LeastRequestPicker,
    LeastRequestScanPicker,
    NoHost,
    OneHost,
    RandomPicker,
    RoundRobinPicker,
    WeightedLeastRequestPicker,
    WeightedRoundRobinPicker,
)

MakeHosts = Callable[..., list[Host]]


def test_the_cheapest_picker_is_chosen(make_hosts: MakeHosts) -> None:
    policy = RoundRobin()
    assert isinstance(policy.make_picker([]), NoHost)
    assert isinstance(policy.make_picker(make_hosts(5)), OneHost)
    assert isinstance(policy.make_picker(make_hosts(5, 5)), RoundRobinPicker)
    assert isinstance(policy.make_picker(make_hosts(5, 6)), WeightedRoundRobinPicker)
    assert isinstance(random.make_picker(make_hosts(5, 6)), RandomPicker)
    least = LeastRequest()
    assert isinstance(least.make_picker(make_hosts(2, 2)), LeastRequestPicker)
    assert isinstance(least.make_picker(make_hosts(2, 3)), WeightedLeastRequestPicker)
    assert isinstance(LeastRequest(full_scan=True).make_picker(make_hosts(2, 2)), LeastRequestScanPicker)
