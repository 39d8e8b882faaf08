"""Retries and hedging: what is tried again, how often, where, and what is counted. When is never asserted."""

from typing import Any

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
from tests.differential.upstream import BODY, FIN, NEVER, OK, RST, Answer, Hold
from tests.differential.wire import End

INTERNAL = "X-Forwarded-For: 10.0.0.1"
"""Makes the request internal: its x-envoy-* headers are trusted."""


def answer(status: int, *headers: str, body: str = "bad") -> Answer:
    lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body)}", *headers]
    return (("\r\n".join(lines) + "\r\n\r\n" + body).encode(),)


BAD = answer(503)
OK_LATE = (Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
BAD_LATE = (Hold(), b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nlate")


def get(path: str, *headers: str, host: str = "a.test", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(path: str, body: bytes = b"0123456789", *headers: str, length: int | None = None) -> bytes:
    return get(path, f"Content-Length: {len(body) if length is None else length}", *headers, method="POST") + body


def grpc(path: str, *headers: str) -> bytes:
    return get(path, "Content-Type: application/grpc", "TE: trailers", *headers, method="POST")


def retried(name: str, *steps: Step, listener: str = "main", **rest: object) -> Case:
    return Case(name, steps, config="retries", listener=listener, **rest)  # type: ignore[arg-type]


def one(name: str, path: str, *answers: Answer, status: int | None = None, headers: tuple[str, ...] = ()) -> Case:
    """One GET; the upstream gives ``answers`` in turn, then 200."""
    return retried(name, *request(get(path, *headers)), answers=answers, status=status)


ON_RESPONSES = [
    one("5xx_500", "/5xx", answer(500), status=200),
    one("5xx_599", "/5xx", answer(599), status=200),
    one("5xx_600", "/5xx", answer(600)),
    one("5xx_404", "/5xx", answer(404), status=404),
    one("5xx_twice", "/5xx", BAD, answer(502), status=502),
    one("gateway_error_501", "/gateway_error", answer(501), status=501),
    one("gateway_error_502", "/gateway_error", answer(502), status=200),
    one("gateway_error_504", "/gateway_error", answer(504), status=200),
    one("retriable_4xx_409", "/retriable_4xx", answer(409), status=200),
    one("retriable_4xx_404", "/retriable_4xx", answer(404), status=404),
    one("connect_failure_503", "/connect_failure", BAD, status=503),
    one("reset_503", "/reset", BAD, status=503),
    one("refused_stream_503", "/refused_stream", BAD, status=503),
    one("http3_503", "/http3_post_connect_failure", BAD, status=503),
    one("codes_of_none", "/retriable_status_codes", BAD, status=503),
    one("codes_404", "/codes", answer(404), status=200),
    one("codes_405", "/codes", answer(405), status=405),
    one("codes_too_early", "/codes", answer(425), status=200),
    one("codes_too_early_for_the_client", "/codes", answer(425), status=425, headers=("Early-Data: 1",)),
    one("headers_of_none", "/retriable_headers", answer(200, "x-again: yes"), status=200),
    one("headers_match", "/headers", answer(200, "x-again: yes"), status=200),
    one("headers_differ", "/headers", answer(200, "x-again: no"), status=200),
    one("rate_limited", "/envoy_ratelimited", answer(429, "x-envoy-ratelimited: true"), status=200),
    one("rate_limited_not_asked", "/5xx", answer(503, "x-envoy-ratelimited: true"), status=503),
    one("rate_limited_429", "/envoy_ratelimited", answer(429), status=429),
    one("overloaded", "/5xx", answer(503, "x-envoy-overloaded: true"), status=200),
    one("grpc_cancelled", "/cancelled", answer(200, "grpc-status: 1"), status=200),
    one("grpc_deadline", "/deadline_exceeded", answer(200, "grpc-status: 4"), status=200),
    one("grpc_internal", "/internal", answer(200, "grpc-status: 13"), status=200),
    one("grpc_exhausted", "/resource_exhausted", answer(200, "grpc-status: 8"), status=200),
    one("grpc_unavailable", "/unavailable", answer(200, "grpc-status: 14"), status=200),
    one("grpc_other", "/unavailable", answer(200, "grpc-status: 13"), status=200),
    one("mixed_first", "/mixed", answer(409), status=200),
    one("mixed_blank", "/mixed", answer(200, "grpc-status: 14"), status=200),
    one("mixed_last", "/mixed", answer(502), status=200),
    one("request_headers_there", "/request_headers", BAD, status=200, headers=("X-Please: 1",)),
    one("request_headers_absent", "/request_headers", BAD, status=503),
    one("many", "/many", BAD, BAD, BAD, status=200),
    one("too_many", "/many", BAD, BAD, BAD, answer(500), status=500),
    one("none", "/none", BAD, status=503),
    one("mutations", "/mutated", BAD, status=200),
    retried("of_the_host", *request(get("/", host="host.test")), answers=[BAD], status=200),
    retried("of_the_route", *request(get("/own", host="host.test")), answers=[answer(500)], status=500),
    one("of_the_cluster", "/of_cluster", answer(409), status=200),
    one("of_the_cluster_alone", "/of_both", BAD, status=503),
    one("large_bad_answer", "/5xx", answer(503, body="x" * 100_000), status=200),
    retried("head", *request(get("/5xx", method="HEAD"), head_only=True), answers=[answer(503, body="")], status=200),
]
ON_RESETS = [
    one("5xx_reset", "/5xx", (RST,), status=200),
    one("5xx_close", "/5xx", (FIN,), status=200),
    one("5xx_protocol_error", "/5xx", (b"rubbish\r\n\r\n", NEVER), status=200),
    one("gateway_error_reset", "/gateway_error", (RST,), status=200),
    one("reset_reset", "/reset", (RST,), status=200),
    one("reset_in_the_head", "/reset", (b"HTTP/1.1 200 OK\r\ncontent-", RST), status=200),
    one("reset_in_the_body", "/reset", (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", RST), status=200),
    one("reset_before_request_after", "/reset_before_request", (RST,), status=503),
    one("connect_failure_reset", "/connect_failure", (RST,), status=503),
    one("retriable_4xx_reset", "/retriable_4xx", (RST,), status=503),
    one("refused_stream_reset", "/refused_stream", (RST,), status=503),
    one("reset_twice", "/reset", (RST,), (RST,), status=503),
    one("refused", "/refused", status=503),
    one("refused_5xx", "/refused_5xx", status=503),
    one("refused_reset", "/refused_reset", status=503),
    one("refused_before_request", "/refused_before", status=503),
    one("refused_4xx", "/refused_4xx", status=503),
    one("continue_then_bad", "/5xx", (b"HTTP/1.1 100 Continue\r\n\r\n", *BAD), status=503),
    one("continue_then_reset", "/5xx", (b"HTTP/1.1 100 Continue\r\n\r\n", RST), status=503),
    one("hints_then_bad", "/5xx", (b"HTTP/1.1 103 Early Hints\r\n\r\n", *BAD)),
]
BODIES = [
    retried("body", *request(post("/5xx")), answers=[BAD], status=200),
    retried("body_reset", *request(post("/reset")), answers=[(RST,)], status=200),
    retried(
        "chunks_and_trailers",
        *request(
            get("/5xx", "Transfer-Encoding: chunked", method="POST")
            + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-last: 1\r\n\r\n"
        ),
        answers=[BAD],
        status=200,
    ),
    retried(
        "before_the_body_is_complete",
        post("/5xx", b"01234", length=10),
        UpstreamSaw(),
        UpstreamSaw(2),
        Send(b"56789"),
        Reply(),
        answers=[(*BAD, BODY)],
        status=200,
    ),
    retried(
        "refused_in_the_body",
        post("/refused", b"01234", length=10),
        StatIs("cluster.refused.upstream_rq_retry_limit_exceeded", 3),
        Reply(),
        status=503,
        ignore=(r"stat cluster\.refused\.upstream_rq_retry_limit_exceeded never",),
    ),
    retried("above_the_limit", *request(post("/small", b"x" * 20)), answers=[BAD], status=503),
    retried("at_the_limit", *request(post("/small", b"x" * 10)), answers=[BAD], status=200),
    retried("above_the_old_limit", *request(post("/narrow", b"x" * 20)), answers=[BAD], status=503),
    retried("above_the_connections_limit", *request(post("/5xx", b"x" * 100_000)), answers=[BAD]),
    retried("wide_limit", *request(post("/wide", b"x" * 100_000)), answers=[BAD]),
    retried("old_wide_limit", *request(post("/old_wide", b"x" * 100_000)), answers=[BAD]),
    retried(
        "client_gone",
        get("/many"),
        UpstreamSaw(),
        Do("rst"),
        StatIs("cluster.up.upstream_rq_active", 0),
        answers=[(NEVER,)],
        status=(),
    ),
]
HEADERS = [
    one("asks_5xx", "/plain", BAD, headers=(INTERNAL, "X-Envoy-Retry-On: 5xx"), status=200),
    one("asks_from_outside", "/plain", BAD, headers=("X-Forwarded-For: 8.8.8.8", "X-Envoy-Retry-On: 5xx")),
    one("asks_directly", "/plain", BAD, headers=("X-Envoy-Retry-On: 5xx",)),
    one("asks_unknown", "/plain", BAD, headers=(INTERNAL, "X-Envoy-Retry-On: nothing"), status=503),
    one(
        "asks_grpc", "/plain", answer(200, "grpc-status: 14"), headers=(INTERNAL, "X-Envoy-Retry-Grpc-On: unavailable")
    ),
    one(
        "asks_often",
        "/plain",
        BAD,
        BAD,
        BAD,
        headers=(INTERNAL, "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 3"),
        status=200,
    ),
    one("max_retries", "/many", BAD, BAD, headers=(INTERNAL, "X-Envoy-Max-Retries: 1"), status=503),
    one("max_retries_none", "/many", BAD, headers=(INTERNAL, "X-Envoy-Max-Retries: 0"), status=503),
    one("max_retries_rubbish", "/5xx", BAD, headers=(INTERNAL, "X-Envoy-Max-Retries: +1"), status=200),
    one("max_retries_alone", "/plain", BAD, headers=(INTERNAL, "X-Envoy-Max-Retries: 3"), status=503),
    one(
        "asks_codes",
        "/plain",
        answer(418),
        headers=(
            INTERNAL,
            "X-Envoy-Retry-On: retriable-status-codes",
            "X-Envoy-Retriable-Status-Codes: 1, 418,x",
        ),
        status=200,
    ),
    one(
        "codes_beside_the_routes",
        "/codes",
        answer(418),
        headers=(INTERNAL, "X-Envoy-Retriable-Status-Codes: 418"),
        status=200,
    ),
    one(
        "asks_header_names",
        "/plain",
        answer(200, "x-again: 1"),
        headers=(
            INTERNAL,
            "X-Envoy-Retry-On: retriable-headers",
            "X-Envoy-Retriable-Header-Names: X-No , X-Again",
        ),
        status=200,
    ),
    one("route_adds_retry_on", "/asks", BAD, status=200),
    one("all_without_retries", "/plain", headers=(INTERNAL, "X-Envoy-Retriable-Status-Codes: 500"), status=200),
    one("unwanted_request_headers", "/request_headers", BAD, headers=(INTERNAL, "X-Envoy-Retry-On: 5xx"), status=503),
]
TIMES = [
    one("timeout_header", "/plain", (NEVER,), headers=(INTERNAL, "X-Envoy-Upstream-Rq-Timeout-Ms: 100"), status=504),
    one(
        "timeout_alternative",
        "/alt",
        (NEVER,),
        headers=(INTERNAL, "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1"),
        status=204,
    ),
    one(
        "duration_header",
        "/plain",
        (NEVER,),
        headers=(INTERNAL, "X-Envoy-Upstream-Stream-Duration-Ms: 100"),
        status=504,
    ),
    one("per_try", "/per_try", (NEVER,), status=200),
    one("per_try_twice", "/per_try", (NEVER,), (NEVER,), status=504),
    one("per_try_not_retried", "/per_try_not", (NEVER,), status=504),
    one("per_try_header", "/5xx", (NEVER,), headers=(INTERNAL, "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 100")),
    one("per_try_idle", "/per_try_idle", (NEVER,), status=200),
    one("per_try_idle_in_the_body", "/per_try_idle", (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", NEVER)),
    one("per_try_idle_alone", "/idle_only", (NEVER,), status=504),
    one("per_try_too_long", "/per_try_too_long", (NEVER,), status=504),
    one("seconds_of_zero", "/seconds", answer(503, "retry-after: 0"), status=200),
    one("seconds_too_many", "/seconds_limited", answer(503, "retry-after: 9999"), status=200),
    one("seconds_one", "/seconds_limited", answer(503, "retry-after: 1"), status=200),
    one("seconds_rubbish", "/seconds", answer(503, "retry-after: soon"), status=200),
    one("timestamp_past", "/seconds", answer(503, "x-reset-at: 1000"), status=200),
    one("timestamp_past_then_seconds", "/seconds", answer(503, "x-reset-at: 1000", "retry-after: 1"), status=200),
    one("timestamp_far", "/seconds", answer(503, "x-reset-at: 99999999999"), status=200),
    one("seconds_without_retry", "/seconds", answer(404, "retry-after: 1"), status=404),
    retried("grpc_timeout", *request(grpc("/grpc", "Grpc-Timeout: 5S")), answers=[answer(200, "grpc-status: 14")]),
    retried("grpc_without_timeout", *request(post("/grpc")), answers=[answer(200, "grpc-status: 14")]),
]
LIMITS = [
    one("breaker_closed", "/closed", BAD, status=503),
    one("budget_empty", "/budget", BAD, status=503),
    one("breaker_one_at_a_time", "/tight", BAD, BAD, status=200),
]
HOSTS = [
    retried(
        "previous_hosts",
        *request(get("/two")),
        answers_of={"first": [BAD], "second": [BAD]},
        status=503,
        forwarded=2,
        ignore=(
            r"^log 503",
            r"x-envoy-attempt-count",
            r"x-envoy-is-timeout-retry",
            r"^stat \S+ http\.main\.downstream_cx_rx",
        ),
    ),
    retried("previous_priorities", *request(get("/priorities")), answers_of={"first": [BAD]}, status=200),
    retried(
        "previous_priorities_again",
        *request(get("/priorities_around")),
        answers_of={"first": [BAD], "second": [BAD]},
        status=200,
    ),
]
OF_ALL: dict[str, Any] = {
    "stats": r"^(http\.LISTENER\.|cluster\.|vhost\.)",
    # Envoy makes these twice, and which of the two its page shows differs from one start to the next.
    "ignore": (r"^stat \S+ vhost\.all\.vcluster\.some\.upstream_rq_(retry\S*|timeout|total)$",),
}
VIRTUAL_CLUSTERS = [
    retried("vcluster_retries", *request(get("/many")), answers=[BAD, BAD], status=200, **OF_ALL),
    retried("vcluster_limit", *request(get("/many")), answers=[BAD] * 4, status=503, **OF_ALL),
    retried("vcluster_other", *request(get("/5xx")), answers=[(RST,)], status=200, **OF_ALL),
    retried("vcluster_timeout", *request(get("/alt")), answers=[(NEVER,)], status=504, **OF_ALL),
    retried("vcluster_overflow", *request(get("/closed")), answers=[BAD], status=503, **OF_ALL),
    retried("vcluster_refused", *request(get("/refused")), status=503, **OF_ALL),
    retried("vcluster_per_try", *request(get("/per_try")), answers=[(NEVER,)], status=200, **OF_ALL),
    retried("vcluster_hedged", get("/hedge"), UpstreamSaw(2), Reply(), answers=[(NEVER,), OK], status=200, **OF_ALL),
]
HEDGES = [
    retried(
        "second_wins",
        get("/hedge"),
        UpstreamSaw(2),
        Reply(),
        answers=[(NEVER,), OK],
        status=200,
        forwarded=2,
    ),
    retried(
        "first_wins",
        get("/hedge"),
        UpstreamSaw(2),
        Release(),
        Reply(),
        answers=[OK_LATE, (NEVER,)],
        status=200,
        forwarded=2,
    ),
    retried("no_need", *request(get("/hedge")), status=200, forwarded=1),
    retried(
        "second_is_bad",
        get("/hedge"),
        UpstreamSaw(2),
        StatIs("cluster.up.upstream_rq_active", 1),
        Release(),
        Reply(),
        answers=[OK_LATE, BAD],
        status=200,
        forwarded=2,
    ),
    retried(
        "first_is_bad",
        get("/hedge"),
        UpstreamSaw(2),
        Release(),
        StatIs("cluster.up.upstream_rq_active", 1),
        Release("second"),
        Reply(),
        answers=[BAD_LATE, (Hold("second"), *OK)],
        status=200,
        forwarded=2,
    ),
    retried(
        "both_are_bad",
        get("/hedge"),
        UpstreamSaw(2),
        Release(),
        StatIs("cluster.up.upstream_rq_active", 1),
        Release("second"),
        Reply(),
        answers=[BAD_LATE, (Hold("second"), *answer(500))],
        status=500,
        forwarded=2,
    ),
    retried(
        "first_is_reset",
        get("/hedge"),
        UpstreamSaw(2),
        Release(),
        StatIs("cluster.up.upstream_rq_active", 1),
        Release("second"),
        Reply(),
        answers=[(Hold(), RST), (Hold("second"), *OK)],
        status=200,
        forwarded=2,
    ),
    retried(
        "second_is_reset",
        get("/hedge"),
        UpstreamSaw(2),
        StatIs("cluster.up.upstream_rq_active", 1),
        Release(),
        Reply(),
        answers=[OK_LATE, (RST,)],
        status=200,
        forwarded=2,
    ),
    retried(
        "both_are_reset",
        get("/hedge"),
        UpstreamSaw(2),
        StatIs("cluster.up.upstream_rq_active", 1),
        Release(),
        Reply(),
        answers=[(Hold(), RST), (RST,)],
        status=503,
        forwarded=2,
    ),
    retried(
        "body",
        post("/hedge"),
        UpstreamSaw(2),
        Reply(),
        answers=[(NEVER,), OK],
        status=200,
        forwarded=2,
    ),
    retried(
        "three_of_four",
        get("/hedge_many"),
        UpstreamSaw(4),
        Release(),
        Reply(),
        answers=[(NEVER,), (NEVER,), OK_LATE, (NEVER,)],
        status=200,
        forwarded=4,
    ),
    retried("timeout", *request(get("/hedge_timeout")), answers=[(NEVER,), (NEVER,)], status=504, forwarded=2),
    retried("idle", get("/hedge_idle"), UpstreamSaw(2), Reply(), answers=[(NEVER,), OK], status=200),
    retried(
        "without_retries",
        get("/hedge_without"),
        UpstreamSaw(),
        Release(),
        Reply(),
        answers=[OK_LATE],
        status=200,
    ),
    one("header_off", "/hedge", (NEVER,), headers=(INTERNAL, "X-Envoy-Hedge-On-Per-Try-Timeout: false"), status=200),
    retried(
        "header_on",
        get("/per_try", INTERNAL, "X-Envoy-Hedge-On-Per-Try-Timeout: true"),
        UpstreamSaw(2),
        Release(),
        Reply(),
        answers=[OK_LATE, (NEVER,)],
        status=200,
        forwarded=2,
    ),
    retried(
        "client_gone",
        get("/hedge"),
        UpstreamSaw(2),
        Do("rst"),
        StatIs("cluster.up.upstream_rq_active", 0),
        answers=[(NEVER,), (NEVER,)],
        status=(),
        end=End.CLOSED,
    ),
]


@pytest.mark.parametrize(
    "case", [*ON_RESPONSES, *ON_RESETS, *BODIES, *HEADERS, *LIMITS, *HOSTS, *VIRTUAL_CLUSTERS], ids=case_id
)
def test_retries(case: Case, pairs: Pairs) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", TIMES, ids=case_id)
def test_times(case: Case, pairs: Pairs) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", HEDGES, ids=case_id)
def test_hedging(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
