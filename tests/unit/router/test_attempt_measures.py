"""What is measured of attempts, with and without a log behind it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from proxeny.kernel.headers import HeaderMap
from proxeny.router.attempt_measures import AttemptMeasures, end_by_timeout, percentage, record_budget
from proxeny.stats.store import MainStore
from proxeny.upstream.stats import REQUEST_RESPONSE_SIZES, TIMEOUT_BUDGETS

REQUEST = HeaderMap(((b":method", b"GET"), (b"a", b"bc")))
RESPONSE = HeaderMap(((b":status", b"200"),))


class Sink:
    """A block that keeps samples."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.samples: list[tuple[str, int]] = []

    def record(self, slot: int, value: int) -> None:
        self.samples.append((self._names[slot], value))


class Log:
    def __init__(self) -> None:
        self.flags = self.sent = self.received = 0
        self.calls: list[Any] = []

    def on_pool_ready(self) -> None:
        self.calls.append("ready")

    def on_headers(self, headers: HeaderMap) -> None:
        self.calls.append("headers")

    def on_trailers(self, trailers: HeaderMap) -> None:
        self.calls.append(("trailers", self.sent, self.received))

    def end(self, with_last_bytes: bool = False) -> None:
        self.calls.append(("end", with_last_bytes, self.sent, self.received))


def attempt(budgets: bool = True, sizes: bool = True) -> Any:
    assert MainStore().block(TIMEOUT_BUDGETS, "x.").size == 2
    cluster = SimpleNamespace(
        timeout_budgets=Sink(TIMEOUT_BUDGETS.names) if budgets else None,
        request_response_sizes=Sink(REQUEST_RESPONSE_SIZES.names) if sizes else None,
    )
    clock = SimpleNamespace(now=1_000_000_000)
    clock.monotonic_ns = lambda: clock.now
    router = SimpleNamespace(
        cluster=cluster, config=SimpleNamespace(clock=clock), request_headers=REQUEST, complete_ns=1_000_000_000,
        timeout_ms=1000, per_try_timeout_ms=500,
    )  # fmt: skip
    return SimpleNamespace(router=router, clock=clock, cluster=cluster, log=None)


def test_a_whole_response() -> None:
    upstream = attempt()
    log = Log()
    measures = AttemptMeasures(upstream, log)  # type: ignore[arg-type]
    measures.on_pool_ready()
    measures.sent += 10
    measures.on_headers(RESPONSE)
    measures.received += 3
    measures.flags |= 4
    upstream.clock.now += 250_000_000
    measures.end(with_last_bytes=True)
    measures.end()
    assert upstream.cluster.timeout_budgets.samples == [
        ("upstream_rq_timeout_budget_percent_used", 25),
        ("upstream_rq_timeout_budget_per_try_percent_used", 50),
    ]
    assert upstream.cluster.request_response_sizes.samples == [
        ("upstream_rq_headers_size", 13),
        ("upstream_rq_headers_count", 2),
        ("upstream_rq_body_size", 10),
        ("upstream_rs_headers_size", 10),
        ("upstream_rs_headers_count", 1),
        ("upstream_rs_body_size", 3),
    ]
    assert (log.flags, measures.flags) == (4, 4)
    assert log.calls == ["ready", "headers", ("end", True, 10, 3), ("end", False, 10, 3)]


def test_no_response() -> None:
    upstream = attempt(budgets=False)
    measures = AttemptMeasures(upstream, None)
    measures.flags |= 1
    measures.on_trailers(RESPONSE)
    measures.on_pool_ready()
    measures.end()
    assert [name for name, _ in upstream.cluster.request_response_sizes.samples] == [
        "upstream_rq_headers_size",
        "upstream_rq_headers_count",
        "upstream_rq_body_size",
    ]


def test_the_time_of_the_whole_was_up() -> None:
    upstream = attempt(sizes=False)
    end_by_timeout(upstream)
    upstream.log = AttemptMeasures(upstream, None)
    end_by_timeout(upstream)
    upstream.log.end()
    assert upstream.cluster.timeout_budgets.samples == []
    upstream.clock.now += 1_000_000_000
    record_budget(upstream.cluster.timeout_budgets, upstream.router)
    upstream.router.complete_ns = 0
    record_budget(upstream.cluster.timeout_budgets, upstream.router)
    assert upstream.cluster.timeout_budgets.samples == [("upstream_rq_timeout_budget_percent_used", 100)]


def test_percentage() -> None:
    assert [percentage(5, 0), percentage(5, 10), percentage(25, 10)] == [0, 50, 250]
