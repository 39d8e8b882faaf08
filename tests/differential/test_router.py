"""Options of the router filter, upstream HTTP filters, header_mutation, and how upstreams may end an exchange."""

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
from tests.differential.test_retries import BAD, INTERNAL, answer, get, grpc, post
from tests.differential.upstream import BODY, FIN, NEVER, OK, RST, Answer, Hold

ANSWER = answer(200, "x-own: 1", "x-hidden: 1", body="ok")
TRAILERS = (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",)
CHUNKS = b"3\r\nabc\r\n0\r\nx-last: 1\r\n\r\n"
OK_LATE = (Hold(), *OK)


def on(listener: str, name: str, *steps: Step, **rest: object) -> Case:
    return Case(f"{listener}_{name}", steps, config="router", listener=listener, **rest)  # type: ignore[arg-type]


def one(listener: str, name: str, path: str, *answers: Answer, headers: tuple[str, ...] = (), **rest: object) -> Case:
    return on(listener, name, *request(get(path, *headers)), answers=answers, **rest)


def chunked(path: str) -> bytes:
    return get(path, "Transfer-Encoding: chunked", method="POST") + CHUNKS


UPSTREAM = [
    one("upstream_filters", "headers", "/plain", ANSWER, headers=("X-Secret: 1",), status=200),
    one("upstream_filters", "each_attempt", "/retried", BAD, ANSWER, headers=("X-Secret: 1",), status=200),
    one("upstream_filters", "of_the_cluster", "/of_cluster", ANSWER, headers=("X-Secret: 1",), status=200),
    one("upstream_filters", "of_the_cluster_retried", "/of_cluster_retried", BAD, ANSWER, status=200),
    one("upstream_filters", "of_the_route", "/route", ANSWER, status=200),
    one("upstream_filters", "local_reply", "/alive", status=200),
    one("upstream_filters", "refused", "/refused", status=503),
    one("upstream_filters", "reset", "/plain", (RST,), status=503),
    one("upstream_filters", "reset_in_the_body", "/plain", (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", RST)),
    one("upstream_filters", "continue", "/plain", (b"HTTP/1.1 100 Continue\r\n\r\n", *ANSWER)),
    one("upstream_filters", "bad_answer", "/plain", (b"rubbish\r\n\r\n", NEVER), status=502),
    on("upstream_filters", "body", *request(post("/plain")), answers=[ANSWER], status=200),
    on("upstream_filters", "body_retried", *request(post("/retried")), answers=[BAD, ANSWER], status=200),
    on("upstream_filters", "large_body", *request(post("/plain", b"x" * 300_000)), answers=[ANSWER], status=200),
    on(
        "upstream_filters",
        "large_answer",
        *request(get("/plain")),
        answers=[answer(200, body="y" * 300_000)],
        status=200,
    ),
    on(
        "upstream_filters",
        "body_in_pieces",
        post("/plain", b"01234", length=10),
        UpstreamSaw(),
        Send(b"56789"),
        Reply(),
        answers=[ANSWER],
        status=200,
    ),
    on("upstream_filters", "trailers", *request(chunked("/plain")), answers=[TRAILERS], status=200),
    on("upstream_filters", "mirrored", *request(get("/mirrored")), UpstreamSaw(1, "first"), answers=[ANSWER]),
    on(
        "upstream_filters",
        "hedged",
        get("/hedged"),
        UpstreamSaw(2),
        Reply(),
        answers=[(NEVER,), ANSWER],
        status=200,
    ),
    on(
        "upstream_filters",
        "client_gone",
        get("/plain"),
        UpstreamSaw(),
        Do("rst"),
        StatIs("cluster.up.upstream_rq_active", 0),
        answers=[(NEVER,)],
        status=(),
    ),
    on("upstream_trailers", "both", *request(chunked("/plain")), answers=[TRAILERS], status=200),
    on("upstream_trailers", "none", *request(post("/plain")), answers=[OK], status=200),
    on("upstream_trailers", "retried", *request(chunked("/retried")), answers=[BAD, TRAILERS], status=200),
]
DOWNSTREAM = [
    one("downstream_filter", "headers", "/plain", ANSWER, headers=("X-Secret: 1",), status=200),
    one("downstream_filter", "once_for_all_attempts", "/retried", BAD, ANSWER, status=200),
    one("downstream_filter", "local_reply", "/alive", status=200),
    one("downstream_filter", "of_the_route", "/route", ANSWER, status=200),
    one("downstream_filter", "query", "/x?c=1&a=0&gone=5&z&c=2", ANSWER, headers=("X-A: v",), status=200),
    one("downstream_filter", "query_empty", "/x?", ANSWER, status=200),
    one("downstream_filter", "query_escapes", "/x?%61=%20b&e=%26&f=a+b", ANSWER, headers=("X-A: a&b",), status=200),
    one("downstream_filter", "query_odd", "/x?&&=1&b", ANSWER, status=200),
    on("trailers", "both", *request(chunked("/plain")), answers=[TRAILERS], status=200),
    on("trailers", "none", *request(post("/plain")), answers=[OK], status=200),
    one("most_specific", "of_the_route", "/route", ANSWER, status=200),
    one("most_specific", "of_the_host", "/plain", ANSWER, status=200),
]
OPTIONS = [
    one("plain", "attempts", "/plain", status=200),
    one("plain", "no_host", "/none", status=503),
    one("plain", "no_cluster_header", "/retried", BAD, status=200),
    one("plain", "canary", "/canary", status=200),
    one("plain", "canary_by_header", "/plain", answer(200, "x-envoy-upstream-canary: true"), status=200),
    one("plain", "canary_by_other_header", "/plain", answer(200, "x-envoy-upstream-canary: 1"), status=200),
    one("plain", "zone", "/zone", status=200),
    one("plain", "internal", "/plain", headers=(INTERNAL,), status=200),
    one("plain", "alt_stat_name", "/plain", headers=(INTERNAL, "X-Envoy-Upstream-Alt-Stat-Name: other"), status=200),
    one(
        "plain", "alt_stat_name_zone", "/zone", headers=(INTERNAL, "X-Envoy-Upstream-Alt-Stat-Name: other"), status=200
    ),
    one("plain", "alt_stat_name_canary", "/canary", headers=(INTERNAL, "X-Envoy-Upstream-Alt-Stat-Name: other")),
    one("plain", "immediate_health_check_fail", "/plain", answer(200, "x-envoy-immediate-health-check-fail: 1")),
    one("plain", "degraded", "/plain", answer(200, "x-envoy-degraded: 1"), status=200),
    one("plain", "overloaded", "/plain", answer(503, "x-envoy-overloaded: true"), status=503),
    one("plain", "service_time_of_upstream", "/plain", answer(200, "x-envoy-upstream-service-time: 77"), status=200),
    one("plain", "attempt_count_of_client", "/plain", headers=("X-Envoy-Attempt-Count: 9",), status=200),
    one("plain", "odd_code", "/plain", answer(999), status=999),
    on("plain", "grpc", *request(grpc("/plain")), answers=[answer(200, "grpc-status: 0")], status=200),
    on("plain", "grpc_error", *request(grpc("/plain")), answers=[answer(200, "grpc-status: 13")], status=200),
    on("plain", "grpc_without_status", *request(grpc("/plain")), answers=[answer(200)], status=200),
    on("plain", "grpc_http_error", *request(grpc("/plain")), answers=[BAD]),
    on("grpc_stats", "error", *request(grpc("/plain")), answers=[BAD]),
    on("grpc_stats", "ok", *request(grpc("/plain")), answers=[answer(200, "grpc-status: 0")]),
    on("grpc_stats", "retried", *request(grpc("/retried")), answers=[BAD, OK]),
    one("grpc_stats", "http", "/plain", BAD, status=503),
    one("suppress", "headers", "/plain", status=200),
    one("suppress", "retried", "/retried", BAD, status=200),
    one("suppress", "timeout", "/timeout", (NEVER,), status=504),
    one("suppress", "refused", "/refused", status=503),
    on("suppress", "mirrored", *request(get("/mirrored")), UpstreamSaw(1, "first"), status=200),
    one("no_stats", "plain", "/plain", status=200),
    one("no_stats", "error", "/plain", BAD, status=503),
    one("no_stats", "retried", "/retried", BAD, status=200),
    one("no_stats", "refused", "/refused", status=503),
    one(
        "respect",
        "expected",
        "/plain",
        (NEVER,),
        headers=(
            INTERNAL,
            "X-Envoy-Expected-Rq-Timeout-Ms: 100",
        ),
        status=504,
    ),
    one(
        "respect",
        "both",
        "/plain",
        (NEVER,),
        headers=(INTERNAL, "X-Envoy-Expected-Rq-Timeout-Ms: 100", "X-Envoy-Upstream-Rq-Timeout-Ms: 9000"),
        status=504,
    ),
    one("respect", "rubbish", "/timeout", (NEVER,), headers=("X-Envoy-Expected-Rq-Timeout-Ms: x",), status=504),
    one("respect", "other", "/plain", (NEVER,), headers=(INTERNAL, "X-Envoy-Upstream-Rq-Timeout-Ms: 100"), status=504),
    one("respect", "none", "/plain", headers=("X-Envoy-Expected-Rq-Timeout-Ms: 0",), status=200),
    *[
        one("strict", f"{number}", "/plain", headers=(INTERNAL, header))
        for number, header in enumerate(
            (
                "X-Envoy-Upstream-Rq-Timeout-Ms: 10000",
                "X-Envoy-Upstream-Rq-Timeout-Ms: 10s",
                "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: -1",
                "X-Envoy-Max-Retries: two",
                "X-Envoy-Retry-On: 5xx, reset",
                "X-Envoy-Retry-On: 5xx,4xx",
                "X-Envoy-Retry-On: unavailable",
                "X-Envoy-Retry-Grpc-On: unavailable,5xx",
                "X-Envoy-Retry-On:",
            )
        )
    ],
]
EARLY = (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly",)
ENDS = [
    on("plain", "early_answer", post("/plain", b"01234", length=10), Reply(), Do("end"), answers=[(*EARLY, BODY)]),
    on(
        "plain",
        "early_answer_then_all",
        post("/plain", b"01234", length=10),
        Reply(head_only=False),
        Send(b"56789"),
        Do("end"),
        answers=[(*EARLY, BODY)],
    ),
    on("plain", "early_error", post("/plain", b"01234", length=10), Reply(), Do("end"), answers=[(*BAD, BODY)]),
    on("plain", "early_answer_and_close", post("/plain", b"0", length=10), Reply(), Do("end"), answers=[(*EARLY, FIN)]),
    on(
        "plain",
        "early_head",
        post("/plain", b"01234", length=10),
        Reply(head_only=True),
        Send(b"56789"),
        Release(),
        Do("end"),
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", BODY, Hold(), b"ok")],
    ),
    on("plain", "reset_in_the_request", post("/plain", b"0", length=10), Reply(), answers=[(RST, BODY)]),
    on("plain", "close_in_the_request", post("/plain", b"0", length=10), Reply(), Do("end"), answers=[(FIN, BODY)]),
    one("plain", "close_before_the_head", "/plain", (FIN,), status=503),
    one("plain", "close_in_the_head", "/plain", (b"HTTP/1.1 200 OK\r\ncontent", FIN)),
    one("plain", "close_in_the_body", "/plain", (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", FIN)),
    one("plain", "close_ends_the_body", "/plain", (b"HTTP/1.1 200 OK\r\n\r\nabc", FIN), status=200),
    one("plain", "reset_ends_the_body", "/plain", (b"HTTP/1.1 200 OK\r\n\r\nabc", RST)),
    one("plain", "close_in_chunks", "/plain", (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", FIN)),
    one(
        "plain",
        "close_before_the_trailers",
        "/plain",
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-t:", FIN),
    ),
    one("plain", "bad_chunk", "/plain", (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", NEVER)),
    one(
        "plain", "close_announced", "/plain", (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",)
    ),
    one("plain", "stall_in_the_body", "/timeout", (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", NEVER)),
    one("plain", "two_answers", "/plain", (*OK, *OK), status=200),
    one("plain", "continue_twice", "/plain", (b"HTTP/1.1 100 Continue\r\n\r\n" * 2, *OK), status=200),
    one("plain", "processing", "/plain", (b"HTTP/1.1 102 Processing\r\n\r\n", *OK), status=200),
    on(
        "plain",
        "expect_continue",
        post("/plain", b"", "Expect: 100-continue", length=10),
        Reply(),
        Send(b"0123456789"),
        Reply(),
        answers=[(b"HTTP/1.1 100 Continue\r\n\r\n", BODY, *OK)],
    ),
    on("plain", "trailers_both_ways", *request(chunked("/plain")), answers=[TRAILERS], status=200),
    on(
        "plain",
        "answer_after_the_client_left",
        get("/plain"),
        UpstreamSaw(),
        Do("rst"),
        StatIs("cluster.up.upstream_rq_active", 0),
        Release(),
        answers=[OK_LATE],
        status=(),
    ),
]


@pytest.mark.parametrize("case", [*UPSTREAM, *DOWNSTREAM], ids=case_id)
def test_filters(case: Case, pairs: Pairs) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", OPTIONS, ids=case_id)
def test_options(case: Case, pairs: Pairs) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", ENDS, ids=case_id)
def test_ends(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
