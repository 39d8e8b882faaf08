"""How much of the load each priority takes (Envoy: ``LoadBalancerBase::recalculatePerPriorityState``).

A priority is available to the degree of its healthy hosts times the overprovisioning factor (1.4: a third may be down
before load spills over). Healthy hosts of all priorities are used before degraded ones. When not even all of them
together amount to 100 %, a priority with fewer than the panic threshold of available hosts is used whole ("panic").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxeny.upstream.host import Host
    from proxeny.upstream.priority_set import HostSet

DEFAULT_PANIC_THRESHOLD = 50
"""Cluster.common_lb_config.healthy_panic_threshold, percent."""


class PriorityLoad(NamedTuple):
    """Percent of the load by priority on healthy and on degraded hosts, and which priorities are in panic."""

    healthy: list[int]
    degraded: list[int]
    panic: list[bool]


def calculate(host_sets: Sequence[HostSet], panic_threshold: int) -> PriorityLoad:
    """The loads; healthy and degraded together sum up to 100."""
    count = len(host_sets)
    healthy_health = [_availability(hs, hs.healthy_hosts) for hs in host_sets]
    degraded_health = [_availability(hs, hs.degraded_hosts) for hs in host_sets]
    total = min(100, sum(healthy_health) + sum(degraded_health))
    healthy = [0] * count
    degraded = [0] * count
    panic = [total < 100 and in_panic(hs, panic_threshold) for hs in host_sets]
    if total == 0 and panic_threshold == 0:
        healthy[0] = 100
    elif all(panic):
        healthy = _by_size(host_sets)
    elif total == 0:
        healthy[0] = 100
    else:
        healthy, degraded = _share(total, healthy_health, degraded_health)
    return PriorityLoad(healthy, degraded, panic)


def without(host_sets: Sequence[HostSet], excluded: set[int], panic: list[bool]) -> PriorityLoad | None:
    """The loads where the priorities ``excluded`` take none; None when no other one has hosts to use.

    Envoy: ``PreviousPrioritiesRetryPriority::adjustForAttemptedPriorities``.
    """
    kept = [i not in excluded for i in range(len(host_sets))]
    healthy_health = [_availability(hs, hs.healthy_hosts) * kept[i] for i, hs in enumerate(host_sets)]
    degraded_health = [_availability(hs, hs.degraded_hosts) * kept[i] for i, hs in enumerate(host_sets)]
    total = min(100, sum(healthy_health) + sum(degraded_health))
    if total == 0:
        return None
    healthy, degraded = _share(total, healthy_health, degraded_health)
    return PriorityLoad(healthy, degraded, panic)


def _share(total: int, healthy_health: list[int], degraded_health: list[int]) -> tuple[list[int], list[int]]:
    """100 percent dealt out in the order of priorities, healthy hosts first."""
    loads: list[list[int]] = []
    remaining = 100
    for health in (healthy_health, degraded_health):
        dealt = []
        for available in health:
            dealt.append(min(remaining, available * 100 // total))
            remaining -= dealt[-1]
        loads.append(dealt)
    healthy, degraded = loads
    _give_rest(remaining, (healthy, healthy_health), (degraded, degraded_health))
    return healthy, degraded


def _availability(host_set: HostSet, usable: list[Host]) -> int:
    count = len(host_set.hosts) - len(host_set.excluded_hosts)
    if not count:
        return 0
    if not host_set.weighted_health:
        return min(100, host_set.overprovisioning_factor * len(usable) // count)
    total = _weight(host_set.hosts) - _weight(host_set.excluded_hosts)
    return min(100, host_set.overprovisioning_factor * _weight(usable) // total)


def _weight(hosts: list[Host]) -> int:
    return sum([host.weight for host in hosts])


def in_panic(host_set: HostSet, threshold: int) -> bool:
    """Whether too few of the hosts can be used (Envoy: ``isHostSetInPanic``)."""
    if threshold == 0:
        return False
    count = len(host_set.hosts) - len(host_set.excluded_hosts)
    if not count:
        return True
    usable = len(host_set.healthy_hosts) + len(host_set.degraded_hosts)
    return 100.0 * usable / count < threshold


def _by_size(host_sets: Sequence[HostSet]) -> list[int]:
    """In panic everywhere: load by the number of hosts, whatever their health."""
    total = sum(len(hs.hosts) for hs in host_sets)
    if total == 0:
        return [100] + [0] * (len(host_sets) - 1)
    loads = [100 * len(hs.hosts) // total for hs in host_sets]
    loads[next(i for i, hs in enumerate(host_sets) if hs.hosts)] += 100 - sum(loads)
    return loads


def _give_rest(rest: int, *parts: tuple[list[int], list[int]]) -> None:
    """What rounding left over goes to the first priority that has anything."""
    for loads, health in parts:
        for i, value in enumerate(health):
            if value:
                loads[i] += rest
                return
