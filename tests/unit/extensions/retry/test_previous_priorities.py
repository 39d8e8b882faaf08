"""Retries leave the priorities that were tried."""

from types import SimpleNamespace
from typing import Any

from proxeny.extensions.retry.previous_priorities import PreviousPriorities
from proxeny.upstream.load_balancer.priority_load import PriorityLoad, without

ALL = PriorityLoad([100, 0, 0], [0, 0, 0], [False, False, False])


def host_set(hosts: int, healthy: int, degraded: int = 0) -> Any:
    return SimpleNamespace(
        hosts=[None] * hosts,
        healthy_hosts=[None] * healthy,
        degraded_hosts=[None] * degraded,
        overprovisioning_factor=140,
        excluded_hosts=[],
        weighted_health=False,
    )


def priorities(*sets: Any) -> Any:
    return SimpleNamespace(host_sets=list(sets), priority_of=lambda host: host.priority)


def tried(*numbers: int, update_frequency: int = 1) -> PreviousPriorities:
    state = PreviousPriorities(update_frequency)
    for number in numbers:
        state.on_host_attempted(SimpleNamespace(priority=number))  # type: ignore[arg-type]
    return state


def test_the_next_priority_takes_over() -> None:
    hosts = priorities(host_set(1, 1), host_set(1, 1), host_set(1, 1))
    assert tried(0).determine_priority_load(hosts, ALL).healthy == [0, 100, 0]
    assert tried(0, 1).determine_priority_load(hosts, ALL).healthy == [0, 0, 100]


def test_only_every_so_many_attempts() -> None:
    hosts = priorities(host_set(1, 1), host_set(1, 1))
    state = tried(0, update_frequency=2)
    assert state.determine_priority_load(hosts, ALL) is ALL
    state.on_host_attempted(SimpleNamespace(priority=0))  # type: ignore[arg-type]
    assert state.determine_priority_load(hosts, ALL).healthy == [0, 100]


def test_when_all_were_tried_all_are_there_again() -> None:
    hosts = priorities(host_set(1, 1), host_set(1, 1))
    assert tried(0, 1).determine_priority_load(hosts, ALL).healthy == [100, 0]


def test_where_nobody_is_healthy_nothing_changes() -> None:
    hosts = priorities(host_set(1, 0), host_set(1, 0))
    assert tried(0).determine_priority_load(hosts, ALL) is ALL


def test_loads_without_a_priority_are_shared_as_usual() -> None:
    sets = [host_set(2, 2), host_set(2, 1), host_set(2, 0, 2)]
    assert without(sets, {0}, ALL.panic) == PriorityLoad([0, 70, 0], [0, 0, 30], ALL.panic)
    assert without(sets, {0, 1, 2}, ALL.panic) is None
