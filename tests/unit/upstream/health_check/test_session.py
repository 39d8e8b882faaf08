"""Thresholds, intervals and flags of one checked host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxeny.runtime.snapshot import Snapshot, make_entry
from proxeny.upstream.endpoints import (
    ACTIVE_HC_TIMEOUT,
    DEGRADED_ACTIVE_HC,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_ACTIVE_HC,
    INTERNAL,
    PENDING_ACTIVE_HC,
    PIPE,
    CheckTarget,
    HostEntry,
)
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.health_check.session import check_address

NETWORK = FailureType.NETWORK


def test_the_first_check_decides(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    assert one.flags(1) == FAILED_ACTIVE_HC
    one.ok(1)
    one.fail(2)
    assert [one.flags(port) for port in (1, 2)] == [0, FAILED_ACTIVE_HC]
    assert [one.count(name) for name in ("attempt", "success", "failure", "healthy")] == [2, 1, 1, 1]
    one.turn()
    assert one.gauge("membership_healthy") == 1


def test_a_failed_host_needs_successes_in_a_row(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.fail(1)
    one.ok(1)
    one.fail(1)
    one.ok(1)
    assert one.flags(1) == FAILED_ACTIVE_HC
    one.ok(1)
    assert one.flags(1) == 0


def test_failures_of_the_network_count_in_a_row(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.ok(1)
    for _ in range(2):
        one.fail(1, 1, failure=NETWORK)
        assert one.flags(1) == 0
        one.ok(1)
    one.fail(1, failure=NETWORK)
    one.fail(1, retriable=True, http_status=503)
    assert one.flags(1) == 0
    one.fail(1, failure=NETWORK)
    assert one.flags(1) == FAILED_ACTIVE_HC
    assert one.count("network_failure") == 6


def test_a_host_that_says_no_fails_at_once(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.ok(1)
    one.fail(1)
    assert one.flags(1) == FAILED_ACTIVE_HC
    assert one.count("network_failure") == 0


def test_a_timeout_shows_while_the_host_is_failed(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.turn(1000)
    assert one.probe(1).timed_out == 1
    assert one.flags(1) == FAILED_ACTIVE_HC | ACTIVE_HC_TIMEOUT
    one.fail(1, failure=NETWORK)
    assert one.flags(1) == FAILED_ACTIVE_HC
    one.ok(1, 1)
    one.fail(1, failure=FailureType.NETWORK_TIMEOUT)
    assert one.flags(1) == 0


def test_degraded_comes_and_goes(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.ok(1, degraded=True)
    assert one.flags(1) == DEGRADED_ACTIVE_HC
    assert one.count("degraded") == 1
    one.fail(1)
    assert one.flags(1) == FAILED_ACTIVE_HC | DEGRADED_ACTIVE_HC
    one.ok(1)
    assert one.flags(1) == FAILED_ACTIVE_HC
    assert one.count("degraded") == 0


def test_an_excluded_host_comes_back_when_it_is_healthy(bench: Any) -> None:
    one = bench()
    one.start(1)
    one.ok(1)
    one.probe(1).owner.exclude()
    one.fail(1)
    assert one.flags(1) == FAILED_ACTIVE_HC | EXCLUDED_VIA_IMMEDIATE_HC_FAIL
    one.ok(1)
    assert one.flags(1) == FAILED_ACTIVE_HC | EXCLUDED_VIA_IMMEDIATE_HC_FAIL
    one.ok(1)
    assert one.flags(1) == 0


def test_ordinary_responses_take_a_host_out(bench: Any) -> None:
    one = bench()
    one.start(1, 2)
    one.ok(1, 2)
    one.main.hosts_failed("c", {0: 2, 99: 1})
    one.main.hosts_failed("nobody", {0: 1})
    assert one.flags(1) == FAILED_ACTIVE_HC | EXCLUDED_VIA_IMMEDIATE_HC_FAIL
    assert one.flags(2) == 0
    assert one.count("passive_failure") == 2
    one.turn()
    assert one.gauge("membership_excluded") == 1


INTERVALS = {
    "interval": "10s",
    "unhealthy_interval": "20s",
    "unhealthy_edge_interval": "5s",
    "healthy_edge_interval": "2s",
}


def test_intervals_by_state(bench: Any) -> None:
    one = bench(INTERVALS)
    one.traffic()
    one.start(1)
    one.ok(1)
    assert one.waits(1) == 10_000
    one.fail(1, failure=NETWORK)
    assert one.waits(1) == 5_000
    one.fail(1, failure=NETWORK)
    one.fail(1, failure=NETWORK)
    assert one.waits(1) == 20_000
    one.ok(1)
    assert one.waits(1) == 2_000
    one.ok(1)
    assert one.waits(1) == 10_000


@pytest.mark.parametrize(
    ("fields", "healthy", "unhealthy"),
    [
        ({}, 60_000, 60_000),
        ({"no_traffic_interval": "3s"}, 3_000, 3_000),
        ({"no_traffic_interval": "3s", "no_traffic_healthy_interval": "30s"}, 30_000, 3_000),
    ],
)
def test_intervals_without_traffic(bench: Any, fields: dict[str, str], healthy: int, unhealthy: int) -> None:
    one = bench({**INTERVALS, **fields})
    one.start(1)
    one.ok(1)
    assert one.waits(1) == healthy
    one.fail(1)
    assert one.waits(1) == unhealthy


def test_jitters(bench: Any) -> None:
    one = bench({"interval_jitter": "2s", "interval_jitter_percent": 50, "initial_jitter": "5s"})
    one.traffic()
    one.start(1)
    assert one.probe(1).checks == 0
    assert one.waits(1) <= 5_250
    waited = []
    for _ in range(20):
        one.ok(1)
        waited.append(one.waits(1))
    assert all(10_000 <= wait <= 17_250 for wait in waited)
    assert len(set(waited)) > 3


def test_runtime_bounds_intervals(bench: Any) -> None:
    one = bench()
    one.traffic()
    one.start(1)
    one.runtime.snapshot = Snapshot({"health_check.max_interval": make_entry(4000)})
    one.ok(1)
    assert one.waits(1) == 4_000
    one.runtime.snapshot = Snapshot({"health_check.min_interval": make_entry(30_000)})
    one.ok(1)
    assert one.waits(1) == 30_000


def test_events(bench: Any) -> None:
    one = bench({"event_log_path": "/log", "always_log_health_check_failures": True})
    one.start(1)
    one.ok(1)
    one.ok(1, degraded=True)
    one.ok(1)
    one.fail(1, http_status=500)
    one.fail(1, failure=NETWORK)
    events = [json.loads(line) for line in one.logs.files["/log"].lines]
    kinds = [[key for key in event if key.endswith(("_event", "_host"))][-1] for event in events]
    assert kinds == [
        "add_healthy_event",
        "degraded_healthy_host",
        "no_longer_degraded_host",
        "eject_unhealthy_event",
        "health_check_failure_event",
        "health_check_failure_event",
    ]
    assert events[3]["eject_unhealthy_event"] == {"failure_type": "ACTIVE", "http_status_code": 500}
    assert events[5]["health_check_failure_event"]["failure_type"] == "NETWORK"


def test_new_hosts_may_be_ignored_until_they_are_checked(bench: Any) -> None:
    one = bench(common_lb_config={"ignore_new_hosts_until_first_hc": True})
    one.start(1)
    assert one.flags(1) == FAILED_ACTIVE_HC | PENDING_ACTIVE_HC
    assert one.gauge("membership_excluded") == 1
    one.fail(1)
    assert one.flags(1) == FAILED_ACTIVE_HC
    one.turn()
    assert one.gauge("membership_excluded") == 0


def test_where_a_host_is_checked() -> None:
    plain = HostEntry("127.0.0.1", 80)
    assert check_address(plain).as_string() == "127.0.0.1:80"
    plain.check = CheckTarget(port=81)
    assert check_address(plain).as_string() == "127.0.0.1:81"
    plain.check = CheckTarget("::1", 82)
    assert check_address(plain).as_string() == "[::1]:82"
    assert check_address(HostEntry("/run/x", PIPE)).as_string() == "/run/x"
    assert check_address(HostEntry("listener", INTERNAL, endpoint_id="id")).is_internal
