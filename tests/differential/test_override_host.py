"""The policy override_host: who is named, who is next, who serves those that name nobody."""

import struct

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, Step, case_id, request
from tests.differential.upstream import FIN, Answer, Read

ERROR: Answer = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
A, B, C, D = (f"127.0.0.1:{{{{upstream:{name}}}}}" for name in "abcd")


def head(path: str, *headers: str, cluster: str = "over_ring", key: str = "k1") -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a.test", f"x-cluster: {cluster}", f"x-key: {key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def get(path: str, *headers: str, cluster: str = "over_ring", key: str = "k1") -> tuple[Step, ...]:
    return request(head(path, *headers, cluster=cluster, key=key))


def case(name: str, *steps: tuple[Step, ...], **more: object) -> Case:
    flat = [step for one in steps for step in one]
    return Case(name, flat, config="override_host", **more)  # type: ignore[arg-type]


def proxied(text: str, rest: bytes, port_of: str = "a") -> bytes:
    """A PROXY header of version 2 with one TLV; a port has five digits where its mark has more."""
    size = len(text) - (len(f"{{{{upstream:{port_of}}}}}") - 5) * text.count("{{")
    body = b"\x7f\x00\x00\x01\x7f\x00\x00\x02" + struct.pack("!HH", 1000, 2000) + struct.pack("!BH", 0xE1, size)
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(body) + size) + body + text.encode() + rest


HTTP = [
    case("each_host", *[get("/", f"x-host: {host}") for host in (A, B, C, D)], forwarded=4),
    case("nobody_named", *[get("/", key=f"k{number}") for number in range(8)], forwarded=8),
    case("unknown_host", get("/", "x-host: 192.0.2.1:9"), get("/", "x-host: nonsense"), get("/", "x-host: ,")),
    case("first_of_a_list_that_is_known", get("/", f"x-host: 192.0.2.1:9, x,\t{B} , {A}"), status=200),
    case("first_header_of_two", get("/", f"x-host: {B}", f"x-host: {A}"), status=200),
    case("sources_in_their_order", get("/", f"x-other-host: {A}", f"x-host: {B}"), get("/", f"x-other-host: {D}")),
    case("sources_together", get("/", f"x-other-host: {D}", "x-host: 192.0.2.1:9"), status=200),
    case(
        "every_attempt_takes_another",
        get("/retried", f"x-host: {C},{D},{B}"),
        answers_of={name: (ERROR,) for name in "cd"},
        status=200,
        forwarded=3,
    ),
    case(
        "attempts_beyond_the_list",
        get("/retried", f"x-host: {D}"),
        answers_of={"d": (ERROR,), "a": (ERROR,), "b": (ERROR,)},
    ),
    case("named_within_subsets", get("/prod", f"x-host: {B}", cluster="over_subset"), status=200),
    case("subset_below", get("/prod", cluster="over_subset"), get("/", cluster="over_subset"), status=(200, 503)),
    case("without_hosts", get("/", f"x-host: {A}", cluster="empty"), status=503),
    case(
        "metadata_of_the_connection",
        (proxied(B, head("/")), Reply(), head("/", f"x-host: {D}"), Reply()),
        status=(200, 200),
    ),
]

TCP = [
    Case(
        f"tcp_{name}",
        (proxied(text, b"x", port), Do("end")),
        config="override_host",
        listener="tcp",
        raw=(Read(1), b"y", FIN),
        forwarded=1,
    )
    for name, text, port in (("named", D, "d"), ("list", f"192.0.2.1:9,{B}", "b"), ("unknown", "nobody", "a"))
]


@pytest.mark.parametrize("case", [*HTTP, *TCP], ids=case_id)
def test_override_host(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
