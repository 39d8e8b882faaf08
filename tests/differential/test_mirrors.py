"""``request_mirror_policies``: what the mirror sees, what it may do to the request (nothing), and what is counted."""

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
from tests.differential.upstream import BODY, NEVER, RST, Hold
from tests.differential.wire import End

OK_LATE = (Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
ERROR = (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad",)
BIG = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"m" * 300_000


def get(path: str, *headers: str, host: str = "a.test", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(path: str, body: bytes = b"0123456789", *headers: str, length: int | None = None) -> bytes:
    return get(path, f"Content-Length: {len(body) if length is None else length}", *headers, method="POST") + body


def mirrored(name: str, *steps: Step, listener: str = "main", mirrors: int = 1, **rest: object) -> Case:
    saw = (UpstreamSaw(mirrors, "mirror"),) if mirrors else ()
    return Case(name, (*steps, *saw), config="mirrors", listener=listener, **rest)  # type: ignore[arg-type]


HEADERS = [
    mirrored("plain", *request(get("/plain")), status=200, forwarded=2),
    mirrored("port", *request(get("/plain", host="a.test:81")), status=200, forwarded=2),
    mirrored("ip", *request(get("/plain", host="[::1]")), status=200, forwarded=2),
    mirrored("ip_and_port", *request(get("/plain", host="[::1]:81")), status=200, forwarded=2),
    mirrored("head", *request(get("/plain", method="HEAD"), head_only=True), status=200, forwarded=2),
    mirrored("forwarded_for", *request(get("/plain", "X-Forwarded-For: 10.0.0.1, 9.9.9.9")), status=200),
    mirrored("internal", *request(get("/plain", "X-Forwarded-For: 10.0.0.1")), status=200),
    mirrored("from_outside", *request(get("/plain", "X-Forwarded-For: 8.8.8.8")), status=200),
    mirrored("two", *request(get("/two")), UpstreamSaw(1, "second"), status=200, forwarded=3),
    mirrored("the_same_twice", *request(get("/same")), mirrors=2, status=200, forwarded=3),
    mirrored("no_suffix", *request(get("/no_suffix", host="a.test:81")), status=200),
    mirrored("host_rewritten", *request(get("/rewrite", host="a.test:81")), status=200),
    mirrored("mutated", *request(get("/mutated", "X-Secret: 1", "X-Host: other")), status=200),
    mirrored("after_the_route", *request(get("/prefix")), status=200),
    mirrored("cluster_header", *request(get("/header", "X-Mirror: mirror")), status=200, forwarded=2),
    mirrored("cluster_header_unknown", *request(get("/header", "X-Mirror: zz")), mirrors=0, status=200, forwarded=1),
    mirrored("cluster_header_absent", *request(get("/header")), mirrors=0, status=200, forwarded=1),
    mirrored("cluster_header_empty", *request(get("/header", "X-Mirror:")), mirrors=0, status=200, forwarded=1),
    mirrored("never", *request(get("/never")), mirrors=0, status=200, forwarded=1),
    mirrored("runtime", *request(get("/runtime")), mirrors=0, status=200, forwarded=1),
    mirrored("connect", get("/plain", method="CONNECT"), Reply(), mirrors=0),
    mirrored("timeout_header", *request(get("/plain", "X-Envoy-Upstream-Rq-Timeout-Ms: 777")), status=200),
    mirrored("retry_header", *request(get("/plain", "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 2")), status=200),
    mirrored("alt_stat_name", *request(get("/plain", "X-Envoy-Upstream-Alt-Stat-Name: other")), status=200),
]
LEVELS = [
    mirrored(
        "of_the_virtual_host",
        *request(get("/", host="host.test")),
        UpstreamSaw(1, "second"),
        mirrors=0,
        status=200,
        forwarded=2,
    ),
    mirrored("of_the_route", *request(get("/own", host="host.test")), status=200, forwarded=2),
    mirrored(
        "of_the_configuration",
        *request(get("/")),
        UpstreamSaw(1, "second"),
        listener="config_level",
        mirrors=0,
        status=200,
        forwarded=2,
    ),
    mirrored(
        "host_over_configuration",
        *request(get("/", host="host.test")),
        listener="config_level",
        status=200,
        forwarded=2,
    ),
    mirrored(
        "of_the_cluster", *request(get("/of_cluster")), UpstreamSaw(1, "second"), mirrors=0, status=200, forwarded=2
    ),
    mirrored("of_cluster_and_route", *request(get("/of_both")), UpstreamSaw(1, "second"), mirrors=0, status=200),
]
BODIES = [
    mirrored("body", *request(post("/plain")), status=200, forwarded=2),
    mirrored(
        "body_in_pieces",
        post("/plain", b"01234", length=10),
        UpstreamSaw(),
        UpstreamSaw(1, "mirror"),
        Send(b"56789"),
        Reply(),
        status=200,
        forwarded=2,
    ),
    mirrored(
        "chunks_and_trailers",
        *request(
            get("/plain", "Transfer-Encoding: chunked", method="POST")
            + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-trailer: 1\r\n\r\n"
        ),
        status=200,
        forwarded=2,
    ),
    mirrored("empty_body", *request(post("/plain", b"")), status=200, forwarded=2),
    mirrored("large_body", *request(post("/plain", b"x" * 200_000)), status=200, forwarded=2),
    mirrored("retried", *request(post("/retried")), answers=[ERROR], status=200, forwarded=3),
    mirrored("above_the_buffer_limit", *request(post("/narrow", b"x" * 20)), status=200, forwarded=2),
]
FAILURES = [
    mirrored("error", *request(get("/plain")), answers_of={"mirror": [ERROR]}, status=200),
    mirrored("large_answer", *request(get("/plain")), answers_of={"mirror": [(BIG,)]}, status=200),
    mirrored("reset", *request(get("/plain")), answers_of={"mirror": [(RST,)]}, status=200),
    mirrored("bad_answer", *request(get("/plain")), answers_of={"mirror": [(b"rubbish\r\n\r\n", NEVER)]}, status=200),
    mirrored(
        "early_answer",
        post("/plain", b"01234", length=10),
        UpstreamSaw(),
        UpstreamSaw(1, "mirror"),
        StatIs("cluster.mirror.upstream_rq_active", 0),
        Send(b"56789"),
        Reply(),
        answers_of={"mirror": [(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", BODY)]},
        status=200,
    ),
    mirrored("refused", *request(get("/refused")), mirrors=0, status=200),
    mirrored("refused_body", *request(post("/refused")), mirrors=0, status=200),
    mirrored("no_host", *request(get("/empty")), mirrors=0, status=200),
    mirrored(
        "slower_than_the_request",
        *request(get("/plain")),
        UpstreamSaw(1, "mirror"),
        Release(upstream="mirror"),
        answers_of={"mirror": [OK_LATE]},
        status=200,
    ),
    mirrored("timeout", *request(get("/timeout")), answers_of={"mirror": [(NEVER,)]}, status=200),
    mirrored(
        "both_time_out",
        *request(get("/timeout")),
        answers=[(NEVER,)],
        answers_of={"mirror": [(NEVER,)]},
        status=504,
    ),
    mirrored("main_refused", *request(get("/main_refused")), status=503, forwarded=1),
    mirrored("main_refused_body", *request(post("/main_refused")), status=503),
    mirrored("main_without_host", *request(get("/main_none")), mirrors=0, status=503, forwarded=0),
    mirrored("main_reset", *request(get("/plain")), answers=[(RST,)], status=503),
    mirrored(
        "client_gone_in_the_body",
        post("/plain", b"01234", length=10),
        UpstreamSaw(),
        UpstreamSaw(1, "mirror"),
        Do("rst"),
        status=(),
        end=End.CLOSED,
    ),
    mirrored(
        "client_gone",
        get("/plain"),
        UpstreamSaw(),
        UpstreamSaw(1, "mirror"),
        Do("rst"),
        StatIs("cluster.up.upstream_rq_active", 0),
        Release(upstream="mirror"),
        answers=[(NEVER,)],
        answers_of={"mirror": [OK_LATE]},
        status=(),
    ),
]


@pytest.mark.parametrize("case", [*HEADERS, *LEVELS, *BODIES, *FAILURES], ids=case_id)
def test_mirrors(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
