"""Connection pools and circuit breakers: which connections are made and ended, which requests wait or are refused."""

import pytest
from tests.differential.harness import (
    Case,
    Do,
    Expect,
    Pairs,
    Release,
    Reply,
    Send,
    StatIs,
    Step,
    UpstreamSaw,
    case_id,
    request,
)
from tests.differential.upstream import FIN, RST, Hold, Read
from tests.differential.wire import End

LATE = (Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",)


def get(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()


def gauge(cluster: str, name: str, value: int) -> StatIs:
    return StatIs(f"cluster.{cluster}.{name}", value)


def breaker(cluster: str, name: str, value: int) -> StatIs:
    return gauge(cluster, f"circuit_breakers.default.{name}", value)


def pooled(
    name: str, cluster: str, *steps: Step, listener: str = "main", config: str = "pools", **rest: object
) -> Case:
    """Each case has a cluster of its own, so all of its counters can be compared, and only those."""
    stats = rf"^(http\.LISTENER\.|tcp\.LISTENER\.|cluster\.{cluster}\.)"
    exact = r"upstream_(cx|rq)_\w+(?<!_buffered)$"
    return Case(name, steps, config=config, listener=listener, stats=stats, exact=exact, **rest)  # type: ignore[arg-type]


def tcp(name: str, *steps: Step, raw: tuple[object, ...] = (Read(4), b"pong"), **rest: object) -> Case:
    return pooled(name, name, *steps, listener=name, raw=raw, **rest)


def held(path: str, on: int = 0, saw: int = 1) -> tuple[Step, ...]:
    """A request that the upstream has, and does not answer yet."""
    return (Send(get(path), on), UpstreamSaw(saw))


ping = (b"ping", Expect(b"pong"))

CONNECTIONS = [
    pooled("twice", "twice", *request(get("twice")) * 3, status=(200,) * 3, end=End.OPEN),
    pooled(
        "idle",
        "idle",
        *request(get("idle")),
        gauge("idle", "upstream_cx_idle_timeout", 1),
        gauge("idle", "upstream_cx_active", 0),
        *request(get("idle")),
        gauge("idle", "upstream_cx_idle_timeout", 2),
        gauge("idle", "upstream_cx_active", 0),
        status=(200, 200),
    ),
    pooled(
        "duration",
        "duration",
        *request(get("duration")),
        gauge("duration", "upstream_cx_max_duration_reached", 1),
        gauge("duration", "upstream_cx_active", 0),
        status=200,
    ),
    pooled(
        "closed_while_idle",
        "closing",
        *request(get("closing")),
        gauge("closing", "upstream_cx_destroy_remote", 1),
        *request(get("closing")),
        answers=[(OK, FIN)],
        status=(200, 200),
        forwarded=2,
    ),
    pooled(
        "reset_while_idle",
        "resetting",
        *request(get("resetting")),
        gauge("resetting", "upstream_cx_active", 0),
        *request(get("resetting")),
        answers=[(OK, RST)],
        status=(200, 200),
        forwarded=2,
    ),
    pooled(
        "bytes_while_idle",
        "talking",
        *request(get("talking")),
        Release("more"),
        gauge("talking", "upstream_cx_active", 0),
        *request(get("talking")),
        answers=[(OK, Hold("more"), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
        status=(200, 200),
        forwarded=2,
    ),
    pooled(
        "a_pool_per_downstream",
        "own_pools",
        *request(get("own_pools")) * 2,
        Send(get("own_pools"), on=1),
        Reply(on=1),
        gauge("own_pools", "upstream_cx_active", 2),
        status=(200,) * 3,
        forwarded=3,
    ),
    pooled(
        "no_second_pool",
        "one_pool",
        *held("one_pool"),
        breaker("one_pool", "cx_pool_open", 1),
        Send(get("one_pool"), on=1),
        Reply(on=1),
        Release(),
        Reply(),
        answers=[LATE],
        status=(503, 200),
        log="503 UH no_healthy_upstream",
    ),
]

AHEAD = [
    pooled(
        "preconnect",
        "ahead",
        *held("ahead"),
        gauge("ahead", "upstream_cx_active", 2),
        *held("ahead", 1, 2),
        gauge("ahead", "upstream_cx_active", 4),
        Release(),
        Reply(),
        Reply(on=1),
        answers=[LATE, LATE],
        status=(200, 200),
    ),
    pooled(
        "preconnect_one_and_a_half",
        "half_ahead",
        *held("half_ahead"),
        gauge("half_ahead", "upstream_cx_active", 2),
        *held("half_ahead", 1, 2),
        gauge("half_ahead", "upstream_cx_active", 3),
        Release(),
        Reply(),
        Reply(on=1),
        answers=[LATE, LATE],
        status=(200, 200),
    ),
    pooled(
        "preconnect_predictive",
        "predictive",
        get("predictive"),
        gauge("predictive", "upstream_rq_active", 1),
        gauge("predictive", "upstream_cx_active", 3),
        Release(upstream="first"),
        Release(upstream="second"),
        Release(upstream="third"),
        Reply(),
        config="pools_ahead",
        answers_of={name: [LATE] for name in ("first", "second", "third")},
        status=200,
        ignore=(r"^upstream", r"^log"),
    ),
    pooled("preconnect_within_the_limit", "ahead_limited", *request(get("ahead_limited")), status=200),
    pooled(
        "preconnect_refused",
        "ahead_refused",
        *request(get("ahead_refused")),
        gauge("ahead_refused", "upstream_cx_active", 0),
        status=503,
        log="503 UF",
    ),
]

BREAKERS = [
    pooled(
        "connections_per_host",
        "per_host",
        *held("per_host"),
        Send(get("per_host"), on=1),
        gauge("per_host", "upstream_rq_pending_active", 1),
        Release(),
        Reply(),
        Reply(on=1),
        answers=[LATE, LATE],
        status=(200, 200),
        forwarded=2,
    ),
    pooled(
        "what_remains",
        "remaining",
        *held("remaining"),
        breaker("remaining", "remaining_rq", 6),
        breaker("remaining", "remaining_cx", 4),
        breaker("remaining", "remaining_pending", 1024),
        breaker("remaining", "remaining_retries", 3),
        breaker("remaining", "remaining_cx_pools", (1 << 64) - 2),
        Release(),
        Reply(),
        breaker("remaining", "remaining_rq", 7),
        breaker("remaining", "remaining_cx", 4),
        answers=[LATE],
        status=200,
    ),
    pooled(
        "no_requests",
        "no_requests",
        *request(get("no_requests")),
        breaker("no_requests", "rq_open", 0),
        breaker("no_requests", "remaining_rq", 0),
        status=503,
        log="503 UO",
    ),
    pooled(
        "no_connections",
        "no_connections",
        *request(get("no_connections")),
        breaker("no_connections", "cx_open", 1),
        status=200,
    ),
    pooled(
        "no_pending", "no_pending", *request(get("no_pending")), breaker("no_pending", "rq_pending_open", 0), status=503
    ),
    pooled(
        "no_retries",
        "no_retries",
        *request(get("no_retries")),
        breaker("no_retries", "rq_retry_open", 0),
        answers=[BAD],
        status=503,
        forwarded=1,
        log="503 UO",
    ),
    pooled(
        "requests_open_and_closed",
        "open_requests",
        *held("open_requests"),
        breaker("open_requests", "rq_open", 1),
        Send(get("open_requests"), on=1),
        Reply(on=1),
        Release(),
        Reply(),
        breaker("open_requests", "rq_open", 0),
        answers=[LATE],
        status=(503, 200),
        log="503 UO",
    ),
    pooled(
        "connections_open",
        "open_connections",
        *held("open_connections"),
        breaker("open_connections", "cx_open", 1),
        Release(),
        Reply(),
        breaker("open_connections", "cx_open", 1),
        answers=[LATE],
        status=200,
    ),
    pooled(
        "pending_open_and_closed",
        "open_pending",
        *held("open_pending"),
        Send(get("open_pending"), on=1),
        breaker("open_pending", "rq_pending_open", 1),
        Release(),
        Reply(),
        Reply(on=1),
        breaker("open_pending", "rq_pending_open", 0),
        answers=[LATE, LATE],
        status=(200, 200),
    ),
    pooled("limit_of_the_runtime", "by_runtime", *request(get("by_runtime")), status=503, log="503 UO"),
    pooled(
        "retry_budget_of_the_runtime",
        "budget_by_runtime",
        *request(get("budget_by_runtime")),
        answers=[BAD],
        status=503,
        forwarded=1,
        log="503 UO",
    ),
    pooled("default_priority", "by_priority", *request(get("by_priority")), status=200),
    pooled("high_priority", "by_priority", *request(get("high")), status=503, log="503 UO"),
]

SOURCES = [
    pooled(
        "transport_sockets_by_metadata",
        "matched",
        *request(get("matched")),
        gauge("matched", "a.total_match_count", 2),
        gauge("matched", "b.total_match_count", 1),
        gauge("matched", "default.total_match_count", 1),
        status=200,
    ),
    pooled("bound", "bound", *request(get("bound")), status=200, log="127.0.0.5"),
    pooled("bound_by_version", "bound_second", *request(get("bound_second")), status=200, log="127.0.0.6"),
    pooled("bound_freely", "bound_freely", *request(get("bound_freely")), status=200, log="127.0.0.7"),
    pooled("bound_by_a_selector", "bound_by_selector", *request(get("bound_by_selector")), status=200, log="127.0.0.8"),
    pooled("bound_nowhere", "bound_nowhere", *request(get("bound_nowhere")), status=503, log="503 UF", forwarded=0),
]

TCP = [
    tcp(
        "tcp_one",
        *ping,
        breaker("tcp_one", "cx_open", 1),
        Send(b"", on=1),
        Do("end", on=1),
        Do("close"),
        gauge("tcp_one", "upstream_cx_active", 0),
        breaker("tcp_one", "cx_open", 0),
        Send(b"ping", on=2),
        Expect(b"pong", on=2),
    ),
    tcp("tcp_none", b"", Do("end"), end=End.CLOSED),
    tcp(
        "tcp_per_host",
        *ping,
        Send(b"ping", on=1),
        gauge("tcp_per_host", "upstream_rq_pending_active", 1),
        Do("close"),
        Expect(b"pong", on=1),
    ),
    tcp("tcp_no_requests", *ping, breaker("tcp_no_requests", "rq_open", 1)),
    tcp("tcp_ahead", *ping, gauge("tcp_ahead", "upstream_cx_active", 2)),
]


@pytest.mark.parametrize("case", [*CONNECTIONS, *AHEAD, *BREAKERS, *SOURCES, *TCP], ids=case_id)
def test_pools(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
