"""Who is an outlier, who is ejected, and for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxeny.runtime.snapshot import RuntimeReader, Snapshot, make_entry
from proxeny.upstream.endpoints import DEGRADED_OUTLIER_DETECTION, FAILED_OUTLIER_CHECK
from proxeny.upstream.outlier.config import EjectionType
from proxeny.upstream.outlier.detector import ejection_threshold
from proxeny.upstream.outlier.stats import EJECTIONS_ACTIVE

ALL = {"max_ejection_percent": 100}
RATES = {
    "max_ejection_percent": 100,
    "success_rate_minimum_hosts": 2,
    "success_rate_request_volume": 4,
    "failure_percentage_minimum_hosts": 100,
    "success_rate_stdev_factor": 100,
    "consecutive_5xx": 100,
}


def actions(bench: Any) -> list[tuple[str, str, int]]:
    events = [json.loads(line) for line in bench.lines]
    return [(one["action"], one["type"], int(one["upstream_url"][-1])) for one in events]


def test_five_failures_in_a_row_eject(bench: Any) -> None:
    one = bench(2, **ALL)
    one.put(1, 500, 500, 200, 500, 500, 500, 500)
    assert one.flags() == [0, 0]
    one.put(1, 500)
    assert one.flags() == [0, FAILED_OUTLIER_CHECK]
    assert one.counts() == {
        "active": 1,
        "consecutive_5xx": 1,
        "detected_consecutive_5xx": 1,
        "enforced_consecutive_5xx": 1,
        "enforced_total": 1,
        "total": 1,
    }
    assert one.monitors[1].consecutive(EjectionType.CONSECUTIVE_5XX) == 0
    assert actions(one) == [("EJECT", "CONSECUTIVE_5XX", 1)]


def test_an_ejected_host_is_no_outlier_again(bench: Any) -> None:
    one = bench(**ALL)
    one.put(0, *[500] * 20)
    assert one.counts()["detected_consecutive_5xx"] == 1


def test_it_comes_back_at_the_interval_after_its_time(bench: Any) -> None:
    one = bench(base_ejection_time_ms=1000, max_ejection_time_ms=1000, **ALL)
    one.put(0, *[500] * 5)
    one.put(0, *[500] * 4)
    one.after(999)
    assert one.flags() == [FAILED_OUTLIER_CHECK]
    one.after(1)
    assert one.flags() == [0]
    assert "active" not in one.counts()
    assert one.monitors[0].consecutive(EjectionType.CONSECUTIVE_5XX) == 0
    assert actions(one)[-1] == ("UNEJECT", "CONSECUTIVE_5XX", 0)


def test_each_ejection_is_longer_and_quiet_times_shorten_it(bench: Any) -> None:
    one = bench(base_ejection_time_ms=100, max_ejection_time_ms=10_000, interval_ms=50, consecutive_5xx=1, **ALL)
    for expected in (100, 200, 300):
        one.put(0, 500)
        one.after(expected - 1)
        assert one.flags() == [FAILED_OUTLIER_CHECK]
        one.after(1)
        assert one.flags() == [0]
    for _ in range(2):
        one.after(50)
    one.put(0, 500)
    one.after(200)
    assert one.flags() == [0]


def test_jitter_makes_it_longer(bench: Any) -> None:
    one = bench(base_ejection_time_ms=100, max_ejection_time_ms=100, max_ejection_time_jitter_ms=9, **ALL)
    one.dice = 107
    one.put(0, *[500] * 5)
    one.after(106)
    assert one.flags() == [FAILED_OUTLIER_CHECK]
    one.after(1)
    assert one.flags() == [0]


def test_gateway_failures_are_detected_and_not_enforced_by_default(bench: Any) -> None:
    one = bench(consecutive_gateway_failure=2, **ALL)
    one.put(0, 503, 503)
    assert one.flags() == [0]
    assert one.counts() == {"detected_consecutive_gateway_failure": 1}
    assert actions(one) == [("EJECT", "CONSECUTIVE_GATEWAY_FAILURE", 0)]
    assert not json.loads(one.lines[0])["enforced"]
    one.put(0, 502, 504)
    assert one.counts() == {"detected_consecutive_gateway_failure": 2}


def test_enforcing_is_a_matter_of_luck(bench: Any) -> None:
    one = bench(3, enforcing_consecutive_5xx=30, **ALL)
    for host, dice in enumerate((29, 30, 129)):
        one.dice = dice
        one.put(host, *[500] * 5)
    assert one.flags() == [FAILED_OUTLIER_CHECK, 0, FAILED_OUTLIER_CHECK]
    assert one.counts()["total"] == 3
    assert one.counts()["enforced_total"] == 2


@pytest.mark.parametrize(
    ("percent", "always", "ejected"), [(10, False, 0), (10, True, 1), (50, False, 2), (74, True, 2)]
)
def test_how_many_may_be_ejected(bench: Any, percent: int, always: bool, ejected: int) -> None:
    one = bench(4, max_ejection_percent=percent, always_eject_one_host=always)
    for host in range(4):
        one.put(host, *[500] * 5)
    assert sum(flags != 0 for flags in one.flags()) == ejected
    assert one.counts()["overflow"] == 4 - ejected
    assert one.counts()["detected_consecutive_5xx"] == 4


def test_success_rates_below_the_deviation(bench: Any) -> None:
    one = bench(3, **RATES)
    for host in range(3):
        one.put(host, *([500] * 4 if host == 1 else [200] * 4))
    one.after(10)
    assert one.flags() == [0, FAILED_OUTLIER_CHECK, 0]
    average, threshold = one.detector.averages[False]
    assert average == pytest.approx(66.6667, abs=0.001)
    assert threshold == pytest.approx(61.9526, abs=0.001)
    assert one.detector.averages[True] == (-1.0, -1.0)
    assert [record.success_rate for record in one.detector.records.values()] == [100.0, 0.0, 100.0]
    assert one.counts() == {
        "active": 1,
        "detected_success_rate": 1,
        "enforced_success_rate": 1,
        "enforced_total": 1,
        "success_rate": 1,
        "total": 1,
    }
    event = json.loads(one.lines[0])["eject_success_rate_event"]
    assert event == {
        "host_success_rate": 0,
        "cluster_average_success_rate": 66,
        "cluster_success_rate_ejection_threshold": 61,
    }
    one.after(10)
    assert one.detector.averages[False] == (-1.0, -1.0)
    assert [record.success_rate for record in one.detector.records.values()] == [-1.0] * 3


def test_rates_need_requests_and_hosts(bench: Any) -> None:
    few = bench(3, **RATES)
    for host in range(3):
        few.put(host, 500, 500, 500)
    few.after(10)
    assert [record.success_rate for record in few.detector.records.values()] == [-1.0] * 3
    alone = bench(1, **RATES)
    alone.put(0, *[500] * 10)
    alone.after(10)
    assert alone.detector.averages[False] == (-1.0, -1.0)
    assert few.counts() == alone.counts() == {}


def test_failure_percentage(bench: Any) -> None:
    values = {
        **RATES,
        "success_rate_minimum_hosts": 100,
        "failure_percentage_minimum_hosts": 2,
        "failure_percentage_request_volume": 4,
        "failure_percentage_threshold": 50,
        "enforcing_failure_percentage": 100,
    }
    one = bench(3, **values)
    one.put(0, 500, 200, 500, 200)
    one.put(1, 500, 200, 200, 200)
    one.put(2, 500, 500, 500)
    one.after(10)
    assert one.flags() == [FAILED_OUTLIER_CHECK, 0, 0]
    assert one.counts() == {
        "active": 1,
        "detected_failure_percentage": 1,
        "enforced_failure_percentage": 1,
        "enforced_total": 1,
    }
    assert json.loads(one.lines[0])["eject_failure_percentage_event"] == {"host_success_rate": 50}


def test_by_rate_and_by_percentage_at_once_is_one_ejection(bench: Any) -> None:
    values = {**RATES, "failure_percentage_minimum_hosts": 2, "failure_percentage_request_volume": 4}
    one = bench(3, enforcing_failure_percentage=100, **values)
    for host in range(3):
        one.put(host, *([500] * 4 if host == 1 else [200] * 4))
    one.after(10)
    assert one.counts()["detected_failure_percentage"] == 1
    assert one.counts()["enforced_total"] == one.counts()["active"] == 1
    one.after(10**6)
    assert "active" not in one.counts()


def test_rates_of_local_origin(bench: Any) -> None:
    one = bench(2, **RATES)
    for host, result in ((0, 5), (1, 4)):
        one.monitors[host] = split = type(one.monitors[host])(one.table, 100 + 100 * host, one, True, False)
        for _ in range(4):
            split.put_result(result)
    one.after(10)
    assert one.detector.averages[True][0] == 50.0
    assert [record.local_origin_success_rate for record in one.detector.records.values()] == [100.0, 0.0]
    assert one.counts()["enforced_local_origin_success_rate"] == 1
    assert actions(one) == [("EJECT", "SUCCESS_RATE_LOCAL_ORIGIN", 1)]


def test_a_passed_check_brings_a_host_back(bench: Any) -> None:
    one = bench(2, **ALL)
    one.put(0, *[500] * 5)
    one.detector.on_check_passed(1)
    assert one.flags() == [FAILED_OUTLIER_CHECK, 0]
    one.detector.on_check_passed(0)
    assert one.flags() == [0, 0]
    stays = bench(successful_active_health_check_uneject_host=False, **ALL)
    stays.put(0, *[500] * 5)
    stays.detector.on_check_passed(0)
    assert stays.flags() == [FAILED_OUTLIER_CHECK]


def test_degraded_hosts(bench: Any) -> None:
    one = bench(base_ejection_time_ms=100, max_ejection_time_ms=1000, **ALL)
    for expected in (100, 200):
        one.report(100, EjectionType.DEGRADED)
        one.report(100, EjectionType.DEGRADED)
        assert one.flags() == [DEGRADED_OUTLIER_DETECTION]
        one.after(expected - 1)
        assert one.flags() == [DEGRADED_OUTLIER_DETECTION]
        one.after(1)
        assert one.flags() == [0]
    assert one.counts() == {"detected_degradation": 2}
    assert actions(one) == [("EJECT", "DEGRADED", 0), ("UNEJECT", "CONSECUTIVE_5XX", 0)] * 2
    assert one.detector.records[100].num_ejections == 0


def test_degraded_and_ejected(bench: Any) -> None:
    one = bench(**ALL)
    one.report(100, EjectionType.DEGRADED)
    one.put(0, *[500] * 5)
    assert one.flags() == [DEGRADED_OUTLIER_DETECTION | FAILED_OUTLIER_CHECK]


def test_hosts_come_and_go(bench: Any) -> None:
    one = bench(3, **ALL)
    one.put(0, *[500] * 5)
    one.put(1, *[500] * 5)
    one.put(2, *[500] * 4)
    one.set_hosts(0, 2)
    assert one.detector.ejected == 1
    assert one.counts()["active"] == 1
    one.report(200, EjectionType.CONSECUTIVE_5XX)
    one.put(2, 500)
    assert one.detector.records[300].ejected
    one.set_hosts(0, 1, 2)
    assert not one.detector.records[200].ejected
    assert one.monitors[1].consecutive(EjectionType.CONSECUTIVE_5XX) == 0
    assert [one.detector.find(i) is not None for i in range(4)] == [True, True, True, False]
    one.detector.close()
    assert one.stats.get(EJECTIONS_ACTIVE) == 0


def test_the_runtime_decides(bench: Any) -> None:
    reader = RuntimeReader(Snapshot({"outlier_detection.consecutive_5xx": make_entry(2)}))
    one = bench(2, runtime=reader)
    one.put(0, 500, 500)
    assert one.counts()["overflow"] == 1
    reader.snapshot = Snapshot({"outlier_detection.max_ejection_percent": make_entry(1000)})
    one.put(0, *[500] * 5)
    one.put(1, *[500] * 5)
    assert one.counts()["enforced_total"] == 2


def test_the_timer_runs(bench: Any) -> None:
    one = bench(interval_ms=0, **ALL)
    one.detector.start()
    one.put(0, 200)
    one.time.advance_ms(1)
    one.dispatcher.wheel.advance(one.time.monotonic_ns() // 1_000_000)
    assert one.detector.records[100].counts.window(False) == (1, 1)


def test_the_threshold_as_envoy_documents_it() -> None:
    assert ejection_threshold([50.0, 100.0, 100.0, 100.0, 100.0], 1.9) == (90.0, 52.0)
