"""Subsets: which hosts serve requests that ask for metadata, by selector, fallback, health and locality; counters."""

import struct

import pytest
from tests.differential.harness import Case, Do, Pairs, Send, Step, case_id, request
from tests.differential.upstream import FIN, Answer, Read

ERROR: Answer = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

PLAIN = ("nothing", "void", "stage", "stage_dev", "stage_gone", "version", "version_gone", "both", "both_gone")
TYPES = ("type", "type_gone", "type_nowhere", "three", "three_gone", "only_type", "only_big", "extra", "extra_version")
VALUES = ("true", "false", "one", "one_text", "seven", "nested", "nested_other")
LISTS = ("list", "from_list", "list_combination", "empty_list")
OTHERS = ("first", "second", "override", "none_of_them", "no_others", "text", "texts", "back")
CLUSTERS = ("none", "any", "default", "panic", "selectors", "chain", "lists", "redundant", "extension", "single")
SICK = ("sick", "sick_single", "sick_without_panic")
LOCALITIES = ("unaware", "aware", "scaled")


def get(path: str, cluster: str, key: str) -> tuple[Step, ...]:
    return request(f"GET /{path} HTTP/1.1\r\nHost: a.test\r\nx-cluster: {cluster}\r\nx-key: {key}\r\n\r\n".encode())


def case(name: str, *steps: tuple[Step, ...], **more: object) -> Case:
    return Case(name, [step for one in steps for step in one], config="subsets", **more)  # type: ignore[arg-type]


def each(cluster: str, group: str, paths: tuple[str, ...], keys: tuple[str, ...] = ("k1", "k2", "k3")) -> Case:
    return case(f"{cluster}-{group}", *[get(path, cluster, key) for path in paths for key in keys])


HTTP = [
    *[each(cluster, "plain", PLAIN) for cluster in CLUSTERS],
    *[each(cluster, "types", TYPES) for cluster in CLUSTERS],
    *[each(cluster, "values", (*VALUES, *LISTS), ("k1",)) for cluster in CLUSTERS],
    *[each(cluster, "others", (*PLAIN, *OTHERS), ("k1", "k2")) for cluster in ("alternatives", "alternatives_any")],
    each("none", "others", OTHERS),
    *[
        each(cluster, "health", ("nothing", "stage", "stage_dev", "stage_gone", "version"), tuple("abcdefgh"))
        for cluster in SICK
    ],
    *[
        each(cluster, "localities", ("nothing", "stage", "stage_dev"), tuple(f"key-{n}" for n in range(20)))
        for cluster in LOCALITIES
    ],
    case(
        "weighted_clusters",
        *[get(f"weighted{name}", "", key) for name in ("", "_replaces", "_alone", "_plain") for key in ("k1", "k2")],
    ),
    case("retries_stay_within_the_subset", get("retried", "", "k1"), answers_of={name: (ERROR,) for name in "abc"}),
]


def proxied(*tlvs: tuple[int, str]) -> bytes:
    """A PROXY header of version 2 with TLVs, and a byte behind it."""
    body = b"\x7f\x00\x00\x01\x7f\x00\x00\x02" + struct.pack("!HH", 1000, 2000)
    for kind, text in tlvs:
        body += struct.pack("!BH", kind, len(text)) + text.encode()
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(body)) + body + b"x"


def tcp(name: str, listener: str, *tlvs: tuple[int, str], refused: bool = False) -> Case:
    steps = (Send(proxied(*tlvs)), Do("end"))
    program = (Read(1), b"y", FIN)
    return Case(name, steps, config="subsets", listener=listener, raw=program, forwarded=None if refused else 1)


STAGE, VERSION = 0xE1, 0xE2

TCP = [
    tcp("tcp", "tcp"),
    tcp("tcp_metadata_of_the_connection", "tcp", (VERSION, "1.0")),
    tcp("tcp_metadata_that_nobody_has", "tcp", (VERSION, "9"), refused=True),
    tcp("tcp_metadata_alone", "tcp_plain", (STAGE, "prod"), (VERSION, "1.0")),
    tcp("tcp_without_metadata", "tcp_plain", refused=True),
    tcp("tcp_weighted", "tcp_weighted"),
    tcp("tcp_weighted_and_of_the_connection", "tcp_weighted", (VERSION, "1.1")),
]


@pytest.mark.parametrize("case", [*HTTP, *TCP], ids=case_id)
def test_subsets(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
