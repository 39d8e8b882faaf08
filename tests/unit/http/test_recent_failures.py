"""The ring of failed requests: what is a failure, what is kept of it, and what a flood costs."""

from types import SimpleNamespace
from typing import Any

import pytest

from proxeny.http.recent_failures import MOST, REDACTED, FailedRequest, RecentFailures, is_failure
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo


class Timer:
    def __init__(self, callback: Any) -> None:
        self.fire = callback
        self.armed: list[int] = []

    def enable(self, milliseconds: int) -> None:
        self.armed.append(milliseconds)

    def close(self) -> None:
        self.armed.clear()


def stream(code: int, details: str, *flags: ResponseFlag, headers: HeaderMap | None = None) -> Any:
    connection = ConnectionInfo(ip_address("127.0.0.1", 80), ip_address("10.0.0.1", 5), 1)
    info = StreamInfo(connection, 1000.0, 5_000)
    info.response_code, info.response_code_details = code, details
    info.end_ns, info.last_downstream_rx_ns = 2_005_000, 6_000
    for flag in flags:
        info.set_flag(flag)
    config = SimpleNamespace(context=SimpleNamespace(listener_name="l"), stat_prefix="http.p.")
    return SimpleNamespace(stream_info=info, request_headers=headers, config=config, stream_id=7)


@pytest.fixture
def ring() -> tuple[RecentFailures, list[list[FailedRequest]], Timer]:
    sent: list[list[FailedRequest]] = []
    timers: list[Timer] = []

    def create(callback: Any) -> Timer:
        timers.append(Timer(callback))
        return timers[0]

    return RecentFailures(create, sent.append, 3), sent, timers[0]


@pytest.mark.parametrize(
    ("code", "details", "flags", "failed"),
    [
        (200, "via_upstream", (), False),
        (503, "via_upstream", (), False),
        (503, "via_upstream", (ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED,), True),
        (404, "route_not_found", (ResponseFlag.NO_ROUTE_FOUND,), True),
        (404, "direct_response", (), True),
        (200, "direct_response", (), False),
        (301, "direct_response", (), False),
        (0, "", (ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION,), True),
        (200, "via_upstream", (ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION,), True),
        (200, "via_upstream", (ResponseFlag.DELAY_INJECTED,), False),
        (200, "response_from_cache_filter", (ResponseFlag.RESPONSE_FROM_CACHE_FILTER,), False),
        (0, "", (), True),
    ],
)
def test_what_is_a_failure(code: int, details: str, flags: tuple[ResponseFlag, ...], failed: bool) -> None:
    assert is_failure(stream(code, details, *flags).stream_info) is failed


def test_what_is_kept(ring: tuple[RecentFailures, list[list[FailedRequest]], Timer]) -> None:
    failures, sent, timer = ring
    pairs = [
        (b":method", b"GET"),
        (b":authority", b"a.test"),
        (b":path", b"/" + b"p" * 1000),
        (b"authorization", b"Basic x"),
        (b"x" * 100, b"v" * 1000),
        *[(b"n%d" % number, b"\xff") for number in range(100)],
    ]
    failures.record(stream(404, "route_not_found", ResponseFlag.NO_ROUTE_FOUND, headers=HeaderMap(pairs)))
    assert (timer.armed, sent) == ([100], [])
    timer.fire()
    ((one,),) = sent
    assert (one.worker, one.listener, one.connection_manager, one.client) == (3, "l", "p", "10.0.0.1:5")
    assert (one.method, one.authority, len(one.path), one.random_value) == ("GET", "a.test", 512, 7)
    assert (one.code, one.flags, one.details, one.route_found) == (404, "NR", "route_not_found", False)
    assert (one.duration_us, one.request_us, one.upstream_us) == (2000, 1, -1)
    assert one.headers[0] == ("authorization", REDACTED)
    assert [len(text) for text in one.headers[1]] == [64, 128]
    assert len(one.headers) == 32
    assert one.headers[2] == ("n0", "\xff")


def test_a_flood_is_told_of_by_its_last_ones(ring: tuple[RecentFailures, list[list[FailedRequest]], Timer]) -> None:
    failures, sent, timer = ring
    for code in range(400, 400 + 3 * MOST):
        failures.record(stream(code, "x"))
    assert timer.armed == [100]
    timer.fire()
    assert [one.code for one in sent[0]] == list(range(400 + 2 * MOST, 400 + 3 * MOST))
    failures.record(stream(500, "x"))
    assert timer.armed == [100, 100]


def test_what_succeeds_arms_nothing(ring: tuple[RecentFailures, list[list[FailedRequest]], Timer]) -> None:
    failures, _, timer = ring
    failures.record(stream(200, "direct_response"))
    assert timer.armed == []
