"""Every answer that a proxy makes itself over HTTP/1, and every end of a stream: codes, flags, details."""

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
from tests.differential.upstream import BODY, FIN, NEVER, RST, Answer, Hold
from tests.differential.wire import End

OK = (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",)
LATE: Answer = (Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
NO: Answer = (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",)
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"
CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


AT_ONCE = ("^upstream", r"cluster\.up\.")
"""Whether the upstream sees a request whose time is over at once is a race."""


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a.test", *fields, "", ""]).encode()


def post(path: str, *fields: str, sent: str = "abc", length: int = 10) -> bytes:
    """A request whose body is not complete."""
    return get(path, f"content-length: {length}", *fields, method="POST") + sent.encode()


def grpc(path: str, *fields: str) -> bytes:
    return get(path, "content-type: application/grpc", "te: trailers", *fields, method="POST")


def answered(name: str, *steps: Step, listener: str = "main", **rest: object) -> Case:
    return Case(name, steps, config="answers", listener=listener, **rest)  # type: ignore[arg-type]


def failed(name: str, path: str, *answers: Answer, status: int = 503, log: str = "", **rest: object) -> Case:
    """A GET that the upstream does not answer well."""
    return answered(name, *request(get(path)), answers=answers, status=status, log=log, **rest)


CHECKS = [
    answered("star", *request(get("*", method="OPTIONS")), Do("fin"), status=404, log="absolute_path_rejected"),
    answered("path_normalization", *request(get("/up%00")), Do("end"), status=400, log="path_normalization_failed"),
    answered("escaped_slash", *request(get("/up%2f")), Do("end"), status=400, log="path_normalization_failed"),
    answered("low_version", b"GET /up HTTP/1.0\r\nHost: a\r\n\r\n", Reply(), Do("end"), status=426, log="low_version"),
    answered("upgrade", *request(get("/up", "connection: upgrade", "upgrade: x")), Do("end"), status=403),
    answered("no_route", *request(get("/nowhere")), status=404, log="404 NR NoRouteFound route_not_found"),
    answered("teapot", *request(get("/teapot")), status=418, log="418 - - direct_response"),
    answered("maintenance", *request(get("/maintained")), status=503, log="maintenance_mode"),
    answered(
        "no_healthy_host", *request(get("/hosts")), status=503, log="503 UH NoHealthyUpstream no_healthy_upstream"
    ),
    answered("teapot_before_the_body", post("/teapot"), Reply(), Do("end"), status=418, end=End.CLOSED),
    answered("no_route_with_body", post("/nowhere", sent="abcdefghij"), Reply(), Do("end"), status=404),
    answered("bad", *request(get("/bad")), Do("end"), status=400, end=End.CLOSED),
    answered("bad_kept", *request(get("/bad")), listener="lenient", status=400, end=End.OPEN),
    answered("bad_overridden", *request(get("/bad")), Do("end"), listener="overridden", status=400, end=End.CLOSED),
    answered("bad_override", *request(get("/bad")), listener="override", status=400, end=End.OPEN),
    answered("bad_of_an_upstream", *request(get("/up")), answers=[(b"HTTP/1.1 400 B\r\ncontent-length: 0\r\n\r\n",)]),
    answered(
        "codec_error_though_lenient",
        b"GET /up HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
        Reply(),
        Do("end"),
        listener="lenient",
        status=400,
        end=End.CLOSED,
    ),
]

UPSTREAM = [
    failed("fin_before_head", "/up", (FIN,), log="503 UC"),
    failed("rst_before_head", "/up", (RST,)),
    failed("fin_in_head", "/up", (b"HTTP/1.1 200 OK\r\nx: ", FIN), status=502, log="502 UPE"),
    failed("malformed_head", "/up", (b"nonsense\r\n\r\n", NEVER), status=502, log="502 UPE"),
    failed("fin_in_body", "/up", (HALF, FIN), status=200, end=End.CLOSED, log="200 UPE"),
    failed("fin_in_chunks", "/up", (CHUNKS, FIN), status=200, end=End.CLOSED),
    answered(
        "malformed_chunk",
        get("/up"),
        Reply(head_only=True),
        Expect(b"3\r\nabc\r\n"),
        Release(),
        Do("end"),
        answers=[(CHUNKS, Hold(), b"zz\r\n", NEVER)],
        status=200,
        end=End.CLOSED,
        log="200 UPE",
    ),
    failed("refused", "/refused", log="503 UF"),
    failed("refused_twice", "/refused_again", log="503 URX,UF"),
    failed("connect_timeout", "/silent", log="503 UF"),
    failed("fin_twice", "/again", (FIN,), (FIN,), log="503 URX,UC"),
    failed("no_twice", "/again", NO, NO, log="503 URX"),
    failed("no_then_fin", "/again", NO, (FIN,), log="503 URX,UC"),
    failed("no_then_ok", "/again", NO, OK, status=200, log="200 - - via_upstream"),
    failed("malformed_twice", "/again", (b"x\r\n\r\n", NEVER), (b"x\r\n\r\n", NEVER), status=502, log="502 URX,UPE"),
    failed("no_then_half", "/again", NO, (HALF, FIN), status=200, end=End.CLOSED),
    failed("no_twice_half", "/again", NO, (HALF.replace(b"200", b"503"), FIN), end=End.CLOSED),
    failed("no_retry_allowed", "/no_budget", NO, log="503 UO"),
    failed("no_retry_allowed_after_fin", "/no_budget", (FIN,), log="503 UO,UC"),
    answered(
        "overflow",
        get("/one"),
        UpstreamSaw(1, "one"),
        Send(get("/one"), on=1),
        Reply(on=1),
        Release(upstream="one"),
        Reply(),
        answers_of={"one": [LATE]},
        status=(503, 200),
        log="503 UO UpstreamOverflow",
    ),
    answered(
        "body_too_large_while_waiting_for_a_retry",
        post("/later", length=100),
        UpstreamSaw(1, "patient"),
        StatIs("cluster.patient.retry.upstream_rq_503", 1),
        Send(b"x" * 90),
        Reply(),
        Do("end"),
        answers_of={"patient": [(*NO, BODY)]},
        status=507,
        log="request_payload_exceeded_retry_buffer_limit",
    ),
    failed("timeout", "/slow", (NEVER,), status=504, log="504 UT UpstreamRequestTimeout response_timeout"),
    failed("timeout_in_body", "/slow", (HALF, NEVER), status=200, end=End.CLOSED, log="200 UT"),
    failed(
        "per_try_timeout", "/tried", (NEVER,), status=504, log="504 UT UpstreamRequestTimeout upstream_per_try_timeout"
    ),
    failed("per_try_timeout_twice", "/tried_again", (NEVER,), (NEVER,), status=504, log="504 URX,UT"),
    failed("per_try_idle", "/tried_idle", (NEVER,), status=504, log="upstream_per_try_idle_timeout"),
    failed("per_try_idle_in_body", "/tried_idle", (HALF, NEVER), status=200, end=End.CLOSED),
    failed("upstream_duration", "/brief", (NEVER,), status=504, log="504 UMSDR"),
    failed("upstream_duration_in_body", "/brief", (HALF, NEVER), status=200, end=End.CLOSED, log="200 UMSDR"),
    answered("upstream_duration_in_request", post("/brief"), Reply(), Do("end"), answers=[(NEVER,)], status=408),
]

DISCONNECTS = [
    answered("client_fin_waiting", get("/up"), UpstreamSaw(), Do("close"), answers=[(NEVER,)], log="0 DC"),
    answered("client_rst_waiting", get("/up"), UpstreamSaw(), Do("rst"), answers=[(NEVER,)], log="0 DC"),
    answered("client_gone_in_head", get("/up")[:-2], Do("close"), logged=1, log="downstream_remote_disconnect"),
    answered("client_gone_in_request", post("/up"), UpstreamSaw(), Do("close"), answers=[(NEVER,)], log="0 DC"),
    answered(
        "client_gone_in_answer",
        get("/up"),
        Expect(b"HTTP/1.1 200 OK\r\n"),
        Do("rst"),
        answers=[(HALF, NEVER)],
        log="200 DC",
    ),
    answered("client_gone_connecting", get("/silent"), Do("rst"), logged=1, ignore=("stat", "^log")),
    answered(
        "client_gone_between_tries",
        get("/much_later"),
        StatIs("cluster.waiting.retry.upstream_rq_503", 1),
        Do("close"),
        answers_of={"waiting": [NO]},
        log="0 DC",
    ),
    answered("half_closed", get("/up"), UpstreamSaw(), Do("fin"), Release(), Do("end"), answers=[LATE]),
    answered("nothing_sent", b"", Do("close"), logged=0),
]

EARLY = [
    answered(
        "early_answer",
        post("/up"),
        Reply(),
        Do("end"),
        answers=[(b"HTTP/1.1 413 T\r\ncontent-length: 2\r\n\r\nno", BODY, NEVER)],
        status=413,
        end=End.CLOSED,
    ),
    answered(
        "early_answer_then_the_body",
        post("/up"),
        UpstreamSaw(),
        Release(),
        Reply(),
        Send(b"defghij" + get("/teapot")),
        Do("end"),
        answers=[(Hold(), b"HTTP/1.1 413 T\r\ncontent-length: 2\r\n\r\nno", BODY, NEVER)],
        status=413,
        end=End.CLOSED,
        ignore=("rx_bytes_total",),
    ),
    answered(
        "early_head_then_the_body",
        post("/up"),
        Reply(head_only=True),
        Send(b"defghij"),
        Release(),
        Expect(b"abcdefghi"),
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", Hold(), BODY, b"defghi")],
        status=200,
        end=End.CLOSED,
    ),
    answered("pipelined_teapots", get("/teapot") * 2, Reply(), Reply(), status=(418, 418), end=End.OPEN),
    answered("pipelined_behind_bad", get("/bad") + get("/teapot"), Reply(), Do("end"), status=400, end=End.CLOSED),
    answered(
        "pipelined_behind_bad_kept",
        get("/bad") + get("/teapot"),
        Reply(),
        Reply(),
        listener="lenient",
        status=(400, 418),
        end=End.OPEN,
    ),
    answered(
        "pipelined_codec_error", get("/teapot") + b"nonsense\r\n\r\n", Reply(), Reply(), Do("end"), status=(418, 400)
    ),
    answered(
        "pipelined_behind_a_failure",
        get("/refused") + get("/teapot"),
        Reply(),
        Reply(),
        status=(503, 418),
        end=End.OPEN,
    ),
    answered(
        "pipelined_behind_a_timeout",
        get("/slow") + get("/teapot"),
        Reply(),
        Reply(),
        answers=[(NEVER,)],
        status=(504, 418),
        end=End.OPEN,
    ),
    answered(
        "pipelined_then_gone", get("/up") + get("/teapot"), UpstreamSaw(), Do("close"), answers=[(NEVER,)], log="0 DC"
    ),
    answered(
        "pipelined_behind_close", get("/teapot", "connection: close") + get("/teapot"), Reply(), Do("end"), status=418
    ),
]

LIMITS = [
    answered(
        "two_requests", *request(get("/teapot")) * 2, Do("end"), listener="once", status=(418, 418), end=End.CLOSED
    ),
    answered(
        "third_request_pipelined",
        get("/teapot") * 3,
        Reply(),
        Reply(),
        Do("end"),
        listener="once",
        status=(418, 418),
        end=End.CLOSED,
    ),
    answered(
        "connection_duration_in_a_request",
        get("/up"),
        StatIs("http.short.downstream_cx_max_duration_reached", 1),
        Release(),
        Reply(),
        Do("end"),
        listener="short",
        answers=[LATE],
        status=200,
        end=End.CLOSED,
    ),
    answered("connection_duration_unused", b"", Do("end"), listener="short", end=End.CLOSED),
    answered("connection_duration_between", *request(get("/teapot")), Do("end"), listener="short", end=End.CLOSED),
    answered(
        "drain_before_the_last_answer",
        *request(get("/teapot")),
        StatIs("http.patient.downstream_cx_max_duration_reached", 1),
        *request(get("/teapot")),
        Do("end"),
        listener="patient",
        status=(418, 418),
    ),
    answered("undelayed_close", *request(get("/bad")), Do("end"), listener="undelayed", status=400, end=End.CLOSED),
    answered("undelayed_codec_error", b"x\r\n\r\n", Reply(), Do("end"), listener="undelayed", status=400),
    answered("delayed_close", *request(get("/bad")), Do("end"), status=400, end=End.CLOSED),
    answered("delayed_close_not_needed", *request(get("/bad")), Do("close"), status=400),
]

TIMES = [
    answered("request_overall", post("/up"), Reply(), Do("end"), listener="overall", answers=[(NEVER,)], status=408),
    answered("request_overall_in_head", get("/up")[:-2], Reply(), Do("end"), listener="overall", status=408),
    answered(
        "request_overall_complete",
        get("/up"),
        UpstreamSaw(),
        Release(),
        Reply(),
        listener="overall",
        answers=[LATE],
        status=200,
    ),
    answered("request_overall_grpc", grpc("/up", "content-length: 5"), Reply(), Do("end"), listener="overall"),
    answered("request_head", get("/up")[:-2], Reply(), Do("end"), listener="heads", status=408, log="request_header"),
    answered("request_head_byte", b"G", Reply(), Do("end"), listener="heads", status=408),
    answered(
        "request_head_of_the_second",
        *request(get("/teapot")),
        get("/teapot")[:-2],
        Reply(),
        Do("end"),
        listener="heads",
        status=(418, 408),
    ),
    answered(
        "request_head_complete",
        post("/up"),
        UpstreamSaw(),
        Send(b"defghij"),
        Reply(),
        listener="heads",
        answers=[(BODY, *OK)],
        status=200,
    ),
    answered("duration", *request(get("/up")), listener="streams", answers=[(NEVER,)], status=504),
    answered(
        "duration_in_request", post("/up"), Reply(), Do("end"), listener="streams", answers=[(NEVER,)], status=408
    ),
    answered("duration_in_head", get("/up")[:-2], Reply(), Do("end"), listener="streams", status=408),
    answered(
        "duration_in_answer",
        *request(get("/up")),
        listener="streams",
        answers=[(HALF, NEVER)],
        status=200,
        end=End.CLOSED,
    ),
    answered("duration_of_route", *request(get("/limited")), listener="streams", answers=[(NEVER,)], status=504),
    answered(
        "duration_grpc", *request(grpc("/limited")), answers=[(NEVER,)], status=200, contains=("grpc-timeout: 100m",)
    ),
    answered(
        "duration_grpc_unlimited", *request(grpc("/unlimited", "grpc-timeout: 5S")), listener="streams", answers=[OK]
    ),
    answered("duration_grpc_unlimited_anyway", *request(grpc("/unlimited", "grpc-timeout: 5S")), answers=[OK]),
    answered("duration_grpc_header", *request(grpc("/grpc", "grpc-timeout: 200m")), answers=[(NEVER,)], status=200),
    answered("duration_grpc_capped", *request(grpc("/grpc", "grpc-timeout: 9S")), answers=[(NEVER,)], status=200),
    answered(
        "duration_grpc_below_offset",
        *request(grpc("/grpc", "grpc-timeout: 50m")),
        answers=[(NEVER,)],
        ignore=AT_ONCE,
        status=200,
    ),
    answered(
        "duration_grpc_zero",
        *request(grpc("/grpc", "grpc-timeout: 0m")),
        answers=[(NEVER,)],
        ignore=AT_ONCE,
        status=200,
    ),
    answered("duration_grpc_malformed", *request(grpc("/grpc", "grpc-timeout: soon")), answers=[OK], status=200),
    answered("duration_grpc_header_only", *request(get("/grpc", "grpc-timeout: 150m")), answers=[(NEVER,)], status=504),
    answered("idle", *request(get("/up")), listener="idling", answers=[(NEVER,)], status=504, log="504 SI"),
    answered("idle_in_head", get("/up")[:-2], Reply(), Do("end"), listener="idling", status=408, log="408 SI"),
    answered("idle_in_request", post("/up"), Reply(), Do("end"), listener="idling", answers=[(NEVER,)], status=408),
    answered(
        "idle_in_answer", *request(get("/up")), listener="idling", answers=[(HALF, NEVER)], status=200, end=End.CLOSED
    ),
    answered("idle_of_route", *request(get("/idle")), answers=[(NEVER,)], status=504, log="504 SI"),
    answered("idle_off_for_route", *request(get("/never_idle")), listener="idling", answers=[OK], status=200),
    answered("idle_grpc", *request(grpc("/up")), listener="idling", answers=[(NEVER,)], status=200, log="200 SI"),
    answered("idle_head", *request(get("/up", method="HEAD"), head_only=True), listener="idling", answers=[(NEVER,)]),
]

INTERIM = [
    answered(
        "expect",
        post("/up", "Expect: 100-continue", sent=""),
        Expect(CONTINUE),
        Send(b"0123456789"),
        Reply(),
        answers=[OK],
        status=200,
        end=End.OPEN,
    ),
    answered("expect_of_a_local_reply", post("/teapot", "Expect: 100-continue", sent=""), Reply(), Reply(), Do("end")),
    answered("expect_other", post("/up", "Expect: cake", sent="0123456789"), Reply(), answers=[OK], status=200),
    answered(
        "expect_low_version",
        b"POST /up HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        Reply(),
        Reply(),
        Do("end"),
        listener="override",
    ),
    answered(
        "expect_passed_on",
        post("/up", "Expect: 100-continue", sent=""),
        Expect(CONTINUE),
        Send(b"0123456789"),
        Reply(),
        listener="interim",
        answers=[(CONTINUE, BODY, *OK)],
        status=200,
    ),
    answered(
        "expect_refused",
        post("/up", "Expect: 100-continue", sent=""),
        Reply(),
        Do("end"),
        listener="interim",
        answers=[(b"HTTP/1.1 417 E\r\ncontent-length: 0\r\n\r\n", BODY, NEVER)],
        status=417,
    ),
    answered(
        "interim_dropped",
        *request(get("/up")),
        answers=[(CONTINUE, b"HTTP/1.1 103 E\r\nlink: x\r\n\r\n", *OK)],
        status=200,
    ),
    *[
        answered(f"interim_{name}", get("/up"), *[Reply()] * (count + 1), listener="interim", answers=[(data, *OK)])
        for name, count, data in (
            ("100", 1, CONTINUE),
            ("100_twice", 1, CONTINUE * 2),
            ("102", 1, b"HTTP/1.1 102 P\r\n\r\n"),
            ("103", 1, b"HTTP/1.1 103 E\r\nlink: x\r\n\r\n"),
            ("103_twice", 1, b"HTTP/1.1 103 E\r\nlink: x\r\n\r\n" * 2),
            ("104", 1, b"HTTP/1.1 104 U\r\nx: y\r\n\r\n"),
            ("199", 0, b"HTTP/1.1 199 U\r\nx: y\r\n\r\n"),
            ("100_and_103", 1, CONTINUE + b"HTTP/1.1 103 E\r\nlink: x\r\n\r\n"),
            ("199_and_100", 1, b"HTTP/1.1 199 U\r\nx: y\r\n\r\n" + CONTINUE),
        )
    ],
    answered(
        "interim_then_timeout",
        get("/slow"),
        Reply(),
        Reply(),
        listener="interim",
        answers=[(CONTINUE, NEVER)],
        status=(100, 504),
    ),
    answered(
        "interim_then_fin",
        get("/up"),
        Reply(),
        Reply(),
        listener="interim",
        answers=[(CONTINUE, FIN)],
        status=(100, 503),
    ),
    answered(
        "interim_then_fin_no_retry",
        get("/again"),
        Reply(),
        Reply(),
        listener="interim",
        answers=[(CONTINUE, FIN), OK],
    ),
]


EARLY_HINTS = b"HTTP/1.1 103 E\r\nlink: x\r\n\r\n"

OLD = [
    answered("http10", b"GET /teapot HTTP/1.0\r\nHost: a\r\n\r\n", Reply(), Do("end"), listener="override", status=418),
    answered(
        "http10_kept",
        b"GET /teapot HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        Reply(),
        listener="override",
        status=418,
        end=End.OPEN,
    ),
    answered(
        "http10_until_fin",
        b"GET /up HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        Reply(),
        Do("end"),
        listener="override",
        answers=[(CHUNKS + b"0\r\n\r\n",)],
        body=b"abc",
        end=End.CLOSED,
    ),
    answered("http10_without_host", b"GET /up HTTP/1.0\r\n\r\n", Reply(), Do("end"), listener="override", status=400),
    answered("bad_head", get("/bad", method="HEAD"), Reply(head_only=True), Do("end"), status=400, end=End.CLOSED),
    answered("connect", b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", Reply(), Do("end"), status=404),
    answered(
        "expect_with_body", post("/up", "Expect: 100-continue", sent="0123456789"), Reply(), Reply(), answers=[OK]
    ),
    answered(
        "expect_upper_case", post("/up", "Expect: 100-CONTINUE", sent="0123456789"), Reply(), Reply(), answers=[OK]
    ),
    answered("expect_without_body", get("/up", "Expect: 100-continue"), Reply(), Reply(), answers=[OK]),
    answered(
        "expect_not_answered",
        post("/up", "Expect: 100-continue", sent="0123456789"),
        Reply(),
        listener="interim",
        answers=[OK],
        status=200,
    ),
    answered(
        "interim_behind",
        get("/up"),
        Reply(),
        listener="interim",
        answers=[(b"".join(OK) + EARLY_HINTS, NEVER)],
        status=200,
    ),
    answered(
        "interim_with_length",
        get("/up"),
        Reply(),
        listener="interim",
        answers=[(b"HTTP/1.1 100 C\r\ncontent-length: 2\r\n\r\nok", NEVER)],
        status=502,
    ),
]


def ended(name: str, *steps: Step, logged: int = 2, **rest: object) -> Case:
    """What the listener's log says of the connection."""
    return answered(name, *steps, listener="ends", logged=logged, **rest)


CHUNKED_POST = get("/up", "transfer-encoding: chunked", method="POST")

ENDS = [
    ended("end_by_client", *request(get("/teapot")), Do("close")),
    ended("end_by_reset", *request(get("/teapot")), Do("rst")),
    ended("end_by_close", *request(get("/teapot", "connection: close")), Do("end")),
    ended("end_by_bad_request", *request(get("/bad")), Do("end")),
    ended("end_by_codec_error", b"x\r\n\r\n", Reply(), Do("end")),
    ended("end_by_codec_error_in_body", CHUNKED_POST + b"zz\r\n", Reply(), Do("end"), answers=[(NEVER,)]),
    ended("end_by_idle_timeout", *request(get("/teapot")), Do("end")),
    ended("end_unused", b"", Do("end"), logged=1),
    ended("end_untouched", b"", Do("close"), logged=1),
    ended("end_in_a_request", get("/up"), UpstreamSaw(), Do("close"), answers=[(NEVER,)]),
    ended("end_in_a_head", get("/up")[:-2], Do("close")),
    ended("end_by_upstream", get("/up"), Reply(), Do("end"), answers=[(HALF, FIN)]),
    ended("end_by_early_answer", post("/teapot"), Reply(), Do("end")),
]

WORDS = [
    answered("end_by_duration_unused", b"", Do("end"), listener="words", logged=1, log="duration_timeout"),
    *[
        answered(
            f"codec_error_{name}", data, Reply(), Do("close"), listener="words", logged=2, log=words, answers=[(NEVER,)]
        )
        for name, data, words in (
            ("method", b"x\r\n\r\n", "HPE_INVALID_METHOD"),
            ("no_version", b"GET /\r\n\r\n", "codec_error:Upgrade_required"),
            ("old_version", b"GET / HTTP/1.0\r\n\r\n", "codec_error:Upgrade_required"),
            ("version", b"GET / HTP/1.1\r\n\r\n", "HPE_INVALID_VERSION"),
            ("target", get("x"), "HPE_INVALID_URL"),
            ("colon", get("/up", "nocolon"), "HEADER_MISSING_COLON"),
            ("name", get("/up", "a b: c"), "INVALID_HEADER_NAME_CHARACTER"),
            ("nameless", get("/up", ": c"), "INVALID_HEADER_FORMAT"),
            ("value", get("/up", "a: \x01"), "header_value_contains_invalid_chars"),
            ("length", get("/up", "content-length: x"), "UNPARSABLE_CONTENT_LENGTH"),
            ("lengths", get("/up", "content-length: 2", "content-length: 2"), "HPE_UNEXPECTED_CONTENT_LENGTH"),
            ("chunk", CHUNKED_POST + b"zz\r\n", "HPE_INVALID_CHUNK_SIZE"),
            ("coding", get("/up", "transfer-encoding: x"), "unsupported_transfer_encoding"),
            ("authority", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "failed_spec_compliance_checks"),
        )
    ],
]

REMOVED = [
    answered(
        f"filter_removed_{name}", *request(get("/up")), Do("fin"), Do("end"), listener=name, status=status, log=words
    )
    for name, status, words in (
        ("no_status", 502, "filter_removed_required_response_headers{missing_required_header:_:status}"),
        ("no_path", 503, "filter_removed_required_request_headers{missing_required_header:_:path}"),
        ("no_method", 503, "filter_removed_required_request_headers{missing_required_header:_:method}"),
        ("no_host", 200, "via_upstream"),
    )
]

OVERLOADED = StatIs("overload.envoy.overload_actions.stop_accepting_requests.scale_percent", 100)

OVERLOAD = [
    Case(
        name, (OVERLOADED, *request(data), Do("fin"), Do("end")), config="overload_local", status=status, log="overload"
    )
    for name, data, status in (
        ("local_overload", get("/x"), 503),
        ("local_overload_grpc", grpc("/x"), 200),
        ("local_overload_before_the_body", post("/x"), 503),
    )
]


@pytest.mark.parametrize(
    "case",
    [*CHECKS, *UPSTREAM, *DISCONNECTS, *EARLY, *LIMITS, *TIMES, *INTERIM, *OLD, *ENDS, *WORDS, *REMOVED, *OVERLOAD],
    ids=case_id,
)
def test_answer(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
