"""Redirects that the proxy follows itself, and statistics of routes."""

import pytest
from tests.differential.harness import Case, Pairs, Step, case_id, request
from tests.differential.upstream import Answer, Hold

OK: Answer = (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",)
ERROR: Answer = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",)
STATS = r"^(http\.LISTENER\.|cluster\.|vhost\.|listener\.[^a])"


def moved(location: str, code: int = 302, *headers: str, body: bytes = b"") -> Answer:
    lines = [f"HTTP/1.1 {code} Moved", f"Content-Length: {len(body)}", *headers]
    if location:
        lines.append(f"Location: {location}")
    return ("\r\n".join([*lines, "", ""]).encode() + body,)


def send(path: str, *headers: str, method: str = "GET", body: str = "") -> tuple[Step, ...]:
    lines = [f"{method} {path} HTTP/1.1", "Host: a.test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return request("\r\n".join([*lines, "", body]).encode())


def case(name: str, steps: tuple[Step, ...], *answers: Answer, **more: object) -> Case:
    return Case(name, steps, config="redirects", answers=answers, stats=STATS, **more)  # type: ignore[arg-type]


TARGET = "http://a.test/target"

FOLLOWED = [
    case("followed", send("/plain"), moved(TARGET), OK, status=200, forwarded=2, contains=(r"log 302 - internal_red",)),
    case("with_a_query", send("/plain?a=b"), moved(f"{TARGET}?c=d"), OK, contains=(r"GET /target\?c=d",)),
    case("fragment_is_dropped", send("/plain"), moved(f"{TARGET}#frag"), OK, status=200),
    case("fragment_and_query", send("/plain"), moved(f"{TARGET}?c#frag?x"), OK, status=200),
    case("to_another_host", send("/plain"), moved("http://elsewhere.test/far"), status=200, forwarded=2),
    case("to_another_port", send("/plain"), moved("http://a.test:8080/target"), OK, contains=(r"host: a.test:8080",)),
    case("to_an_ipv6_host", send("/plain"), moved("http://[::1]:80/target"), OK),
    case("with_user_information", send("/plain"), moved("http://me:pw@a.test/target"), OK),
    case("to_a_direct_response", send("/plain"), moved("http://a.test/direct"), status=418, body=b"teapot"),
    case("upper_case_scheme", send("/plain"), moved("HTTP://a.test/target"), OK),
    case("response_with_body", send("/plain"), moved(TARGET, body=b"see there"), OK, status=200),
    case(
        "chunked_response",
        send("/plain"),
        (f"HTTP/1.1 302 F\r\nLocation: {TARGET}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".encode(),),
        OK,
        status=200,
    ),
    case("several", send("/three"), moved("http://a.test/three"), moved("http://a.test/three"), OK, forwarded=3),
    case("post_with_body", send("/codes", method="POST", body="hello"), moved(TARGET, 307), OK, status=200),
    case("post_becomes_get", send("/codes", method="POST", body="hello"), moved(TARGET, 303), OK, status=200),
    case(
        "head_stays_head",
        request(b"HEAD /codes HTTP/1.1\r\nHost: a.test\r\n\r\n", head_only=True),
        moved(TARGET, 303),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",),
    ),
    *[case(f"code_{code}", send("/codes"), moved(TARGET, code), OK) for code in (301, 303, 307, 308)],
    case("across_schemes", send("/cross"), moved("https://a.test/target"), OK, status=200),
    case("allow_listed", send("/listed"), moved(TARGET), OK, status=200),
    case("previous_routes", send("/previous"), moved("http://a.test/previous"), moved("http://a.test/previous"), OK),
    case(
        "headers_are_copied",
        send("/copied", "x-copy: old", "x-gone: 1"),
        moved(TARGET, 302, "X-Copy: 1", "X-Copy: 2"),
        OK,
        contains=(r"x-copy: 2",),
    ),
    case(
        "after_rewrites",
        send("/rewritten"),
        moved(TARGET),
        OK,
        contains=(r"x-envoy-original-url: http://inner.test/inner",),
    ),
    case("after_a_retry", send("/retried"), ERROR, moved(TARGET), OK, status=200, forwarded=3),
    case("deprecated_spelling", send("/deprecated"), moved("http://a.test/deprecated"), moved(TARGET), OK, status=200),
    case("twice_on_a_connection", send("/plain") * 2, moved(TARGET), OK, moved(TARGET), OK, status=(200, 200)),
    case("client_closes", send("/plain", "Connection: close"), moved(TARGET), OK, status=200),
]

PASSED_ON = [
    case("without_location", send("/plain"), moved(""), status=302),
    case("empty_location", send("/plain"), (b"HTTP/1.1 302 F\r\nLocation: \r\nContent-Length: 0\r\n\r\n",), status=302),
    *[
        case(f"bad_location_{number}", send("/plain"), moved(location), status=302)
        for number, location in enumerate(
            (
                "/target",
                "a.test/target",
                "http://",
                "http:///target",
                "http://a b/",
                "://a.test/",
                "http://a.test:x/",
                "http://a.test:99999/",
                "//a.test/target",
            )
        )
    ],
    case("too_many", send("/plain"), moved("http://a.test/plain"), moved(TARGET), status=302, forwarded=2),
    case("none_allowed", send("/zero"), moved(TARGET), status=302, forwarded=1),
    case("other_code", send("/plain"), moved(TARGET, 301), status=301, forwarded=1),
    case("unsafe_scheme", send("/plain"), moved("https://a.test/target"), status=302),
    case("unsafe_by_predicate", send("/safe"), moved("https://a.test/target"), status=302),
    case("other_scheme", send("/plain"), moved("ftp://a.test/target"), status=302),
    case("no_route", send("/plain"), moved("http://elsewhere.test/nothing"), status=302),
    case("not_listed", send("/listed"), moved("http://a.test/other"), status=302),
    case("headers_are_restored", send("/copied", "x-copy: old"), moved("http://elsewhere.test/x", 302, "X-Copy: 1")),
    case("body_above_the_limit", send("/limited", method="POST", body="hello"), moved(TARGET, 307), status=307),
    case("body_within_the_limit", send("/limited", method="POST", body="four"), moved(TARGET, 307), OK, status=200),
    case("action_passes_through", send("/passed"), moved(TARGET), status=302),
]

ORIGIN = "Origin: http://good.test"


def filtered(name: str, steps: tuple[Step, ...], *answers: Answer, **more: object) -> Case:
    # Each request that an answer is for writes a line when it begins and one when it ends.
    return case(f"filtered_{name}", steps, *answers, listener="filtered", lines_per_request=2, **more)


FILTERED = [
    filtered("headers", send("/moving", ORIGIN), moved(TARGET), OK, status=200),
    filtered("body", send("/moving", ORIGIN, method="POST", body="hello"), moved(TARGET, 307), OK, status=200),
    filtered("several", send("/moving"), moved("http://a.test/moving/1"), moved(TARGET), OK, status=200),
    filtered("filter_is_off_there", send("/moving", ORIGIN), moved("http://a.test/off"), OK, status=200),
    filtered("passed_on", send("/moving", ORIGIN), moved("/target"), status=302),
    filtered("requests_of_a_connection", send("/moving") * 2, moved(TARGET), OK, moved(TARGET), OK),
    filtered("forwarded_for", send("/moving", "x-forwarded-for: 1.2.3.4"), moved(TARGET), OK),
]

ROUTE_STATS = [
    case("stats_success", send("/stats"), OK, contains=(r"vhost.all.route.own.upstream_rq_200",)),
    case("stats_retry", send("/stats"), ERROR, OK),
    case("stats_retry_fails", send("/stats"), ERROR, ERROR),
    case("stats_post_is_in_no_virtual_cluster", send("/stats", method="POST"), OK),
    case("stats_timeout", send("/stats_timeout"), (Hold("hold"), *OK), status=504, ignore=(r"rq_time",)),
    case("stats_refused", send("/stats_refused"), status=503, ignore=(r"log 503",)),
    case("stats_direct", send("/stats_direct"), status=200),
    case("stats_redirect", send("/stats_redirect"), status=301),
    case(
        "decorated",
        send("/decorated", "x-envoy-decorator-operation: theirs"),
        (b"HTTP/1.1 200 OK\r\nx-envoy-decorator-operation: up\r\nContent-Length: 0\r\n\r\n",),
    ),
]


@pytest.mark.parametrize("case", [*FOLLOWED, *PASSED_ON, *FILTERED, *ROUTE_STATS], ids=case_id)
def test_internal_redirects(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
