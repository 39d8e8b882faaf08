"""Stateful sessions: which host a request gets, what the client is told, what is counted."""

import base64

import pytest
from tests.differential.harness import Case, Pairs, Step, case_id, request
from tests.differential.upstream import Answer

STATS = r"^(http\.LISTENER\.|cluster\.|stateful_session\.)"
NOWHERE = base64.b64encode(b"192.0.2.1:9").decode()
INNER = base64.b64encode(b"inner").decode()
ERROR: Answer = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",)
NAMED: Answer = (b"HTTP/1.1 200 OK\r\nX-Inner: of-upstream\r\nContent-Length: 0\r\n\r\n",)
NAMED_TWICE: Answer = (b"HTTP/1.1 200 OK\r\nX-Inner: one\r\nX-Inner: two\r\nContent-Length: 0\r\n\r\n",)
OTHER_SESSION: Answer = (b"HTTP/1.1 200 OK\r\nX-Session: mine\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",)


def get(path: str, *headers: str) -> tuple[Step, ...]:
    return request("\r\n".join([f"GET {path} HTTP/1.1", "Host: a.test", *headers, "", ""]).encode())


def session(value: str) -> str:
    return f"X-Session: {value}"


def case(name: str, *requests: tuple[Step, ...], **more: object) -> Case:
    steps = tuple(step for one in requests for step in one)
    return Case(name, steps, config="sessions", stats=STATS, **more)  # type: ignore[arg-type]


def told(name: str, *requests: tuple[Step, ...], **more: object) -> Case:
    """The host is any: only that the client is told of one."""
    ignore = (r"x-session: <session", r'set-cookie: session="<cookie', r"^up", r"^log", r"upstream_cx", r"rq_\w+$")
    return case(name, *requests, ignore=(*ignore, r"GET "), **more)


EACH = ("a", "b", "c")

HEADERS = [
    case(
        "every_host_by_header", *[get("/header", session(f"{{{{session:{name}}}}}")) for name in EACH * 2], forwarded=6
    ),
    case("first_of_two_headers", get("/header", session("{{session:b}}"), session("{{session:c}}")), status=200),
    case("a_host_that_may_be_degraded", get("/sick", session("{{session:c}}")), status=200),
    case("statuses_that_are_allowed", *[get("/only_sick", session(f"{{{{session:{name}}}}}")) for name in "bc"]),
    case("no_hosts", get("/empty"), get("/empty", session(NOWHERE)), status=(503, 503)),
    case("direct_response", get("/alive", session(NOWHERE)), status=200),
    case("a_retry_is_free", get("/retried", session("{{session:b}}"), "X-Key: key-1"), answers_of={"b": (ERROR,)}),
    case("header_of_the_upstream", get("/header", session("{{session:a}}")), answers_of={"a": (OTHER_SESSION,)}),
    told("without_a_session", get("/header"), contains=(r"x-session: <session \w>",)),
    told("host_that_is_gone", get("/header", session(NOWHERE)), contains=(r"x-session: <session \w>",)),
    told("no_base64", get("/header", session("!!")), contains=(r"x-session: <session \w>",)),
    told("host_that_is_unhealthy", get("/sick", session("{{session:b}}")), contains=(r"x-session: <session \w>",)),
    told("odd_bits", get("/header", session("MTI3LjAuMC4xOjF=")), contains=(r"x-session: <session \w>",)),
]

STRICT = [
    case("strict_host", get("/header", session("{{session:c}}")), listener="strict", status=200),
    case("strict_host_is_gone", get("/header", session(NOWHERE)), listener="strict", status=503),
    case("strict_host_is_unhealthy", get("/sick", session("{{session:b}}")), listener="strict", status=503),
    case("strict_host_is_not_allowed", get("/only_sick", session("{{session:a}}")), listener="strict", status=503),
    case("strict_without_hosts", get("/empty"), get("/empty", session(NOWHERE)), listener="strict", status=(503, 503)),
    case("strict_route", get("/strict", session("{{session:b}}")), get("/strict", session("{{session:a}}"))),
    told("strict_without_a_session", get("/header"), listener="strict", contains=(r"x-session: <session \w>",)),
]

ROUTES = [
    case(
        "switched_off",
        get("/disabled", session("{{session:b}}"), "X-Key: key-1"),
        get("/nothing", session("{{session:b}}"), "X-Key: key-1"),
        status=(200, 200),
        forwarded=2,
    ),
]

LONG_COOKIE = (r"set-cookie:", r"^up", r"^log", r"upstream_cx", r"rq_\w+$", r"GET ", r"downstream_cx_tx")

COOKIES = [
    case("every_host_by_cookie", *[get("/cookie", f"Cookie: session={{{{cookie:{name}}}}}") for name in EACH]),
    case("quoted_cookie", get("/cookie", 'Cookie: other=1; session="{{cookie:b}}"'), status=200),
    case("cookie_with_the_address_alone", get("/cookie", "Cookie: session={{session:c}}"), status=200),
    case("cookie_without_expiry", get("/path/a", "Cookie: session={{cookie:b}}"), status=200),
    told("a_cookie_is_set", get("/cookie"), contains=(r'set-cookie: session="<cookie \w>"; HttpOnly$',)),
    told("garbage", get("/cookie", "Cookie: session=Z2FyYmFnZQ=="), contains=(r"set-cookie: session=",)),
    told("empty_message", get("/cookie", "Cookie: session=CgA="), contains=(r"set-cookie: session=",)),
    told(
        "expired", get("/cookie", "Cookie: session=Cg8xMjcuMC4wLjE6NDYzNzcQAQ=="), contains=(r"set-cookie: session=",)
    ),
    told("slashed_path", get("/slashed/x"), contains=(r'session="<cookie \w>"; Path=/slashed/; HttpOnly$',)),
    case(
        "cookie_with_everything",
        get("/path/a"),
        ignore=LONG_COOKIE,
        contains=(r'set-cookie: session="[\w/+=]{32}"; Max-Age=100; Path=/path/a; SameSite=Lax; HttpOnly$',),
    ),
    case("path_below", get("/path/a/b"), get("/path/a?x"), ignore=LONG_COOKIE, contains=(r"set-cookie: session=",)),
    told("other_paths", get("/path"), get("/path/ab"), get("/slashed"), status=(200, 200, 200)),
]

ENVELOPES = [
    case(
        "envelope",
        get("/envelope", f"X-Inner: {{{{session:b}}}};UV:{INNER}"),
        get("/envelope", f"X-Inner: {{{{session:c}}}};x;;UV:{INNER};UV:xxxx"),
        answers_of={"b": (NAMED,), "c": (NAMED_TWICE,)},
        contains=(r"x-inner: inner", r"x-inner: <session b>;UV:b2YtdXBzdHJlYW0="),
    ),
    told("envelope_without_value", get("/envelope", "X-Inner: {{session:b}}")),
    told("envelope_of_garbage", get("/envelope", f"X-Inner: {NOWHERE};UV:!"), get("/envelope", "X-Inner: ;")),
    told("envelope_for_nobody", get("/envelope", f"X-Inner: {NOWHERE};UV:{INNER}"), status=200),
    told("no_envelope", get("/envelope"), status=200),
]


@pytest.mark.parametrize("case", [*HEADERS, *STRICT, *ROUTES, *COOKIES, *ENVELOPES], ids=case_id)
def test_sessions(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
