"""Timeouts, connect failures and circuit breakers. Only that they strike, and how, is compared: never when."""

import pytest
from tests.differential.harness import (
    Case,
    Do,
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
from tests.differential.upstream import BODY, NEVER, Hold
from tests.differential.wire import End

OK_LATE = (Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()


def post(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc".encode()


def timed(name: str, *steps: Step, listener: str = "main", **rest: object) -> Case:
    return Case(name, steps, config="timeouts", listener=listener, **rest)  # type: ignore[arg-type]


TIMEOUTS = [
    timed("route_timeout", *request(get("/timeout")), answers=[(NEVER,)], status=504, end=End.OPEN, log="504 UT"),
    timed(
        "route_timeout_after_head",
        *request(get("/timeout")),
        status=200,
        end=End.CLOSED,
        log="UT",
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", NEVER)],
    ),
    timed(
        "timeout_header_from_outside",
        *request(get("/").replace(b"\r\n\r\n", b"\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\n\r\n")),
        status=200,
        end=End.OPEN,
    ),
    timed(
        "route_timeout_starts_with_complete_request",
        post("/timeout"),
        UpstreamSaw(),
        Send(b"defghij"),
        Reply(),
        status=200,
        answers=[(BODY, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    ),
    timed("route_idle_timeout", *request(get("/idle")), answers=[(NEVER,)], status=504, log="SI"),
    timed(
        "route_idle_timeout_in_answer",
        *request(get("/idle")),
        status=200,
        end=End.CLOSED,
        log="SI",
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", NEVER)],
    ),
    timed("route_idle_timeout_in_request", post("/idle"), Reply(), Do("end"), answers=[(NEVER,)], status=408, log="SI"),
    timed(
        "route_max_stream_duration",
        *request(get("/duration")),
        answers=[(NEVER,)],
        status=504,
        end=End.OPEN,
        log="max_duration_timeout",
    ),
    timed(
        "request_timeout",
        post("/"),
        Reply(),
        Do("end"),
        listener="request_timeout",
        answers=[(NEVER,)],
        status=408,
        log="408",
    ),
    timed(
        "request_headers_timeout",
        get("/")[:-4],
        Reply(),
        Do("end"),
        listener="headers_timeout",
        status=408,
        forwarded=0,
    ),
    timed(
        "stream_idle_in_request",
        post("/"),
        Reply(),
        Do("end"),
        listener="stream_idle",
        answers=[(NEVER,)],
        status=408,
        log="SI",
    ),
    timed(
        "stream_idle_in_answer",
        *request(get("/")),
        listener="stream_idle",
        status=200,
        end=End.CLOSED,
        log="SI",
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", NEVER)],
    ),
    timed("stream_idle_waiting", *request(get("/")), listener="stream_idle", answers=[(NEVER,)], status=504, log="SI"),
    timed("connection_idle", *request(get("/")), Do("end"), listener="idle", status=200, end=End.CLOSED),
    timed("connection_idle_at_once", b"", Do("end"), listener="idle", end=End.CLOSED),
    timed("connection_duration", *request(get("/")), Do("end"), listener="duration", status=200, end=End.CLOSED),
]

FAILURES = [
    timed("connect_refused", *request(get("/refused")), status=503, end=End.OPEN, forwarded=0, log="503 UF"),
    timed(
        "connect_refused_twice", *request(get("/refused")), *request(get("/refused")), status=(503, 503), end=End.OPEN
    ),
    timed("connect_refused_post", *request(post("/refused") + b"defghij"), status=503, forwarded=0),
    timed("connect_timeout", *request(get("/silent")), status=503, end=End.OPEN, forwarded=0, log="503 UF"),
    timed(
        "connect_abandoned",
        get("/silent"),
        StatIs("cluster.silent.upstream_rq_pending_active", 1),
        Do("rst"),
        forwarded=0,
    ),
]

BREAKERS = [
    timed(
        "pending_queue",
        get("/narrow"),
        UpstreamSaw(1, "narrow"),
        Send(get("/narrow"), on=1),
        StatIs("cluster.narrow.upstream_rq_pending_active", 1),
        Release(upstream="narrow"),
        Reply(),
        Reply(on=1),
        answers_of={"narrow": [OK_LATE]},
        status=(200, 200),
    ),
    timed(
        "pending_overflow",
        get("/narrow"),
        UpstreamSaw(1, "narrow"),
        Send(get("/narrow"), on=1),
        StatIs("cluster.narrow.upstream_rq_pending_active", 1),
        Send(get("/narrow"), on=2),
        Reply(on=2),
        Release(upstream="narrow"),
        Reply(),
        Reply(on=1),
        answers_of={"narrow": [OK_LATE]},
        status=(503, 200, 200),
        log="503 UO",
    ),
    timed(
        "requests_overflow",
        get("/one"),
        UpstreamSaw(1, "one"),
        Send(get("/one"), on=1),
        Reply(on=1),
        Release(upstream="one"),
        Reply(),
        answers_of={"one": [OK_LATE]},
        status=(503, 200),
        log="503 UO",
    ),
]


@pytest.mark.parametrize("case", [*TIMEOUTS, *FAILURES, *BREAKERS], ids=case_id)
def test_timeouts(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
