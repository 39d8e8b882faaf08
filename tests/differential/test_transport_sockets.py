"""Transport sockets around plain bytes: what upstreams hear first, and what is counted."""

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Reply, Step, case_id
from tests.differential.upstream import FIN, READ_END, Read
from tests.differential.wire import End

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 2000\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 2000\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
IPV4 = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + b"\x03\xe8\x07\xd0"
PING_PONG: tuple[Step, ...] = (b"ping", Expect(b"pong"), Do("fin"), Do("end"))


def v2(*tlvs: tuple[int, bytes], addresses: bytes = IPV4, family: int = 0x11, command: int = 0x21) -> bytes:
    """A header of version 2 as a client sends it."""
    body = addresses + b"".join([bytes((kind,)) + len(value).to_bytes(2, "big") + value for kind, value in tlvs])
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


def case(name: str, listener: str, sent: bytes, heard: bytes, **rest: object) -> Case:
    """A header from the client, one to the upstream, a ping and a pong."""
    rest.setdefault("raw", (Read(len(heard) + 4), b"pong", READ_END, FIN))
    steps = (sent, *PING_PONG)
    return Case(name, steps, config="transport_sockets", listener=listener, end=End.FIN, **rest)  # type: ignore[arg-type]


TLVS = ((0xE0, b"zero"), (0xE1, b"one"), (0xE2, b"two"), (0xE0, b"again"))
PROXY_PROTOCOL = [
    case("v1_of_v1", "v1", V1, V1, contains=(r"PROXY TCP4 192\.0\.2\.1 198\.51\.100\.2 1000 2000",)),
    case("v1_of_ipv6", "v1", V1_IPV6, V1_IPV6, contains=("PROXY TCP6 2001:db8::1",)),
    case("v1_of_v2", "v1", v2(*TLVS), V1, contains=("PROXY TCP4",)),
    case("v2_of_v1", "v2", V1, v2()),
    case("v2_of_ipv6", "v2", V1_IPV6, v2(addresses=bytes(36), family=0x21)),
    case("v2_without_tlvs", "v2", v2(*TLVS), v2()),
    case("v2_all_tlvs", "v2_all", v2(*TLVS), v2(*TLVS)),
    case("v2_no_tlvs_to_pass", "v2_all", v2(), v2()),
    case("v2_some_tlvs", "v2_some", v2(*TLVS), v2(TLVS[0], TLVS[2], TLVS[3])),
    case("v2_added", "v2_added", v2(*TLVS), v2((1, b"a"), (2, b"bc"), (3, b"d"), TLVS[1], TLVS[2])),
    case("v2_added_to_v1", "v2_added", V1, v2((1, b"a"), (2, b"bc"), (3, b"d"))),
    case("v2_of_the_host", "v2_host", v2(*TLVS), v2((1, b"host"), (2, b"host2"), (3, b"a"), TLVS[1], TLVS[2])),
    case("v2_empty_tlv", "v2_all", v2((0xE5, b"")), v2((0xE5, b""))),
    case(
        "v2_too_long",
        "v2_added",
        v2((0xE3, b"x" * 40000), (0xE4, b"y" * 25410), (0xE5, b"z" * 100)),
        v2((1, b"a"), (2, b"bc"), (3, b"d"), (0xE3, b"x" * 40000), (0xE4, b"y" * 25410)),
        raw=(Read(12), READ_END, FIN),
    ),
    case("tlvs_of_the_filter_are_not_added", "own_tlvs", v2(*TLVS), v2(*TLVS)),
    case("v2_format", "v2_format", V1, v2((0xF0, b"to 127.0.0.1 - - -"), (0xF1, b"x"))),
]
STATS = [
    case("stats_around_a_header", "stats_around", V1, V1, ignore=("tcp_stats",)),
    case("stats", "tcp_stats", b"", b"", ignore=("segments", "cx_rx_bytes_received")),
    case("downstream_stats", "downstream_stats", b"", b"", ignore=("segments", "cx_rx_bytes_received")),
]
CONNECT = b"CONNECT 192.0.2.7:4443 HTTP/1.1\r\nHost: 192.0.2.7:4443\r\n\r\n"
ANSWERS = {
    "accepted": b"HTTP/1.1 200 OK\r\n\r\n",
    "accepted_with_headers": b"HTTP/1.1 200 Connection established\r\nServer: x\r\nContent-Length: 0\r\n\r\n",
    "accepted_old": b"HTTP/1.0 200 OK\r\n\r\n",
}
REFUSALS = {
    "forbidden": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
    "other_success": b"HTTP/1.1 204 No Content\r\n\r\n",
    "too_long": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000,
}
TUNNELS = [
    case("no_proxy_asked_for", "http11", b"", b""),
    # Plain bytes need no tunnel: they go to the proxy.
    case("proxy_of_filter_state", "http11_state", b"", b""),
    Case(
        "text_that_names_no_proxy",
        (b"ping", Do("end")),
        "transport_sockets",
        "http11_no_state",
        end=End.CLOSED,
        log="UF",
    ),
    *[
        case(name, "http11_metadata", b"", b"", raw=(Read(len(CONNECT)), answer, Read(4), b"pong", READ_END, FIN))
        for name, answer in ANSWERS.items()
    ],
    *[
        Case(
            f"refused_{name}",
            (b"ping", Do("end")),
            config="transport_sockets",
            listener="http11_metadata",
            raw=(Read(len(CONNECT)), answer, READ_END),
            end=End.CLOSED,
            # Whether bytes count that wait for the tunnel.
            ignore=("^log ",),
        )
        for name, answer in REFUSALS.items()
    ],
]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"
FORWARDED = len(
    b"GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-proto: http\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n\r\n"
)
REQUESTS = [
    Case(
        f"{name}_{count}_requests",
        (header, *[GET, Reply()] * count),
        config="transport_sockets",
        listener=name,
        # Of requests that share a connection the second brings no header.
        raw=(Read(len(heard) + FORWARDED), OK, *(((Read(FORWARDED), OK)) * (count - 1)), FIN),
        status=(200,) * count,
    )
    for name, header, heard in (("http_v1", V1, V1), ("http_v2", v2(*TLVS), v2(*TLVS)))
    for count in (1, 2)
]


@pytest.mark.parametrize("case", [*PROXY_PROTOCOL, *STATS, *TUNNELS, *REQUESTS], ids=case_id)
def test_transport_sockets(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
