"""Counts of outlier detection: what each result does to them, and that they hold over processes."""

from __future__ import annotations

import os
import threading

import pytest

from proxeny.kernel.outlier import (
    CELLS_OF_A_HOST,
    EXT_ORIGIN_REQUEST_DEGRADED,
    EXT_ORIGIN_REQUEST_FAILED,
    EXT_ORIGIN_REQUEST_SUCCESS,
    LOCAL_ORIGIN_CONNECT_FAILED,
    LOCAL_ORIGIN_CONNECT_SUCCESS,
    LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL,
    LOCAL_ORIGIN_TIMEOUT,
    HostMonitor,
    OutlierCounts,
    OutlierTable,
)
from proxeny.upstream.stats import HOST

BASE = 100
FIVE_XX, GATEWAY, LOCAL, DEGRADED = 0, 1, 3, 7


class Rules:
    """Three failures of a kind are an outlier."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def threshold(self, kind: int) -> int:
        return 3

    def report(self, base: int, kind: int) -> None:
        self.told.append((base, kind))


def monitor(split: bool = False, degrades: bool = False) -> tuple[HostMonitor, Rules]:
    rules = Rules()
    return HostMonitor(OutlierTable.create(), BASE, rules, split, degrades), rules


def windows(counts: OutlierCounts) -> tuple[tuple[int, int], tuple[int, int]]:
    counts.turn()
    return counts.window(False), counts.window(True)


def test_a_host_fits_into_the_memory_of_its_stat_block() -> None:
    assert 2 * HOST.size >= CELLS_OF_A_HOST


def test_the_failure_that_makes_the_threshold_is_told_and_only_it() -> None:
    host, rules = monitor()
    for _ in range(5):
        host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)
    assert rules.told == [(BASE, FIVE_XX)]
    assert host.consecutive(FIVE_XX) == 5
    host.reset(FIVE_XX)
    for _ in range(3):
        host.put_result(EXT_ORIGIN_REQUEST_FAILED, 599)
    assert rules.told == [(BASE, FIVE_XX)] * 2


def test_gateway_failures_are_5xx_too_and_told_first() -> None:
    host, rules = monitor()
    for code in (502, 503, 504):
        host.put_result(EXT_ORIGIN_REQUEST_FAILED, code)
    assert rules.told == [(BASE, GATEWAY), (BASE, FIVE_XX)]
    host.put_result(EXT_ORIGIN_REQUEST_FAILED, 501)
    assert (host.consecutive(FIVE_XX), host.consecutive(GATEWAY)) == (4, 0)


def test_a_good_response_ends_a_row() -> None:
    host, rules = monitor()
    for code in (500, 503, 200, 503, 503, 404, 503, 503):
        host.put_result(EXT_ORIGIN_REQUEST_SUCCESS if code < 500 else EXT_ORIGIN_REQUEST_FAILED, code)
    assert rules.told == []
    assert windows(host) == ((8, 2), (0, 0))


@pytest.mark.parametrize(
    ("result", "code", "failed", "gateway"),
    [
        (LOCAL_ORIGIN_TIMEOUT, -1, 1, 1),
        (LOCAL_ORIGIN_TIMEOUT, 204, 0, 0),
        (LOCAL_ORIGIN_CONNECT_FAILED, -1, 1, 1),
        (EXT_ORIGIN_REQUEST_FAILED, -1, 1, 0),
        (EXT_ORIGIN_REQUEST_SUCCESS, -1, 0, 0),
        (EXT_ORIGIN_REQUEST_DEGRADED, 200, 0, 0),
        (LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL, -1, 0, 0),
    ],
)
def test_what_results_count_as(result: int, code: int, failed: int, gateway: int) -> None:
    host, _ = monitor()
    host.put_result(result, code)
    assert (host.consecutive(FIVE_XX), host.consecutive(GATEWAY)) == (failed, gateway)
    assert windows(host) == ((1, 1 - failed), (0, 0))


def test_a_connection_under_a_request_is_no_result() -> None:
    host, _ = monitor()
    host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)
    host.put_result(LOCAL_ORIGIN_CONNECT_SUCCESS)
    assert host.consecutive(FIVE_XX) == 1
    assert windows(host) == ((1, 0), (0, 0))


def test_split_errors_are_counted_apart() -> None:
    host, rules = monitor(split=True)
    host.put_result(LOCAL_ORIGIN_CONNECT_SUCCESS)
    host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)
    host.put_result(EXT_ORIGIN_REQUEST_FAILED)
    host.put_result(EXT_ORIGIN_REQUEST_SUCCESS, 200)
    host.put_result(LOCAL_ORIGIN_TIMEOUT, 504)
    host.put_result(LOCAL_ORIGIN_CONNECT_FAILED)
    host.put_result(LOCAL_ORIGIN_CONNECT_FAILED)
    assert rules.told == [(BASE, LOCAL)]
    assert host.consecutive(FIVE_XX) == 0
    host.put_result(LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL)
    host.put_result(EXT_ORIGIN_REQUEST_SUCCESS)
    assert host.consecutive(LOCAL) == 0
    assert windows(host) == ((4, 2), (6, 3))


def test_degradation_is_told_once_until_it_ended() -> None:
    host, rules = monitor(degrades=True)
    for _ in range(3):
        host.put_result(EXT_ORIGIN_REQUEST_DEGRADED, 200)
    assert rules.told == [(BASE, DEGRADED)]
    host.reset_degraded()
    host.put_result(EXT_ORIGIN_REQUEST_DEGRADED, 200)
    assert rules.told == [(BASE, DEGRADED)] * 2
    plain, rules = monitor()
    plain.put_result(EXT_ORIGIN_REQUEST_DEGRADED, 200)
    assert rules.told == []


def test_windows_turn() -> None:
    host, _ = monitor()
    host.put_result(EXT_ORIGIN_REQUEST_SUCCESS, 200)
    assert host.window(False) == (0, 0)
    host.turn()
    host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)
    assert host.window(False) == (1, 1)
    host.turn()
    assert host.window(False) == (1, 0)
    host.turn()
    assert host.window(False) == (0, 0)


def test_clear_and_bad_kinds() -> None:
    host, _ = monitor()
    host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)
    host.clear()
    assert host.consecutive(FIVE_XX) == 0
    assert windows(host) == ((0, 0), (0, 0))
    for kind in (2, 4, 7, -1):
        with pytest.raises(ValueError):
            host.reset(kind)
    with pytest.raises(ValueError):
        OutlierCounts(OutlierTable.create(), 1 << 40)


def test_what_rules_raise_comes_through() -> None:
    class Broken(Rules):
        def threshold(self, kind: int) -> int:
            raise RuntimeError("broken")

    host = HostMonitor(OutlierTable.create(), BASE, Broken(), False, False)
    with pytest.raises(RuntimeError):
        host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)


def test_failures_seen_by_different_processes_are_one_row() -> None:
    rules = [Rules() for _ in range(5)]
    table = OutlierTable.create()
    others = [HostMonitor(OutlierTable(os.dup(table.fd)), BASE, one, False, False) for one in rules]
    for host in others[:3]:
        host.put_result(EXT_ORIGIN_REQUEST_FAILED, 500)
    assert [one.told for one in rules] == [[], [], [(BASE, FIVE_XX)], [], []]


def test_the_descriptor_goes_with_the_table() -> None:
    table = OutlierTable.create()
    fd = table.fd
    host = HostMonitor(table, BASE, Rules(), False, False)
    del table
    os.fstat(fd)
    del host
    with pytest.raises(OSError):
        os.fstat(fd)
    with pytest.raises(OSError):
        OutlierTable(-1)


def test_no_count_is_lost_between_writers() -> None:
    table = OutlierTable.create()
    hosts = [HostMonitor(OutlierTable(os.dup(table.fd)), BASE, Rules(), False, False) for _ in range(4)]

    def put(host: HostMonitor) -> None:
        for _ in range(2000):
            host.put_result(EXT_ORIGIN_REQUEST_SUCCESS, 200)

    threads = [threading.Thread(target=put, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = OutlierCounts(table, BASE)
    counts.turn()
    assert counts.window(False) == (8000, 8000)
