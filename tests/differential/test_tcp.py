"""tcp_proxy and the small network filters: bytes through, half closes, refusals, limits, logs."""

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Send, Step, UpstreamSaw, case_id
from tests.differential.upstream import FIN, READ_END, RST, Read
from tests.differential.wire import End

BULK = bytes(range(256)) * 2048


def tcp(name: str, *steps: Step, listener: str = "main", **rest: object) -> Case:
    return Case(name, steps, config="tcp", listener=listener, **rest)  # type: ignore[arg-type]


PROXIED = [
    tcp("ping_pong", b"ping", Expect(b"pong"), raw=(Read(4), b"pong"), forwarded=1, contains=(r"client 0 < 'pong'",)),
    tcp("upstream_speaks_first", b"", Expect(b"220 hi\r\n"), raw=(b"220 hi\r\n",), forwarded=1, contains=(r"220 hi",)),
    tcp(
        "three_turns",
        b"a",
        Expect(b"b"),
        b"c",
        Expect(b"d"),
        b"e",
        Expect(b"f"),
        raw=(Read(1), b"b", Read(1), b"d", Read(1), b"f"),
        forwarded=1,
    ),
    tcp(
        "client_half_closes",
        b"question",
        Do("fin"),
        Do("end"),
        raw=(READ_END, b"answer", FIN),
        contains=(r"client 0 < 'answer'",),
        end=End.FIN,
    ),
    tcp(
        "upstream_half_closes",
        b"x",
        Do("end"),
        b"more",
        Do("fin"),
        raw=(Read(1), b"bye", FIN),
        contains=(r"> 'xmore' then fin",),
        end=End.FIN,
        ignore=("upstream_flush",),
    ),
    tcp("upstream_resets", b"x", Do("end"), raw=(Read(1), RST), end=End.CLOSED),
    tcp("upstream_closes_at_once", b"", Do("end"), raw=(FIN,), end=End.CLOSED),
    tcp("client_resets", b"x", Expect(b"y"), Do("rst"), raw=(Read(1), b"y"), forwarded=1),
    tcp("client_connects_and_leaves", b"", UpstreamSaw(), Do("fin"), Do("end"), raw=(), forwarded=1),
    tcp("bulk_down", b"go", Expect(BULK), raw=(Read(2), BULK), ignore=("flow_control",), contains=(r"524288 bytes",)),
    tcp("bulk_up", BULK, Expect(b"ok"), raw=(Read(len(BULK)), b"ok"), ignore=("flow_control",)),
    tcp(
        "bulk_then_fin",
        b"go",
        Do("end"),
        raw=(Read(2), BULK, FIN),
        ignore=("flow_control",),
        contains=(r"524288 bytes",),
        end=End.FIN,
    ),
    tcp("high_bytes", b"\x00\xff\r\n\x00", Expect(b"\xff\x00"), raw=(Read(5), b"\xff\x00"), forwarded=1),
    tcp("two_clients", b"a", Expect(b"1"), Send(b"b", on=1), Expect(b"1", on=1), raw=(Read(1), b"1"), forwarded=2),
]

ENDS = [
    tcp(
        "refused",
        b"x",
        Do("end"),
        listener="refused",
        end=End.CLOSED,
        forwarded=0,
        log="UF",
        exact=r"upstream_cx_connect_",
    ),
    tcp("connect_timeout", b"x", Do("end"), listener="silent", end=End.CLOSED, forwarded=0, log="UF"),
    tcp("unknown_cluster", b"x", Do("end"), listener="unknown", end=End.CLOSED, forwarded=0, log="NC"),
    tcp("weighted", b"a", Expect(b"2"), listener="weighted", raw=(Read(1), b"2"), contains=(r"^upstream second",)),
    tcp("idle_timeout", b"a", Expect(b"b"), Do("end"), listener="idle", raw=(Read(1), b"b"), end=End.CLOSED),
    tcp("idle_timeout_silent", b"", Do("end"), listener="idle", raw=(), end=End.CLOSED),
    tcp("max_duration", b"a", Expect(b"b"), Do("end"), listener="duration", raw=(Read(1), b"b"), end=End.CLOSED),
    tcp(
        "connections_overflow",
        b"a",
        Expect(b"b"),
        Send(b"a", on=1),
        Do("end", on=1),
        Do("fin"),
        Do("end"),
        listener="narrow",
        raw=(Read(1), b"b"),
        log="UO",
    ),
    tcp("default_log", b"ping", Do("end"), Do("fin"), listener="default_log", raw=(Read(4), b"pong", FIN)),
]

SMALL = [
    tcp("echo", b"hello", Expect(b"hello"), listener="echo", contains=(r"client 0 < 'hello'",)),
    tcp("echo_half_close", b"hello", Expect(b"hello"), Do("fin"), Do("end"), listener="echo", end=End.CLOSED),
    tcp("echo_bulk", BULK, Expect(BULK), listener="echo"),
    tcp("direct_response", b"", Do("end"), listener="greeting", contains=(r"client 0 < 'hello\\n'",), end=End.CLOSED),
]


@pytest.mark.parametrize("case", [*PROXIED, *ENDS, *SMALL], ids=case_id)
def test_tcp(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
