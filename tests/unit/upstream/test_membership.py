"""What stays of hosts when discovery brings new ones."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from proxeny.upstream.endpoints import (
    FAILED_ACTIVE_HC,
    FAILED_EDS_HEALTH,
    NEW_HOST,
    PENDING_ACTIVE_HC,
    PENDING_DYNAMIC_REMOVAL,
    HostEntry,
)
from proxeny.upstream.membership import Merged, merge, unique


def host(port: int, index: int = 0, **more: Any) -> HostEntry:
    return HostEntry("127.0.0.1", port, stat_index=index, **more)


def merged(old: list[HostEntry], new: list[HostEntry], **more: Any) -> Merged:
    return merge(old, new, count(100).__next__, **more)


def test_the_first_of_an_address() -> None:
    assert [entry.weight for entry in unique([host(1, weight=2), host(1), host(2, weight=3)])] == [2, 3]


def test_hosts_stay_come_and_go() -> None:
    result = merged([host(1, 0), host(2, 1)], [host(2), host(3)])
    assert [(entry.port, entry.stat_index) for entry in result.hosts] == [(2, 1), (3, 100)]
    assert (result.gone, result.changed, result.moved) == ([0], True, 1)


def test_nothing_changed() -> None:
    result = merged([host(1, 4, health_flags=FAILED_ACTIVE_HC)], [host(1)])
    assert (result.changed, result.moved, result.hosts[0].health_flags) == (False, 0, FAILED_ACTIVE_HC)


def test_a_change_in_place_moves_nobody() -> None:
    result = merged([host(1, 4)], [host(1, weight=5, metadata=b"\x0a\x00")])
    assert (result.changed, result.moved, result.rematched) == (True, 0, 1)


def test_what_the_assignment_says_of_health_does_not_last() -> None:
    result = merged([host(1, 4, health_flags=FAILED_EDS_HEALTH)], [host(1)])
    assert result.changed
    assert result.hosts[0].health_flags == 0


def test_between_priorities_both_change() -> None:
    assert merged([host(1, 4)], [host(1, priority=2)]).moved == 2


@pytest.mark.parametrize("more", [{"zone": "z"}, {"hostname": "h"}, {"stat_index": NEW_HOST}])
def test_another_host_at_the_same_address(more: dict[str, Any]) -> None:
    fresh = HostEntry("127.0.0.1", 1, **more)
    result = merged([host(1, 4)], [fresh])
    assert (fresh.stat_index, result.gone, result.moved) == (100, [4], 1)


def test_an_entry_that_is_published_again_stays() -> None:
    same = host(1, 4)
    result = merged([same], [same, host(1)])
    assert [entry.stat_index for entry in result.hosts] == [4, 100]


def test_new_hosts_that_are_checked_start_unhealthy() -> None:
    result = merged([], [host(1)], when_new=FAILED_ACTIVE_HC | PENDING_ACTIVE_HC)
    assert result.hosts[0].health_flags == FAILED_ACTIVE_HC | PENDING_ACTIVE_HC


def test_healthy_hosts_stay_until_they_fail() -> None:
    result = merged([host(1, 4), host(2, 5, health_flags=FAILED_ACTIVE_HC)], [], keep_healthy=True)
    (kept,) = result.hosts
    assert (kept.stat_index, kept.health_flags, result.gone) == (4, PENDING_DYNAMIC_REMOVAL, [5])
    back = merged(result.hosts, [host(1)], keep_healthy=True)
    assert (back.hosts[0].stat_index, back.hosts[0].health_flags) == (4, 0)
    assert not merged(result.hosts, [], keep_healthy=True).changed
