"""How often each host is picked, and what a pick looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from proxeny.kernel.all_workers import AllWorkers
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.pickers import (
    BusyWeight,
    LeastRequestPicker,
    LeastRequestScanPicker,
    Picker,
    RandomPicker,
    RoundRobinPicker,
    ScheduledPicker,
    WeightedRoundRobinPicker,
)
from proxeny.upstream.stats import HOST_RQ_ACTIVE

MakeHosts = Callable[..., list[Host]]


def counts(picker: Picker, hosts: list[Host], picks: int) -> list[int]:
    counter = Counter(id(picker.pick()) for _ in range(picks))
    return [counter[id(host)] for host in hosts]


def test_round_robin_is_even_and_starts_where_it_is_told(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 1, 1)
    picker = RoundRobinPicker(hosts, 5)
    order = [picker.pick() for _ in range(6)]
    assert order[:3] == order[3:]
    assert counts(picker, hosts, 300) == [100, 100, 100]
    assert [RoundRobinPicker(hosts, turn).pick() for turn in range(3)] == hosts


def test_weighted_round_robin_keeps_the_proportions_and_interleaves(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 2, 5)
    picker = WeightedRoundRobinPicker(hosts)
    counted = counts(picker, hosts, 800)
    for count, expected in zip(counted, (100, 200, 500), strict=True):
        assert abs(count - expected) <= 2
    run = longest = 0
    for _ in range(80):
        run = run + 1 if picker.pick() is hosts[2] else 0
        longest = max(longest, run)
    assert longest <= 3


def test_random_is_uniform(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 9, 1, 1)
    for count in counts(RandomPicker(hosts), hosts, 8000):
        assert 1700 < count < 2300


def test_least_request_prefers_the_idle(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 1)
    hosts[0].stats.set(HOST_RQ_ACTIVE, 5)
    counted = counts(LeastRequestPicker(hosts, 2, AllWorkers()), hosts, 4000)
    # The busy one only when it is drawn twice: a quarter.
    assert 800 < counted[0] < 1200


def test_more_choices_find_the_idle_more_often(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 1)
    hosts[0].stats.set(HOST_RQ_ACTIVE, 5)
    assert counts(LeastRequestPicker(hosts, 10, AllWorkers()), hosts, 1000)[0] < 20


def test_full_scan_takes_the_least_busy_and_spreads_ties(make_hosts: MakeHosts) -> None:
    hosts = make_hosts(1, 1, 1)
    hosts[1].stats.set(HOST_RQ_ACTIVE, 1)
    counted = counts(LeastRequestScanPicker(hosts, 2, AllWorkers()), hosts, 2000)
    assert counted[1] == 0
    assert 800 < counted[0] < 1200


@pytest.mark.parametrize(("bias", "expected"), [(0.0, (250, 750)), (1.0, (625, 375))])
def test_weighted_least_request_discounts_the_busy(
    make_hosts: MakeHosts, bias: float, expected: tuple[int, int]
) -> None:
    hosts = make_hosts(1, 3)
    hosts[1].stats.set(HOST_RQ_ACTIVE, 4)
    # With bias 1 the weights are 1/1 and 3/5, with bias 0 they are 1 and 3.
    picked = counts(ScheduledPicker(hosts, BusyWeight(bias, AllWorkers()).of), hosts, 1000)
    for count, wanted in zip(picked, expected, strict=True):
        assert abs(count - wanted) <= 3
