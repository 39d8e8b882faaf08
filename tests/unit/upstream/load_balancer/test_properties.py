"""Fairness, for many sets of weights and fixed seeds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from proxeny.kernel.all_workers import AllWorkers
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.pickers import (
    BusyWeight,
    LeastRequestPicker,
    Picker,
    RandomPicker,
    ScheduledPicker,
    WeightedEntries,
    WeightedRoundRobinPicker,
)
from proxeny.upstream.stats import HOST_RQ_ACTIVE

MakeHosts = Callable[..., list[Host]]
SEEDS = range(12)


def shares_hold(picked: Iterable[object], weights: dict[object, float], checks: int = 10) -> None:
    """At every so many picks nobody is off by more than the schedule's own unevenness."""
    total = sum(weights.values())
    counts: Counter[object] = Counter()
    every = 97
    for number, one in enumerate(picked, 1):
        counts[one] += 1
        if number % every == 0:
            for name, weight in weights.items():
                assert abs(counts[name] - number * weight / total) < 2.5
        if number == every * checks:
            return


@pytest.mark.parametrize("seed", SEEDS)
def test_schedulers_hold_the_shares_at_all_times(make_hosts: MakeHosts, seed: int) -> None:
    random.seed(seed)
    hosts = make_hosts(*[random.randint(1, 40) for _ in range(random.randint(2, 25))])
    weights: dict[object, float] = {host: float(host.weight) for host in hosts}
    pickers: list[Picker] = [
        WeightedRoundRobinPicker(hosts),
        ScheduledPicker(hosts, BusyWeight(1.0, AllWorkers()).of),
    ]
    for picker in pickers:
        shares_hold(iter(picker.pick, None), weights)


@pytest.mark.parametrize("seed", SEEDS)
def test_localities_hold_theirs(seed: int) -> None:
    random.seed(seed)
    weights = [random.uniform(0.1, 30.0) for _ in range(random.randint(1, 9))]
    entries = WeightedEntries(list(range(len(weights))), weights)
    shares_hold(iter(entries.pick, -1), dict(enumerate(weights)))


@pytest.mark.parametrize("seed", SEEDS)
def test_schedulers_begin_anywhere(make_hosts: MakeHosts, seed: int) -> None:
    random.seed(seed)
    hosts = make_hosts(*range(1, 8))
    first = Counter(WeightedRoundRobinPicker(hosts).pick() for _ in range(1400))
    for host in hosts:
        expected = 1400 * host.weight / 28
        assert abs(first[host] - expected) < 6 * expected**0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_random_is_uniform(make_hosts: MakeHosts, seed: int) -> None:
    random.seed(seed)
    hosts = make_hosts(*[1] * 10)
    picker = RandomPicker(hosts)
    counts = Counter(picker.pick() for _ in range(10_000))
    # Chi-square with 9 degrees of freedom: 33.7 is one in ten thousand.
    assert sum((counts[host] - 1000) ** 2 / 1000 for host in hosts) < 33.7


@pytest.mark.parametrize("seed", SEEDS)
def test_two_choices_even_out(make_hosts: MakeHosts, seed: int) -> None:
    random.seed(seed)
    hosts = make_hosts(*[1] * 20)
    picker = LeastRequestPicker(hosts, 2, AllWorkers())
    for host in hosts:
        host.stats.set(HOST_RQ_ACTIVE, 0)
    for _ in range(2000):
        chosen = picker.pick()
        assert chosen is not None
        chosen.stats.inc(HOST_RQ_ACTIVE)
    # A single random choice would leave a spread of about 4 * sqrt(100).
    active = [host.stats.get(HOST_RQ_ACTIVE) for host in hosts]
    assert max(active) - min(active) <= 8
    assert sum(active) == 2000
