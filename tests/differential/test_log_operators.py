"""Operators, filters and kinds of access-log records, in text and in JSON, line by line against Envoy."""

import pytest
from tests.differential.harness import (
    Case,
    Do,
    Expect,
    Pairs,
    Release,
    Reply,
    StatIs,
    Step,
    UpstreamSaw,
    case_id,
    request,
)
from tests.differential.upstream import FIN, RST, Answer, Hold, Read


def get(path: bytes = b"/a?x=1&y=%20z&x=2&%78z=q", *headers: bytes) -> bytes:
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: a.test", *headers, b"", b""])


POST = b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n"
OK: Answer = (b"HTTP/1.1 200 OK\r\nx-r: y\r\ncontent-length: 2\r\n\r\nok",)
BAD: Answer = (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad",)
PARTS: Answer = (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n",)
EARLY: Answer = (b"HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n" + OK[0],)  # type: ignore[operator]
GRPC = (b"content-type: application/grpc", b"te: trailers")
GRPC_OK: Answer = (b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 0\r\ncontent-length: 0\r\n\r\n",)
HOSTILE = (
    b'user-agent: "q\\b\xff\xc3\xa9\t|\x80',
    b"x-long: " + b"0123456789" * 300,
    b"empty:",
)
UPGRADE = get(b"/ws", b"connection: upgrade", b"upgrade: websocket")
SWITCH: Answer = (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", FIN)
PINGED = (Read(4), b"pong")


def case(
    name: str, listener: str, steps: tuple[Step, ...], answers: list[Answer] | None = None, **more: object
) -> Case:
    return Case(name, steps, config="log_operators", listener=listener, answers=answers or (), **more)  # type: ignore[arg-type]


def _upstream_cases(listener: str) -> list[Case]:
    """What can become of a request, told by the operators about its upstream."""
    gone = StatIs(f"http.{listener}.downstream_rq_active", 0)
    return [
        case(f"{listener}_get", listener, request(get()), [OK]),
        case(f"{listener}_virtual_cluster", listener, request(get(b"/vc"))),
        case(f"{listener}_retry", listener, request(get(b"/one")), [BAD, OK], log=" 200 "),
        case(f"{listener}_retries_exhausted", listener, request(get(b"/one")), [BAD, BAD], log="URX"),
        case(f"{listener}_retry_after_close", listener, request(get(b"/one")), [(FIN,), OK]),
        case(f"{listener}_refused", listener, request(get(b"/refused")), log="UF"),
        case(f"{listener}_no_host", listener, request(get(b"/none")), log="UH"),
        case(f"{listener}_no_cluster", listener, request(get(b"/nowhere")), status=503),
        case(f"{listener}_direct", listener, request(get(b"/direct")), status=418),
        case(f"{listener}_upstream_fin", listener, request(get()), [(FIN,)], log="UC"),
        case(f"{listener}_upstream_rst", listener, request(get()), [(RST,)]),
        case(f"{listener}_bad_response", listener, request(get()), [(b"HTTP/1.1 20x OK\r\n\r\n",)], log="UPE"),
        case(f"{listener}_timeout", listener, request(get(b"/tmo")), [(Hold(),)], log="UT"),
        case(f"{listener}_per_try_timeout", listener, request(get(b"/pertry")), [(Hold(),), OK]),
        case(f"{listener}_client_gone", listener, (get(), UpstreamSaw(), Do("close"), gone, Release()), [(Hold(),)]),
        case(f"{listener}_bad_request", listener, request(b"GARBAGE\r\n\r\n"), log="400 DPE"),
    ]


CASES = [
    *_upstream_cases("main"),
    case("sizes_get", "sizes", request(get()), [OK]),
    case("sizes_head", "sizes", request(get().replace(b"GET", b"HEAD", 1), head_only=True), [(OK[0].split(b"ok")[0],)]),  # type: ignore[union-attr]
    case("sizes_post", "sizes", request(POST), [OK]),
    case("sizes_chunked", "sizes", request(CHUNKED), [PARTS]),
    case("sizes_early_hints", "sizes", request(get()), [EARLY]),
    case("sizes_retry", "sizes", request(get(b"/one")), [(FIN,), OK]),
    case("sizes_direct", "sizes", request(get(b"/direct"))),
    case("sizes_http10", "sizes", request(b"GET / HTTP/1.0\r\n\r\n"), status=426),
    case("sizes_bad_request", "sizes", request(b"GARBAGE\r\n\r\n"), status=400),
    case("sizes_bad_response", "sizes", request(get()), [(b"HTTP/1.1 20x OK\r\n\r\n",)]),
    case("misc_get", "misc", request(get(b"/a?x=1&y=%20z&x=2", b"x-long: 0123456789", b"empty:"))),
    case("misc_hostile", "misc", request(get(b"/a?%22=%0a&y=%ff", *HOSTILE))),
    case(
        "misc_client_certificate",
        "misc",
        request(get(b"/", b'x-forwarded-client-cert: By=b;URI="a,b;\\"c\\"";URI=d,URI=e')),
        log='a,b;"c"',
    ),
    case("misc_direct", "misc", request(get(b"/direct"))),
    case("json_get", "json", request(get(b"/a", b"x-long: 0123456789"))),
    case("json_hostile", "json", request(get(b"/a", *HOSTILE))),
    case("json_retries_exhausted", "json", request(get(b"/one")), [BAD, BAD]),
    case("json_bad_request", "json", request(b"GARBAGE\r\n\r\n")),
    case("omitted_get", "omitted", request(get()), logged=4),
    case("omitted_direct", "omitted", request(get(b"/direct")), logged=4),
    case("unsorted_json", "unsorted", request(get())),
    case("started_get", "started", request(get()), logged=4, log="DownstreamStart"),
    case("started_refused", "started", request(get(b"/refused")), logged=4),
    case("started_direct", "started", request(get(b"/direct")), logged=4),
    case("started_bad_request", "started", request(b"GARBAGE\r\n\r\n"), logged=1),
    case("started_by_the_old_field", "started_old", request(get()), logged=4),
    case("tunnel", "tunnels", (UPGRADE, Reply(head_only=True), Do("end")), [SWITCH], logged=2, log="DownstreamTunnel"),
    case("tunnel_refused", "tunnels", request(UPGRADE), [BAD], logged=1),
    case("no_tunnel", "tunnels", request(get()), logged=2),
    *[
        case(
            f"{listener}_{name}", listener, request(message), answers, logged=count * (2 if "ready" in listener else 1)
        )
        for listener, per_attempt in (("attempts", 1), ("attempts_ready", 2))
        for name, message, answers, count in (
            ("get", get(b"/", b"x-a: b"), [OK], 1),
            ("retry_after_close", get(b"/one"), [(FIN,), OK], 2),
            ("closed_twice", get(b"/one"), [(FIN,), (FIN,)], 2),
            ("timeout", get(b"/tmo"), [(Hold(),)], 1),
            ("per_try_timeout", get(b"/pertry"), [(Hold(),), OK], 2),
            ("bad_response", get(), [(b"HTTP/1.1 20x OK\r\n\r\n",)], 1),
        )
    ],
    case("attempts_refused", "attempts", request(get(b"/refused")), logged=1),
    case("attempts_direct", "attempts", request(get(b"/direct")), logged=0),
    case("duration_filter_drops", "duration", request(get()), logged=0),
    case("status_by_runtime", "status_runtime", request(get()), logged=2),
    case("runtime_says_none", "runtime_none", request(get()), logged=0),
    case("runtime_says_all", "runtime_all", request(get()), logged=2),
    *[
        case(
            f"sample_{digits.decode()}",
            "runtime_id",
            request(get(b"/", b"x-request-id: " + digits + b"-0000-4000-8000-000000000000")),
            ignore=("^log .*/alive",),
            logged=0,
        )
        for digits in (b"00000001", b"00000063", b"ffffffff")
    ],
    case("both_filters", "both", request(get(b"/", b"x-log: 1")), logged=1),
    case("only_one_filter", "both", request(get()), logged=0),
    case("types", "types", request(get()), logged=2, log="DownstreamStart"),
    case("other_types", "not_types", request(get()), logged=2, log="DownstreamEnd"),
    case("grpc_unavailable", "grpc", request(get(b"/", *GRPC)), [BAD], logged=1, ignore=("^log .*/alive",)),
    case("grpc_ok", "grpc", request(get(b"/", *GRPC)), [GRPC_OK], logged=0, ignore=("^log .*/alive",)),
    case("not_grpc_ok", "not_grpc", request(get(b"/", *GRPC)), [GRPC_OK], logged=0, ignore=("^log .*/alive",)),
    case("metadata_absent", "metadata", request(get()), logged=0),
    case("metadata_absent_by_default", "metadata_default", request(get()), logged=2),
    case("not_a_health_check", "healthy", request(get()), logged=2),
    case("never_traced", "traced", request(get()), logged=0),
    case("any_flag", "any_flag", request(get()), [(FIN,)], logged=1),
    case("session", "session", (b"ping", Expect(b"pong"), Do("end")), raw=(*PINGED, FIN), logged=2),
    case("session_client_reset", "session", (b"ping", Expect(b"pong"), Do("rst")), raw=PINGED, logged=2),
    case("session_upstream_reset", "session", (b"ping", Do("end")), raw=(Read(4), RST), logged=2),
    case("session_refused", "session_refused", (b"ping", Do("end")), logged=1, log="UF,URX"),
    case("session_idle", "session_idle", (b"ping", Expect(b"pong"), Do("end")), raw=PINGED, logged=1),
    case("session_too_long", "session_short", (b"ping", Expect(b"pong"), Do("end")), raw=PINGED, logged=1, log="DT"),
    case("session_without_cluster", "session_nowhere", (b"ping", Do("end")), logged=1, log="NC"),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_log_operators(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
