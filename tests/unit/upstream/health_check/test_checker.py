"""Hosts that come and go, the first round, several checks of one cluster."""

from __future__ import annotations

from typing import Any

from proxeny.upstream.endpoints import (
    DEGRADED_ACTIVE_HC,
    FAILED_ACTIVE_HC,
    FAILED_OUTLIER_CHECK,
    PENDING_DYNAMIC_REMOVAL,
    CheckTarget,
)
from proxeny.upstream.stats import GROUP_HEALTHY, HEALTH_CHECK_GROUP


def test_the_start_waits_for_the_first_round(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    one.turn()
    one.ok(1)
    assert one.initialized == 0
    one.fail(2)
    assert one.initialized == 1
    one.ok(2)
    assert one.initialized == 1


def test_a_host_that_goes_is_waited_for_no_longer(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    one.turn()
    one.ok(1)
    one.publish(1)
    assert one.initialized == 1


def test_without_hosts_there_is_nothing_to_wait_for(bench: Any) -> None:
    one = bench()
    one.start()
    one.turn()
    assert one.initialized == 1


def test_hosts_come_and_go(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    one.ok(1)
    gone = one.probe(2)
    one.publish(1, 3)
    assert gone.closed
    assert one.flags(1) == 0
    assert one.flags(3) == FAILED_ACTIVE_HC
    assert len(one.probers[0].made) == 3
    one.cluster.close()
    assert all(probe.closed for probe in one.probers[0].made)
    assert one.count("healthy") == 0
    one.turn(100_000)
    assert sum(probe.checks for probe in one.probers[0].made) == 3


def test_a_healthy_host_outlives_its_removal(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    one.ok(1, 2)
    one.publish(2)
    assert one.ports() == [2, 1]
    assert one.flags(1) == PENDING_DYNAMIC_REMOVAL
    one.publish(2)
    assert one.flags(1) == PENDING_DYNAMIC_REMOVAL
    # Discovery has it back: it is a member like others, and was never checked anew.
    one.publish(1, 2)
    assert one.flags(1) == 0
    one.publish(2)
    probe = one.probe(1)
    one.fail(1)
    assert one.ports() == [2]
    assert probe.closed
    assert len(one.probers[0].made) == 2


def test_removal_may_ignore_health(bench: Any) -> None:
    one = bench(ignore_health_on_host_removal=True)
    one.start(1, 2)
    one.ok(1, 2)
    one.publish(2)
    assert one.ports() == [2]


def test_a_host_that_is_checked_elsewhere_is_checked_anew(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.ok(1)
    first = one.probe(1)
    one.publish(1, p1=CheckTarget(port=9))
    assert first.closed
    assert one.flags(1) == FAILED_ACTIVE_HC
    assert one.probe(1).owner.address.as_string() == "127.0.0.1:9"
    one.publish(1, p1=CheckTarget(disabled=True))
    assert one.flags(1) == 0
    assert one.probe(1).closed


def test_a_host_is_failed_while_any_check_says_so(bench: Any) -> None:
    one = bench({"name": "a"}, {"name": "b"})
    group = one.store.block(HEALTH_CHECK_GROUP, "cluster.c.health_check.")
    one.start(1)
    one.turn()
    one.ok(1, check=0)
    assert one.flags(1) == FAILED_ACTIVE_HC
    assert one.initialized == 0
    one.ok(1, check=1, degraded=True)
    assert one.flags(1) == DEGRADED_ACTIVE_HC
    assert one.initialized == 1
    assert group.get(GROUP_HEALTHY) == 1
    one.fail(1, check=0)
    assert one.flags(1) == FAILED_ACTIVE_HC | DEGRADED_ACTIVE_HC
    assert one.count("healthy", "cluster.c.health_check.name.a.") == 0
    assert one.count("healthy", "cluster.c.health_check.name.b.") == 1
    one.publish()
    assert group.get(GROUP_HEALTHY) == 0


def test_an_outlier_that_passes_is_told_of(bench: Any) -> None:
    one = bench()
    passed: list[int] = []
    one.start(1)
    assert one.cluster.checks is not None
    one.cluster.checks.on_ejected_passed = passed.append
    one.ok(1)
    assert passed == []
    one.cluster.health.change(0, FAILED_OUTLIER_CHECK)
    one.fail(1)
    one.ok(1)
    assert passed == []
    one.ok(1)
    assert passed == [0]


def test_flapping_leaves_nothing_behind(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    told: list[Any] = []
    one.main.health.on_change = told.append
    for _ in range(200):
        one.ok(1, 1)
        one.fail(1)
    one.turn()
    assert len(told) == 1
    assert one.count("healthy") == 0
    assert one.dispatcher.wheel.statistics()["armed"] < 10
