"""Clusters of type ORIGINAL_DST without redirection: destinations from headers, ports, or nowhere; hosts on demand."""

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
from tests.differential.upstream import FIN, OK, Hold, Read
from tests.differential.wire import End

TO_UP = b"127.0.0.1:{{upstream:up}}"
TO_SECOND = b"127.0.0.1:{{upstream:second}}"


def get(path: str, *fields: bytes) -> bytes:
    head = b"GET %s HTTP/1.1\r\nHost: a.test\r\n" % path.encode()
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def to(address: bytes, name: bytes = b"x-envoy-original-dst-host") -> bytes:
    return name + b": " + address


def case(name: str, *steps: Step, **rest: object) -> Case:
    return Case(name, steps, config="original_dst", **rest)  # type: ignore[arg-type]


DESTINATIONS = [
    case("header", *request(get("/header", to(TO_UP))), status=200, forwarded=1),
    case("header_of_another_name", *request(get("/named", to(TO_UP, b"x-goes-to"))), status=200, forwarded=1),
    case("the_default_header_is_not_looked_at", *request(get("/named", to(TO_UP))), status=503, log="UH"),
    case("first_of_two_headers", *request(get("/header", to(TO_UP), to(TO_SECOND))), contains=("^upstream up",)),
    case("two_hosts", *request(get("/header", to(TO_UP))), *request(get("/header", to(TO_SECOND))), forwarded=2),
    case("ipv6", *request(get("/header", to(b"[::1]:{{refused}}"))), status=503, log="UF", ignore=("connect_ms",)),
    case("port_override", *request(get("/port", to(b"127.0.0.1:9"))), status=200, forwarded=1),
    case("no_header", *request(get("/header")), status=503, log="UH"),
    case("not_asked_to_look", *request(get("/nothing", to(TO_UP))), status=503, log="UH"),
    case("tcp_without_destination", b"x", Do("end"), listener="tcp", end=End.CLOSED, log="UH"),
    case("refused", *request(get("/header", to(b"127.0.0.1:{{refused}}"))), status=503, log="UF"),
]

STATE = [
    case("request_state", *request(get("/", b"x-state: " + TO_UP)), listener="by_state", status=200, forwarded=1),
    case(
        "request_state_wins_over_the_header",
        *request(get("/", b"x-state: " + TO_UP, to(TO_SECOND))),
        listener="by_state",
        status=200,
        contains=("^upstream up",),
    ),
    case("bad_request_state", *request(get("/", b"x-state: x")), listener="by_state", status=503, log="UH"),
    case("no_request_state", *request(get("/", to(TO_UP))), listener="by_state", status=200, forwarded=1),
    case(
        "connection_state",
        b"ping",
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        listener="tcp_state",
        raw=(Read(4), b"pong", FIN),
        forwarded=1,
        ignore=("upstream_cx_destroy_(local|remote)",),
    ),
    case("bad_connection_state", b"x", Do("end"), listener="bad_state", end=End.CLOSED, log="UH"),
]

PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11"
PORT_DIGITS = 5
"""Of a port that the kernel chose."""


def proxied(destination: bytes = b"") -> bytes:
    """A PROXY header whose own kind of TLV names a destination."""
    size = len(destination.replace(b"{{upstream:up}}", b"0" * PORT_DIGITS))
    tlv = b"\xea" + size.to_bytes(2, "big") + destination if destination else b""
    length = 12 + (3 + size if destination else 0)
    addresses = b"\x7f\0\0\x01\x7f\0\0\x01\0\x07\0\x09"
    return PROXY_V2 + length.to_bytes(2, "big") + addresses + tlv


def by_metadata(name: str, destination: bytes, path: str = "/", *fields: bytes, **rest: object) -> Case:
    steps = (proxied(destination) + get(path, *fields), Reply())
    return case(name, *steps, listener="by_metadata", **rest)


METADATA = [
    by_metadata("metadata", TO_UP, status=200, forwarded=1),
    by_metadata("metadata_wins_over_the_header", TO_UP, "/", to(TO_SECOND), status=200, contains=("^upstream up",)),
    by_metadata("restored_address_instead_of_bad_metadata", b"nonsense", status=503, log="503 UF 127.0.0.1:9"),
    by_metadata("header_instead_of_bad_metadata", b"nonsense", "/", to(TO_SECOND), contains=("^upstream second",)),
    by_metadata("no_metadata", b"", "/", to(TO_SECOND), status=200, contains=("^upstream second",)),
    by_metadata("metadata_and_port", b"127.0.0.1:9", "/port", status=200, forwarded=1),
    by_metadata("metadata_is_no_structure", TO_UP, "/deep", status=503, log="503 UF 127.0.0.1:9"),
    case(
        "metadata_of_a_connection",
        proxied(TO_UP) + b"ping",
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        listener="tcp_metadata",
        raw=(Read(4), b"pong", FIN),
        forwarded=1,
        ignore=("upstream_cx_destroy_(local|remote)",),
    ),
]

BAD_VALUES = [
    b"",
    b"nonsense",
    b"127.0.0.1",
    b"127.0.0.1:",
    b"127.0.0.1:65536",
    b"127.0.0.1:99999999999999999999",
    b"127.0.0.1:-1",
    b"127.0.0.1:8a",
    b"256.0.0.1:80",
    b"127.1:80",
    b"::1:80",
    b"[::1]",
    b"[::1]:",
    b"[127.0.0.1]:80",
    b"localhost:80",
    b"a\xe9:80",
]

LIVES = [
    case(
        "unused_hosts_go",
        *request(get("/short", to(TO_UP))),
        StatIs("cluster.short_lived.membership_total", 0),
        *request(get("/short", to(TO_UP))),
        StatIs("cluster.short_lived.membership_total", 1),
        StatIs("cluster.short_lived.membership_total", 0),
        status=(200, 200),
        forwarded=2,
    ),
    case(
        "a_host_with_a_request_stays",
        get("/short", to(TO_UP)),
        StatIs("cluster.short_lived.membership_total", 1),
        Send(get("/short", to(TO_SECOND)).replace(b"GET", b"HEAD"), on=1),
        Reply(on=1, head_only=True),
        StatIs("cluster.short_lived.membership_total", 1),
        Do("close"),
        StatIs("cluster.short_lived.membership_total", 0),
        answers=((Hold(), *OK),),
    ),
    case(
        "circuit_breakers_hold_for_all_hosts_together",
        get("/narrow", to(TO_UP)),
        UpstreamSaw(),
        Send(get("/narrow", to(TO_SECOND)), on=1),
        Reply(on=1),
        Release(),
        Reply(),
        answers=((Hold(), *OK),),
        status=(503, 200),
    ),
]

ADMIN = [
    case(
        "hosts_show_in_clusters",
        *request(get("/clusters?filter=by_nothing")),
        listener="admin",
        status=200,
        stats="^none$",
    ),
]


@pytest.mark.parametrize("one", [*DESTINATIONS, *STATE, *METADATA, *LIVES, *ADMIN], ids=case_id)
def test_original_dst(one: Case, pairs: Pairs) -> None:
    pairs.check(one)


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_bad_destinations(value: bytes, pairs: Pairs) -> None:
    one = case("bad_destination", *request(get("/header", to(value))), status=503, log="UH")
    pairs.check(one)
