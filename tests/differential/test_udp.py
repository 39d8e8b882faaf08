"""UDP listeners, udp_proxy and dns_filter against Envoy's: datagrams, sessions, answers, statistics, access logs."""

import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.differential.datagrams import (
    Answer,
    Datagram,
    DatagramCase,
    DatagramPairs,
    Moved,
    Respond,
    Saw,
    Step,
    Unasked,
)
from tests.differential.proxies import ENVOY, PROXENY, Proxy
from tests.unit.extensions.udp_filters.dns import query, read, wire_name

LONG_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "foo.com"])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatagramPairs]:
    started = DatagramPairs(Path(tmp_path_factory.mktemp("datagrams")))
    yield started
    started.close()


def case_id(case: DatagramCase) -> str:
    return case.name


def proxied(name: str, *steps: Step, **rest: object) -> DatagramCase:
    return DatagramCase(name, steps, **rest)  # type: ignore[arg-type]


SESSION_ENDS = Moved("udp.LISTENER.idle_timeout")
"""Before the next case looks at the statistics."""

UDP_PROXY = [
    proxied("there_and_back", b"hello", SESSION_ENDS, logged=1, contains=(r"< 're:hello' from", r"UdpSessionEnd")),
    proxied("nothing_in_it", b"", b"", SESSION_ENDS, logged=1, contains=(r"> '' from",)),
    proxied("any_bytes", bytes(range(256)), SESSION_ENDS, logged=1),
    proxied("a_session_stays", b"one", b"two", b"three", SESSION_ENDS, logged=1, contains=(r"> 'three'.*session 0",)),
    proxied(
        "a_session_each",
        Datagram(b"one"),
        Answer(),
        Datagram(b"two", on=1),
        Answer(1),
        Datagram(b"three"),
        Answer(),
        Moved("udp.LISTENER.idle_timeout", 2),
        logged=2,
        ignore=("^log",),
        contains=(r"> 'two'.*session 1", r"> 'three'.*session 0"),
    ),
    proxied(
        "an_address_each",
        b"one",
        Datagram(b"two", address="+1"),
        Answer(),
        Moved("udp.LISTENER.idle_timeout", 2),
        logged=2,
        ignore=("^log",),
        contains=(r"< 're:two' from 127.0.0.3:<main\+1>",),
    ),
    proxied(
        "two_answers_and_one_unasked",
        Datagram(b"x"),
        Answer(),
        Answer(),
        Unasked(b"extra"),
        Answer(),
        SESSION_ENDS,
        respond=lambda data: (b"1", b"2"),
        logged=1,
        contains=(r"< 'extra'",),
    ),
    proxied("longest", b"x" * 1497, Datagram(b"x" * 1500), Saw(2), SESSION_ENDS, logged=1),
    proxied(
        "too_long",
        Datagram(b"x" * 1501),
        Datagram(b"x" * 20000),
        b"after",
        Moved("listener.127.0.0.1_0.udp.downstream_rx_datagram_dropped", 2),
        SESSION_ENDS,
        logged=1,
        contains=(r"stat \+2 listener\S+udp.downstream_rx_datagram_dropped",),
    ),
    proxied(
        "answers_as_long_as_they_like",
        Datagram(b"x"),
        Answer(),
        SESSION_ENDS,
        respond=lambda data: (b"y" * 20000,),
        logged=1,
        contains=(r"20000 bytes",),
    ),
    proxied("long_by_configuration", b"x" * 8000, Datagram(b"x" * 9001), b"after", listener="long"),
    proxied(
        "no_limit_with_coalescing",
        b"x" * 100,
        b"x" * 1601,
        b"x" * 60000,
        listener="coalesced",
        contains=(r"> 60000 bytes",),
    ),
    proxied(
        "long_answers_are_dropped",
        Datagram(b"x"),
        Moved("cluster.up.udp.sess_rx_datagrams_dropped"),
        Unasked(b"y" * 100),
        Answer(),
        listener="small",
        respond=lambda data: (b"y" * 101,),
    ),
    proxied(
        "wildcard",
        Datagram(b"a", to="127.0.0.5"),
        Answer(),
        Datagram(b"b", to="127.0.0.6"),
        Answer(),
        listener="any",
        contains=(r"< 're:a' from 127.0.0.5", r"< 're:b' from 127.0.0.6", r"session 1"),
    ),
    proxied("wildcard_six", Datagram(b"a", to="::1"), Answer(), SESSION_ENDS, listener="any6", logged=1,
            contains=(r"from ::1",)),
    proxied("wildcard_six_over_four", Datagram(b"a", to="127.0.0.7"), Answer(), SESSION_ENDS, listener="any6",
            logged=1),
    proxied(
        "circuit_breaker",
        b"one",
        Datagram(b"two", on=1),
        Moved("cluster.limited.upstream_cx_overflow"),
        Datagram(b"three", on=2),
        Moved("cluster.limited.upstream_cx_overflow", 2),
        b"four",
        SESSION_ENDS,
        Datagram(b"five", on=1),
        Answer(1),
        Moved("udp.LISTENER.idle_timeout", 2),
        listener="limited",
        logged=4,
        contains=(r" UO ",),
    ),
    proxied(
        "routed",
        Datagram(b"a", to="127.0.0.5"),
        Answer(),
        Datagram(b"b", to="127.0.1.5"),
        Answer(),
        Datagram(b"c", to="127.0.0.6"),
        Moved("udp.LISTENER.downstream_sess_no_route"),
        Datagram(b"d", to="127.0.0.7"),
        Moved("udp.LISTENER.downstream_sess_no_route", 2),
        Datagram(b"e", to="127.0.0.5"),
        Answer(),
        listener="routed",
        contains=(r"upstream other > 'a'", r"upstream up > 'b'"),
    ),
    proxied("no_host", Datagram(b"x"), Moved("cluster.empty.upstream_cx_none_healthy"), listener="empty"),
    proxied("no_cluster", Datagram(b"x"), Moved("udp.LISTENER.downstream_sess_no_route"), listener="unknown"),
    proxied(
        "nobody_listens",
        Datagram(b"x"),
        Moved("cluster.nobody.udp.sess_rx_errors"),
        Datagram(b"y"),
        Moved("cluster.nobody.udp.sess_rx_errors", 2),
        listener="nobody",
    ),
    proxied("upstream_bind_config", b"x", listener="bound", contains=(r"> 'x' from 127.0.0.9",)),
    proxied(
        "per_packet",
        b"a",
        b"b",
        b"c",
        b"d",
        listener="per_packet",
        # Round robin begins anywhere.
        ignore=("^upstream",),
        contains=(r"stat \+2 udp.per_packet.downstream_sess_total", r"^upstream up > .*", r"^upstream other > .*"),
    ),
    proxied(
        "periodic_log",
        b"x",
        SESSION_ENDS,
        listener="periodic",
        logged=3,
        contains=(r"log UdpPeriodic 1 4 127.0.0.1:<up>", r"log UdpSessionEnd 1 4 127.0.0.1:<up>"),
    ),
    proxied("the_first_filter_keeps_it", Datagram(b"x"), Moved("udp.two_filters.downstream_sess_no_route"),
            listener="two_filters"),
]  # fmt: skip


@pytest.mark.parametrize("case", UDP_PROXY, ids=case_id)
def test_udp_proxy(pairs: DatagramPairs, case: DatagramCase) -> None:
    pairs.check(case)


def reply_text(data: bytes) -> str:
    """A DNS response with its records sorted: their order is random on both sides."""
    reply = read(data)
    sections = [sorted(reply.answers), sorted(reply.additional)]
    return f"dns {reply.id} {reply.flags:#06x} {reply.questions} {sections}"


def reply_sizes(data: bytes) -> str:
    """Where it is also random which records are sent."""
    reply = read(data)
    return f"dns {reply.flags:#06x} {reply.questions} {len(reply.answers)} answers, {len(data)} bytes"


def asked(name: str, *queries: bytes, listener: str = "names", **rest: object) -> DatagramCase:
    rest.setdefault("show", reply_text)
    return DatagramCase(name, queries, listener=listener, logged=len(queries), **rest)  # type: ignore[arg-type]


def name_server(data: bytes) -> Sequence[bytes]:
    """Another name server: `ok...` has two addresses, `four...` one of IPv4 only, anything else does not exist."""
    end = data.index(b"\0", 12) + 1
    name, record_type = data[12:end].lower(), struct.unpack_from("!H", data, end)[0]
    found = []
    if name.startswith((b"\2ok", b"\4four")) and record_type == 1:
        found = [bytes([9, 9, 9, 1])] + ([bytes([9, 9, 9, 2])] if name.startswith(b"\2ok") else [])
    elif name.startswith(b"\2ok"):
        found = [bytes(15) + b"\1"]
    head = data[:2] + struct.pack("!5H", 0x8180 if found or name[:5] == b"\4four" else 0x8183, 1, len(found), 0, 0)
    records = [b"\xc0\x0c" + struct.pack("!HHIH", record_type, 1, 99, len(value)) + value for value in found]
    return (head + data[12 : end + 4] + b"".join(records),)


DNS_FILTER = [
    asked("addresses", query(), query(record_type=28), query("one.foo.com"), query("single"), query("dup.foo.com")),
    asked(
        "wildcards",
        *[query(name) for name in ("x.wild.com", "a.b.wild.com", "wild.com", "x.sub.deep.wild2.com", "deep.wild2.com")],
        *[query(name) for name in ("sub.deep.wild2.com", "x.com", "x.y.com", "x.single", "WWW.foo.com", "WWW.FOO.COM")],
    ),
    asked("absent", query("nothere.foo.com"), query("bar.org"), query("foo.com"), query("one.foo.com", 28)),
    asked("clusters", query("cl.foo.com"), query("gone.foo.com"), query("fixed"), query("fixed", 28), query("unknown")),
    asked(
        "services",
        *[query(f"_{name}.foo.com", 33) for name in ("web._tcp", "clu._udp", "ported._tcp", "odd._99", "nothing._tcp")],
        query("one.foo.com", 33),
        query("_web._tcp.foo.com"),
    ),
    asked("other_types", *[query(record_type=number) for number in (0, 2, 5, 15, 16, 255, 65535)]),
    asked("flags", *[query(flags=flags) for flags in (0, 0x0100, 0x1000, 0x7FFF, 0x0010)], query(id=0)),
    asked(
        "no_queries",
        *[query(flags=0x8000), query(counts=(0, 0, 0, 0)), query(counts=(2, 0, 0, 0)), query(counts=(1, 1, 0, 0))],
        *[query(counts=(1, 0, 1, 0)), query(record_class=3), query(record_class=0), query(record_class=255)],
    ),
    asked("edns", query(counts=(1, 0, 0, 1), tail=b"\0\0\x29\x10\0\0\0\0\0\0\0"), query(counts=(1, 0, 0, 1))),
    asked("more_behind_it", query(tail=b"junk"), query(tail=b"z" * 1400)),
    asked("cut_short", *[query()[:size] for size in (0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 20, 25, 26, 28)]),
    asked(
        "bad_names",
        *[query(raw) for raw in (b"\0", b"\xc0\x0c", b"\xc0\x20", b"\3www\xc0\x0c", b"\x40" + b"a" * 64 + b"\0")],
        *[query(raw) for raw in (b"\x80a\0", b"\xbfa\0", b"\3www\3foo", b"\xc0")],
        struct.pack("!6H", 0x0161, 0, 1, 0, 0, 0) + b"\3www\xc0\0\0\1\0\1",
    ),
    asked(
        "strange_labels",
        *[query(b"\4" + label + b"\3foo\3com\0") for label in (b"a.bc", b"a\0bc", b"a\xffbc", b"a bc", b"a\\bc")],
        *[query(b"\4" + label + b"\3foo\3com\0") for label in (b'a"bc', b"a$bc", b"(a)@", b"a;\nb", b"\x7f\x1f\r\t")],
    ),
    asked(
        "long_names",
        *[query(".".join(["a" * size for size in sizes])) for sizes in ((63, 63, 63, 60), (63, 63, 63, 62))],
        *[query(".".join(["a" * size for size in sizes])) for sizes in ((63, 63, 63, 62, 1), (63, 63, 63, 63, 63))],
        query(".".join("a" * 127)),
        query(".".join("a" * 129)),
    ),
    asked("most_answers", query("many.foo.com"), show=reply_sizes),
    asked("what_fits", query(LONG_NAME)),
]


@pytest.mark.parametrize("case", DNS_FILTER, ids=case_id)
def test_dns_filter(pairs: DatagramPairs, case: DatagramCase) -> None:
    pairs.check(case)


def external(name: str, *queries: bytes, respond: Respond = name_server) -> DatagramCase:
    return asked(name, *queries, listener="asking", respond=respond)


DNS_ELSEWHERE = [
    external("found", query("ok.ext.org"), query("ok.ext.org", 28), query("four.ext.org")),
    external("not_found", query("nx.ext.org"), query("four.ext.org", 28)),
    external("known_here", query(), query("dup.foo.com", 28), query("cl.foo.com")),
    external("known_domain_but_not_the_name", query("ok.foo.com"), query("nothere.foo.com")),
    external("a_cluster_of_no_known_domain", query("fixed")),
    external("types_that_are_not_asked_for", query("ok.ext.org", 15), query("ok.ext.org", 33), query(record_type=33)),
    external("no_names", query("10.1.2.3"), query("localhost")),
    external("invalid", b"xx", query(b"\xc0\x0c")),
    external("answers_that_are_none", query("ok2.ext.org"), respond=lambda data: (wire_name("x"), *name_server(data))),
]


@pytest.mark.parametrize("case", DNS_ELSEWHERE, ids=case_id)
def test_dns_filter_asks_elsewhere(pairs: DatagramPairs, case: DatagramCase) -> None:
    pairs.check(case)


PROXY_LOG = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}
    listener_filters:
    - name: envoy.filters.udp_listener.udp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
        stat_prefix: main
        cluster: up
        proxy_access_log:
        - name: envoy.access_loggers.file
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
            path: "{{log:main}}"
            log_format: {text_format_source: {inline_string: "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %BYTES_RECEIVED% %BYTES_SENT% %ACCESS_LOG_TYPE% %RESPONSE_FLAGS% %PROTOCOL% %DYNAMIC_METADATA(udp.proxy.proxy)% %DYNAMIC_METADATA(udp.proxy.proxy:session_total)%\\n"}}
  clusters:
  - name: up
    load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: "{{datagrams:up}}"}}}}]}]}
"""  # noqa: E501 - a format is a line


def proxy_log(kind: str, folder: Path) -> str:
    """What a proxy writes about itself when it ends."""
    proxy = Proxy(kind, PROXY_LOG, folder)
    try:
        for text in (b"one", b"two"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(20)
                for _ in range(3):
                    client.sendto(text, proxy.listeners["main"])
                    assert client.recv(100) == b"re:" + text
    finally:
        proxy.close()
    return proxy.log_path("main").read_text()


def test_the_proxys_own_log(tmp_path: Path) -> None:
    envoy, proxeny = (proxy_log(kind, tmp_path / kind) for kind in (ENVOY, PROXENY))
    assert '"session_total":2' in envoy
    assert proxeny == envoy
