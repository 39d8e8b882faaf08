"""Who a request is from: addresses, trust in headers, early mutations, the request id and its trace reason."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.upstream import Answer
from tests.differential.wire import End

ID = "A1B2C3D4-0000-4000-8000-00000000000A"
"""A request id whose letters keep it from being taken for a generated one; no trace reason is packed into it."""


def with_reason(digit: str) -> str:
    """The request id with a trace reason."""
    return ID[:14] + digit + ID[15:]


def get(
    name: str,
    listener: str,
    *headers: str,
    path: str = "/p",
    host: str = "any.test",
    status: int = 200,
    contains: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    logged: int | None = None,
    answers: tuple[Answer, ...] = (),
    alive: int = 200,
) -> Case:
    """One request to a listener of the configuration; ``alive``: what it answers to a second one without headers."""
    lines = "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])
    return Case(
        f"{listener}_{name}",
        request(lines.encode()),
        config="identity",
        listener=listener,
        status=status if alive == 200 else (status, alive),
        end=End.OPEN if alive == 200 else None,
        contains=contains,
        ignore=ignore,
        logged=logged,
        answers=answers,
    )


PORT = r"x-forwarded-port: \d{4,}"
"""The listener's, which is another one each time."""


SAMPLED = r"tracing\.(not_traceable|random_sampling)$"
"""By chance, for the request that shows whether the connection is alive."""


def xff(value: str) -> str:
    return f"X-Forwarded-For: {value}"


_ENVOYS = """
Retry-On Retry-Grpc-On Max-Retries Upstream-Alt-Stat-Name Upstream-Rq-Timeout-Ms Upstream-Rq-Per-Try-Timeout-Ms
Upstream-Rq-Timeout-Alt-Response Expected-Rq-Timeout-Ms Force-Trace Ip-Tags Original-Url Hedge-On-Per-Try-Timeout
Retriable-Status-Codes Retriable-Header-Names Is-Timeout-Retry Decorator-Operation Downstream-Service-Cluster
Downstream-Service-Node Original-Path Original-Host Original-Method Internal External-Address Attempt-Count Overloaded
Degraded Upstream-Service-Time Original-Dst-Host Mobile Immediate-Health-Check-Fail Upstream-Canary
Upstream-Stream-Duration-Ms Ratelimited Peer-Metadata
"""
INTERNAL_HEADERS = tuple(f"X-Envoy-{name}: 60000" for name in _ENVOYS.split())
OTHER_HEADERS = (
    "X-Only-Internal: 1",
    "X-Forwarded-Client-Cert: By=a",
    "X-Forwarded-Host: h",
    "X-Forwarded-Port: 1",
    "Grpc-Accept-Encoding: gzip",
    "X-Client-Trace-Id: c",
    "X-Ot-Span-Context: s",
    "X-B3-TraceId: t",
    "Early-Data: 1",
    "Keep-Alive: 1",
    "Proxy-Connection: keep-alive",
    "Te: gzip",
    "Forwarded: for=1.2.3.4",
    "X-Real-Ip: 1.2.3.4",
    "Cdn-Loop: a",
    "Via: 1.1 before",
)

ADDRESSES = [
    get("headers_of_envoys", "main", *INTERNAL_HEADERS, *OTHER_HEADERS),
    get("headers_of_envoys", "edge", *INTERNAL_HEADERS, *OTHER_HEADERS),
    get("headers_of_envoys", "edge_internal", *INTERNAL_HEADERS, *OTHER_HEADERS),
    get("headers_of_envoys", "inner", *INTERNAL_HEADERS, *OTHER_HEADERS, xff("10.0.0.1")),
    get("xff", "main", xff("1.2.3.4, 5.6.7.8")),
    get("xff_v6", "main", xff("1.2.3.4,  2001:db8::1")),
    get("xff_brackets", "main", xff("[2001:db8::1]")),
    get("xff_port", "main", xff("1.2.3.4:80")),
    get("xff_garbage", "main", xff("1.2.3.4, unknown")),
    get("xff_empty", "main", xff("")),
    get("xff_trailing_comma", "main", xff("1.2.3.4,")),
    get("xff_tab", "main", xff("1.2.3.4,\t5.6.7.8")),
    get("xff_two_lines", "main", xff("1.2.3.4"), xff("5.6.7.8")),
    get("xff_leading_zeros", "main", xff("010.0.0.1")),
    get("xff_short", "main", xff("10.1")),
    get("xff_mapped", "main", xff("::ffff:1.2.3.4")),
    get("xff_scope", "main", xff("fe80::1%1")),
    get("xff", "edge", xff("1.2.3.4, 5.6.7.8")),
    get("none", "edge"),
    get("proto_and_port", "edge", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1"),
    get("xff", "edge_skip", xff("1.2.3.4")),
    get("xff", "edge_hops", xff("1.2.3.4, 5.6.7.8"), "X-Forwarded-Proto: https", "X-Forwarded-Port: 1"),
    get("none", "edge_hops", contains=(PORT,), ignore=(PORT,)),
    get("garbage", "edge_hops", xff("junk"), contains=(PORT,), ignore=(PORT,)),
    get("xff", "edge_internal", xff("10.0.0.1")),
    get("none", "edge_internal"),
    get("xff", "hops", xff("10.0.0.1, 5.6.7.8")),
    get("too_few", "hops", xff("10.0.0.1")),
    get("internal", "inner", xff("10.0.0.1"), "X-Only-Internal: 1"),
    get("internal_v6", "inner", xff("fd00::1"), "X-Only-Internal: 1"),
    get("internal_mapped", "inner", xff("::ffff:10.0.0.1"), "X-Only-Internal: 1"),
    get("external", "inner", xff("11.0.0.1"), "X-Only-Internal: 1"),
    get("two", "inner", xff("10.0.0.1,10.0.0.1"), "X-Only-Internal: 1"),
    get("none", "inner", "X-Only-Internal: 1"),
    get("xff", "cidrs", xff("1.2.3.4, 10.0.0.1")),
    get("all_trusted", "cidrs", xff("10.0.0.2, 10.0.0.1")),
    get("one_trusted", "cidrs", xff("10.0.0.2"), "X-Only-Internal: 1"),
    get("one", "cidrs", xff("1.2.3.4"), "X-Only-Internal: 1"),
    get("xff", "cidrs_bad", xff("1.2.3.4")),
    get("xff", "cidrs_far_skip", xff("1.2.3.4")),
    get("xff", "cidrs_then_hops", xff("9.9.9.9, 1.2.3.4")),
    get("header", "append_then_header", xff("1.2.3.4"), "X-Client-Ip: 8.8.8.8"),
    get("xff", "append_then_header", xff("9.9.9.9, 1.2.3.4"), "X-Client-Ip: 8.8.8.8"),
    get("garbage_behind", "cidrs", xff("1.2.3.4, junk, 10.0.0.1")),
    get("garbage", "cidrs", xff("junk")),
    get("none", "cidrs"),
    get("xff", "cidrs_far", xff("1.2.3.4")),
    get("xff", "xff_append", xff("1.2.3.4, 5.6.7.8")),
    get("too_few", "xff_append", xff("1.2.3.4")),
    get("none", "xff_append"),
    get("good", "custom", "X-Client-Ip: 10.0.0.1", "X-Only-Internal: 1", alive=401),
    get("two", "custom", "X-Client-Ip: 1.2.3.4", "X-Client-Ip: 5.6.7.8", alive=401),
    get("v6", "custom", "X-Client-Ip: 2001:db8::1", alive=401),
    get("port", "custom", "X-Client-Ip: 1.2.3.4:80", status=401, alive=401),
    get("none", "custom", status=401, alive=401),
    get("bad", "custom", "X-Client-Ip: junk", status=401, alive=401),
    get("grpc", "custom", "Content-Type: application/grpc", alive=401),
    get("none", "custom_low", status=403, alive=403),
    get("trusted", "custom_trusted", "X-Client-Ip: 10.0.0.1", "X-Only-Internal: 1"),
    get("foreign", "custom_trusted", "X-Client-Ip: 1.2.3.4", "X-Only-Internal: 1"),
    get("next", "custom_trusted", xff("1.2.3.4, 5.6.7.8")),
    get("nothing", "custom_trusted"),
]

_SEVERAL = """
Accept Authorization Cache-Control Cookie Content-Type Origin User-Agent Via X-Custom Pragma If-Match X-Forwarded-Host
X-Envoy-Original-Path Date From Warning Grpc-Timeout X-Envoy-Attempt-Count Accept-Language
"""
REPEATED = tuple(f"{name}: {number}" for name in _SEVERAL.split() for number in (7, 8))

HEADERS = [
    get("referer", "main", "Referer: http://a.test/b?c"),
    get("referer_relative", "main", "Referer: /b"),
    get("referer_word", "main", "Referer: junk"),
    get("referer_fragment", "main", "Referer: https://a.test/b#c"),
    get("referer_userinfo", "main", "Referer: http://u:p@a.test/"),
    get("referer_empty", "main", "Referer:"),
    get("referer_blank", "main", "Referer: about:blank"),
    get("referer_app", "main", "Referer: android-app://com.example/"),
    get("referer_host_only", "main", "Referer: http://a.test"),
    get("referer_bad_port", "main", "Referer: http://a.test:99999/"),
    get("referer_spaces", "main", "Referer: http://a.test/a b"),
    get("referer_high", "main", "Referer: http://a.test/\u00e9"),
    get("referer_twice", "main", "Referer: http://a.test/", "Referer: http://a.test/"),
    get("referer_capitals", "main", "Referer: HTTP://A.Test/"),
    get("te_trailers", "main", "Te: trailers"),
    get("te_several", "main", "Te: gzip, Trailers;q=0.5"),
    get("te_two_lines", "main", "Te: gzip", "Te: trailers"),
    get("te_capitals", "main", "Te: TRAILERS"),
    get("te_inside", "main", "Te: trailersx"),
    get("te_quality", "main", "Te: trailers;q=0.5"),
    get("te_empty", "main", "Te:"),
    get("repeated", "main", *REPEATED),
    get("proto_odd", "main", "X-Forwarded-Proto: ftp"),
    get("proto_capitals", "main", "X-Forwarded-Proto: HTTPS"),
    get("proto_twice", "main", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"),
    get("proto_empty", "main", "X-Forwarded-Proto:", status=404),
    Case(
        "main_response_hop_by_hop",
        request(b"GET / HTTP/1.1\r\nHost: any.test\r\n\r\n"),
        config="identity",
        answers=[
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvary: a\r\nvary: b\r\nset-cookie: a\r\nset-cookie: b\r\n"
                b"upgrade: h2c\r\nkeep-alive: 1\r\nproxy-connection: x\r\n"
                b"connection: x-named\r\nx-named: 1\r\nx-envoy-decorator-operation: o\r\nx-request-id: theirs\r\n"
                b"x-envoy-internal: true\r\nserver: theirs\r\nte: trailers\r\n\r\nok",
            )
        ],
        status=200,
        end=End.OPEN,
    ),
    get(
        "all",
        "early",
        "X-Removed: 1",
        "X-Appended: old",
        "X-If-Absent: old",
        "X-Over: old",
        "X-If-There: old",
        "X-Source: here",
        "X-Gone-1: 1",
        "x-gone-2: 2",
        "x-case: 1",
        "X-11: 1",
        "X-11a: 1",
        xff("9.9.9.9"),
    ),
    get("bare", "early"),
]

TRACING = [
    get("default", "trace", f"X-Request-Id: {ID}", contains=(f"x-request-id: {with_reason('9')}",), logged=0),
    get("short_id", "trace", "X-Request-Id: A1B2C3D4", logged=0),
    get("not_hexadecimal", "trace", "X-Request-Id: Z1B2C3D4-0000-4000-8000-00000000000A", logged=0),
    get("odd_id", "trace", "X-Request-Id: A1", logged=0),
    get("no_id_given", "trace", logged=0),
    get("sampled_before", "trace_none", f"X-Request-Id: {with_reason('9')}", logged=0),
    get("forced_before", "trace_none", f"X-Request-Id: {with_reason('a')}", logged=1),
    get("client_before", "trace_none", f"X-Request-Id: {with_reason('b')}", logged=0),
    get("odd_before", "trace_none", f"X-Request-Id: {with_reason('7')}", logged=0),
    get("nothing", "trace_none", f"X-Request-Id: {ID}", logged=0),
    get("client", "trace_none", f"X-Request-Id: {ID}", "X-Client-Trace-Id: c", logged=0),
    get("forced", "trace_none", f"X-Request-Id: {ID}", "X-Envoy-Force-Trace: 1", logged=0),
    get("forced", "trace_inner", f"X-Request-Id: {ID}", "X-Envoy-Force-Trace: 1", logged=1),
    get("client_off", "trace_client", f"X-Request-Id: {ID}", "X-Client-Trace-Id: c", logged=0),
    get("random_in", "trace_half", "X-Request-Id: 00000001-0000-4000-8000-00000000000A", logged=0, ignore=(SAMPLED,)),
    get("overall_out", "trace_half", "X-Request-Id: 00000B00-0000-4000-8000-00000000000A", logged=0, ignore=(SAMPLED,)),
    get("random_out", "trace_half", "X-Request-Id: 00001F00-0000-4000-8000-00000000000A", logged=0, ignore=(SAMPLED,)),
    get("overall_off", "trace_never", f"X-Request-Id: {with_reason('9')}", logged=0),
    get("route_off", "trace", f"X-Request-Id: {ID}", path="/untraced", logged=0),
    get("not_packed", "unpacked", f"X-Request-Id: {ID}", logged=0),
    get("not_by_id", "sampled", f"X-Request-Id: {ID}", logged=0),
    get("decorated", "trace", f"X-Request-Id: {ID}", path="/decorated", logged=0),
    get("decorated_by_request", "trace", "X-Envoy-Decorator-Operation: theirs", path="/decorated", logged=0),
    get("decorated_silently", "trace", f"X-Request-Id: {ID}", path="/silent", logged=0),
    get("decorated", "trace_out", "X-Envoy-Decorator-Operation: theirs", path="/decorated"),
    get("decorated_silently", "trace_out", path="/silent"),
    get(
        "decorated_by_response",
        "trace_out",
        path="/decorated",
        answers=((b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-envoy-decorator-operation: o\r\n\r\nok",),),
    ),
    get("decorated", "main", path="/decorated"),
    get("kept", "id_kept", f"X-Request-Id: {ID}"),
    get("made", "id_kept"),
    get("replaced", "edge", f"X-Request-Id: {ID}"),
    get("twice", "main", f"X-Request-Id: {ID}", "X-Request-Id: second"),
    get("empty", "main", "X-Request-Id:"),
    get("none", "id_none"),
    get("given", "id_none", f"X-Request-Id: {ID}"),
]


@pytest.mark.parametrize("case", ADDRESSES, ids=case_id)
def test_addresses_and_trust(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", HEADERS, ids=case_id)
def test_headers(pairs: Pairs, case: Case) -> None:
    pairs.check(case)


@pytest.mark.parametrize("case", TRACING, ids=case_id)
def test_request_id_and_tracing(pairs: Pairs, case: Case) -> None:
    pairs.check(case)
