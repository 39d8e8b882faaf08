"""Hash policies, ring-hash and Maglev clusters, cookies that Envoy makes, weighted clusters chosen by hash."""

from collections.abc import Sequence

import pytest
from tests.differential.harness import Case, Pairs, Release, Reply, Send, StatIs, Step, case_id, request
from tests.differential.upstream import Hold

ERROR = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",)
MOVED_STATS = (r"^stat \S+ cluster\.\w+\.internal\.",)


def get(path: str, *headers: str) -> tuple[Step, ...]:
    return request("\r\n".join([f"GET {path} HTTP/1.1", "Host: a.test", *headers, "", ""]).encode())


def keyed(path: str, keys: Sequence[str], header: str = "x-key") -> tuple[Step, ...]:
    """One request per key."""
    return tuple(step for key in keys for step in get(path, f"{header}: {key}"))


def case(name: str, steps: tuple[Step, ...], **more: object) -> Case:
    return Case(name, steps, config="hashing", **more)  # type: ignore[arg-type]


KEYS = [f"key-{number}" for number in range(16)]

TABLES = [
    *[
        case(name, keyed(f"/{name}", KEYS), status=(200,) * 16, forwarded=16)
        for name in (
            "ring",
            "ring_small",
            "ring_murmur",
            "ring_names",
            "maglev",
            "maglev_weighted",
            "maglev_extension",
            "spread",
        )
    ],
    case("policy_of_the_balancer", keyed("/ring_extension", KEYS, "x-lb"), forwarded=16),
    case("long_keys", keyed("/ring", ["k" * size for size in (7, 8, 31, 32, 33, 63, 64, 100, 300)]), forwarded=9),
    case("empty_key", keyed("/ring", [""] * 3), forwarded=3),
]

POLICIES = [
    case("several_values", get("/ring", "x-key: b", "x-key: a") + get("/ring", "x-key: a", "x-key: b")),
    case("joined_values", get("/ring", "x-key: a,b") + get("/ring", "x-key: a, b")),
    case("rewritten", keyed("/rewritten", ["user-1", "user-22", "user", "other-1"])),
    case("hostile_rewrite", keyed("/hostile", ["aab", "aa", "b", "aabaab"])),
    case("query", tuple(step for key in KEYS for step in get(f"/query?x=1&k={key}&k=other"))),
    case("query_encoded", get("/query?k=%6b") + get("/query?k=k") + get("/query?k=") + get("/query?k")),
    case("source_ip", tuple(step for n in range(8) for step in get("/ip", f"x-forwarded-for: 10.0.0.{n}, 1.2.3.4"))),
    case("source_ip_off", keyed("/no_ip", KEYS[:4])),
    case("filter_state", keyed("/state", KEYS[:6])),
    case(
        "combined",
        tuple(step for key in KEYS[:8] for step in get(f"/all?k={key}x", f"x-key: {key}", f"cookie: c={key}y")),
    ),
    case("same_policy_twice", keyed("/all", KEYS[:8])),
    case("terminal", get("/terminal", "x-first: 1", "x-key: 2") * 2 + get("/terminal", "x-key: 2")),
    *[
        case(f"cookie_{name}", get("/crumbs", f"cookie: {text}"))
        for name, text in (
            ("plain", "c=one"),
            ("quoted", 'c="one"'),
            ("among_others", "b=2; c=one; d=4"),
            ("first_of_two", "c=two; c=one"),
            ("without_blank", "b=1;c=one"),
            ("case", "C=x; c=three"),
            ("equals_in_value", "c=a=b=c"),
            ("blank_before_equals", "c =x; c=five"),
            ("without_equals", "c; c=six"),
        )
    ],
    case("cookie_in_second_header", get("/crumbs", "cookie: a=1", "cookie: c=late")),
]

VALUE = '"[0-9a-f]{16}"'


def cookie(name: str, path: str, shape: str, *headers: str, **more: object) -> Case:
    """The generated value depends on the client's port: only its shape is compared."""
    return case(
        name,
        get(path, *headers),
        contains=(shape,),
        ignore=(r"set-cookie: \w+=", "downstream_cx_tx", "upstream_cx_rx"),
        **more,
    )


COOKIES = [
    cookie("cookie_for_the_session", "/cookie/plain", rf"set-cookie: made={VALUE}; HttpOnly$"),
    cookie(
        "cookie_with_everything",
        "/cookie/all",
        rf"set-cookie: made={VALUE}; Max-Age=3661; Path=/deep; SameSite=Strict; Secure; HttpOnly$",
    ),
    cookie(
        "two_cookies",
        "/cookie/two",
        rf"first={VALUE}; Max-Age=1; HttpOnly\n.*second={VALUE}; Max-Age=10; Path=/x; HttpOnly$",
    ),
    cookie("one_cookie_is_there", "/cookie/two", r"set-cookie: second=", "cookie: first=1"),
    cookie("empty_cookie_is_none", "/cookie/plain", r"set-cookie: made=", "cookie: made="),
    cookie("cookie_of_the_balancer", "/cookie/lb", rf"set-cookie: lb={VALUE}; Max-Age=5; HttpOnly$"),
    cookie(
        "cookie_beside_the_upstreams",
        "/cookie/plain",
        "set-cookie: own=1",
        answers_of={"a": ((b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 0\r\n\r\n",),)},
    ),
    case("cookie_is_there", get("/cookie/plain", "cookie: made=x")),
    case(
        "cookie_after_a_retry",
        get("/cookie/retried"),
        answers_of={"a": (ERROR,)},
        ignore=(r"\w+=\"", "downstream_cx_tx"),
        contains=(r"set-cookie: made=",),
        status=200,
    ),
    cookie("cookie_of_a_refused_connection", "/cookie/refused", r"log 503", status=503),
    cookie("cookie_without_hosts", "/cookie/empty", r"log 503 UH", status=503),
    case("cookie_that_no_balancer_asks_for", get("/cookie/unused"), status=200),
]

BUSY = tuple(
    step
    for on in range(6)
    for step in (
        Send(b"GET /bounded HTTP/1.1\r\nHost: a.test\r\nx-key: key-7\r\n\r\n", on),
        StatIs("cluster.bounded.upstream_rq_active", on + 1),
    )
)
HELD = (Hold("hold"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

BOUNDED = [
    case(
        "bounded_load",
        (*BUSY, *[Release("hold", name) for name in "abc"], *[Reply(on) for on in range(6)]),
        answers_of={name: (HELD,) * 6 for name in "abc"},
        forwarded=6,
        ignore=(r"^client", r"^log", r"cx_"),
    ),
]

RETRIES = [
    case(
        "another_host_on_the_ring",
        get("/avoid", "x-key: key-1"),
        answers_of={"a": (ERROR,), "b": (ERROR,), "c": (ERROR,)},
        forwarded=3,
    ),
    case(
        "another_host_in_the_table",
        get("/avoid_maglev", "x-key: key-1"),
        answers_of={"a": (ERROR,), "b": (ERROR,), "c": (ERROR,)},
        forwarded=3,
    ),
]


@pytest.mark.parametrize("case", [*TABLES, *POLICIES, *COOKIES, *BOUNDED, *RETRIES], ids=case_id)
def test_hashing(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
