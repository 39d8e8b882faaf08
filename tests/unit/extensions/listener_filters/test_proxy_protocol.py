"""PROXY headers at every split: addresses, TLVs, what is refused and how it is counted (as Envoy 1.40 does)."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.extensions.listener_filters.accepted import LOCAL, Accepted, context, counters, splits
from tests.unit.headers_of_proxies import SIGNATURE, V1, V1_IPV6, ipv4, ipv6, tlv, v2

from proxeny.config.errors import ConfigError
from proxeny.extensions.listener_filters.proxy_protocol import FACTORY
from proxeny.network.proxy_protocol import PROXY_PROTOCOL_OPTIONS, ProxyProtocolData

NAMESPACE = "envoy.filters.listener.proxy_protocol"
RULES = [
    {"tlv_type": 1, "on_tlv_present": {"key": "alpn"}},
    {"tlv_type": 2, "on_tlv_present": {"metadata_namespace": "ns", "key": "host"}},
]
ADDRESSES = ("1.2.3.4:1111", "5.6.7.8:2222")
OWN = ("10.0.0.9:999", "127.0.0.1:80")


def inspect(*pieces: bytes, **fields: Any) -> tuple[Accepted, dict[str, int]]:
    made_in = context()
    message = ParseDict(fields, proxy_protocol_pb2.ProxyProtocol())
    accepted = Accepted(FACTORY.create_filter_factory(message, made_in).create()).accept().receive(pieces)
    return accepted, {name.removeprefix("proxy_proto."): count for name, count in counters(made_in).items()}


def addresses(accepted: Accepted) -> tuple[str, str]:
    info = accepted.connection_info
    return info.remote_address.as_string(), info.local_address.as_string()


def options(accepted: Accepted) -> ProxyProtocolData:
    found: ProxyProtocolData = accepted.stream_info.filter_state[PROXY_PROTOCOL_OPTIONS]
    return found


FOUND = {
    "v1": (V1, ADDRESSES),
    "v1 IPv6": (V1_IPV6, ("[2001:db8::1]:1111", "[2001:db8::2]:2222")),
    "v1 mapped": (
        b"PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 1111 2222\r\n",
        ("[::ffff:1.2.3.4]:1111", "[::ffff:5.6.7.8]:2222"),
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", OWN),
    "v1 unknown, long": (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", OWN),
    "v1 unknown, odd bytes": (b"PROXY UNKNOWN \xff\x00 x\r\n", OWN),
    "v1 blanks behind": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\t\x0b\x0c \r\n", ADDRESSES),
    "v1 two CR": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\r\n", ADDRESSES),
    "v1 zeros": (b"PROXY TCP4 1.2.3.4 5.6.7.8 00001111 2222\r\n", ADDRESSES),
    "v1 ports": (b"PROXY TCP4 1.2.3.4 5.6.7.8 65535 0\r\n", ("1.2.3.4:65535", "5.6.7.8:0")),
    "v1 reserved": (b"PROXY TCP4 240.0.0.1 5.6.7.8 1111 2222\r\n", ("240.0.0.1:1111", "5.6.7.8:2222")),
    "v1 scope": (b"PROXY TCP6 fe80::1%1 fe80::2%lo 1111 2222\r\n", ("[fe80::1%1]:1111", "[fe80::2%1]:2222")),
    "v2": (v2(ipv4()), ADDRESSES),
    "v2 datagram": (v2(ipv4(), family=0x12), ADDRESSES),
    "v2 IPv6": (v2(ipv6(), family=0x21), ("[2001:db8::1]:1111", "[2001:db8::2]:2222")),
    "v2 mapped": (
        v2(ipv6("::ffff:1.2.3.4", "::ffff:5.6.7.8"), family=0x21),
        ("[::ffff:1.2.3.4]:1111", "[::ffff:5.6.7.8]:2222"),
    ),
    "v2 ports": (v2(ipv4(ports=(0, 0))), ("1.2.3.4:0", "5.6.7.8:0")),
    "v2 TLVs": (v2(ipv4(), tlv(1, b"h2"), tlv(4, b""), tlv(5, b"\x00")), ADDRESSES),
    "v2 empty TLV at the end": (v2(ipv4(), tlv(1, b"")), ADDRESSES),
    "v2 local": (v2(b"", command=0x20, family=0), OWN),
    "v2 local with addresses": (v2(ipv4(), command=0x20), OWN),
    "v2 local of unix sockets": (v2(b"a" * 216, command=0x20, family=0x31), OWN),
    "v2 local with anything": (v2(b"x" * 300, command=0x20), OWN),
}


@pytest.mark.parametrize(("header", "expected"), FOUND.values(), ids=FOUND)
def test_found_at_every_split(header: bytes, expected: tuple[str, str]) -> None:
    version = "v1" if header.startswith(b"PROXY") else "v2"
    for pieces in splits(header + b"data"):
        accepted, counted = inspect(*pieces)
        assert accepted.passed
        assert addresses(accepted) == expected
        assert accepted.connection_info.direct_remote_address.as_string() == OWN[0]
        assert accepted.connection_info.local_address_restored == (expected != OWN)
        assert counted == {f"versions.{version}.found": 1}
        rest = b"".join(pieces)[len(header) :]
        assert accepted.there == rest[: len(accepted.there)]
        assert (options(accepted).source.as_string(), options(accepted).destination.as_string()) == expected
        assert options(accepted).tlvs == ()


def test_a_mapped_address_matches_as_ipv6() -> None:
    accepted, _ = inspect(FOUND["v2 mapped"][0])
    remote = accepted.connection_info.remote_address
    assert (remote.ip_version, len(remote.packed), remote.port) == (6, 16, 1111)


def test_the_same_local_address_is_not_restored() -> None:
    accepted, _ = inspect(f"PROXY TCP4 1.2.3.4 {LOCAL.ip} 1111 {LOCAL.port}\r\n".encode())
    assert addresses(accepted) == ("1.2.3.4:1111", "127.0.0.1:80")
    assert not accepted.connection_info.local_address_restored


REFUSED_V1 = [
    b"PROXY TCP 1.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY UDP4 1.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222 3\r\n",
    b"PROXY  TCP4  1.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\nGET / HTTP/1.1\r\n",
    b"PROXY \r\n",
    b"PROXY\r\n",
    b"PROX TCP4\r\n",
    b"hi\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\x00\r\n",
    b"PROXY TCP4 1.2.3.4\r 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 1.2.3 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 01.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 256.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 0x1.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 localhost 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 ::1 ::2 1111 2222\r\n",
    b"PROXY TCP6 1.2.3.4 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP6 [::1] [::2] 1111 2222\r\n",
    b"PROXY TCP6 fe80::1%nosuch fe80::2 1111 2222\r\n",
    b"PROXY TCP6 :: ::1 1111 2222\r\n",
    b"PROXY TCP6 ff02::1 ::1 1111 2222\r\n",
    b"PROXY TCP4 0.0.0.0 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 1.2.3.4 0.0.0.0 1111 2222\r\n",
    b"PROXY TCP4 255.255.255.255 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 224.0.0.1 5.6.7.8 1111 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1_0 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 0x50 2222\r\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 ٣ 2222\r\n".encode(),
    # Envoy takes these four.
    b"PROXY TCP4 1.2.3.4 5.6.7.8 +80 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 \t80 2222\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8\x00 1111 2222\r\n",
    b"PROXY TCP4 1.2.3.4\x00x 5.6.7.8 1111 2222\r\n",
    b"PROXY UNKNOWN " + b"f" * 93 + b"\r\n",
]
REFUSED_V2 = {
    "version 1": v2(ipv4(), command=0x11),
    "version 3": v2(ipv4(), command=0x31),
    "unknown command": v2(ipv4(), command=0x22),
    "unspecified family": v2(b"", family=0),
    "unix sockets": v2(b"a" * 216, family=0x31),
    "unknown family": v2(ipv4(), family=0x41),
    "unspecified transport": v2(ipv4(), family=0x10),
    "unknown transport": v2(ipv4(), family=0x13),
    "too short": v2(ipv4(), length=11),
    "IPv6 too short": v2(ipv6(), family=0x21, length=35),
    "wildcard": v2(ipv4("0.0.0.0")),
    "to the wildcard": v2(ipv4("1.1.1.1", "0.0.0.0")),
    "multicast": v2(ipv4("224.0.0.1")),
    "IPv6 wildcard": v2(ipv6("::"), family=0x21),
    "IPv6 multicast": v2(ipv6("2001:db8::1", "ff02::1"), family=0x21),
    "TLV without length": v2(ipv4(), b"\x01"),
    "TLV with half a length": v2(ipv4(), b"\x01\x00"),
    "TLV longer than the header": v2(ipv4(), b"\x01\x00\x05abc"),
    "TLV longer than any header": v2(ipv4(), b"\x01\xff\xffabc"),
    "second TLV too long": v2(ipv4(), tlv(1, b"zz"), b"\x02\x00\x05abc"),
}


@pytest.mark.parametrize("header", REFUSED_V1)
def test_refused_v1_at_every_split(header: bytes) -> None:
    for pieces in splits(header):
        accepted, counted = inspect(*pieces)
        assert accepted.closed
        assert addresses(accepted) == OWN
        assert counted == {"versions.v1.error": 1, "downstream_cx_proxy_proto_error": 1}


@pytest.mark.parametrize("header", REFUSED_V2.values(), ids=REFUSED_V2)
def test_refused_v2_at_every_split(header: bytes) -> None:
    for pieces in splits(header):
        accepted, counted = inspect(*pieces)
        assert accepted.closed
        assert addresses(accepted) == OWN
        assert counted == {"versions.v2.error": 1, "downstream_cx_proxy_proto_error": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b" PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n",
        b"PROXY\tTCP4 1.2.3.4 5.6.7.8 1111 2222\r\n",
        b"proxy TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n",
        b"PROXY UNKNOWN " + b"a" * 300,
        b"\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_no_header(data: bytes) -> None:
    accepted, counted = inspect(data)
    assert accepted.closed
    assert counted == {"not_found_disallowed": 1, "downstream_cx_proxy_proto_error": 1}


@pytest.mark.parametrize("data", [b"P", V1[:-2] + b"\n", SIGNATURE, v2(ipv4())[:-1], b"\r\n\r\n", b"hello", b"PROXY x"])
def test_waits_for_more(data: bytes) -> None:
    for pieces in splits(data):
        accepted, counted = inspect(*pieces)
        assert (accepted.passed, accepted.closed, counted) == (False, False, {})


@pytest.mark.parametrize("data", [b"G", b"hello\r\n", b"PX", b"\rX", SIGNATURE[:11] + b"x", b"PROXYx 1", b"\r\nGET"])
def test_optional_headers(data: bytes) -> None:
    for pieces in splits(data):
        accepted, counted = inspect(*pieces, allow_requests_without_proxy_protocol=True)
        assert accepted.passed
        assert addresses(accepted) == OWN
        assert counted == {"not_found_allowed": 1}
        assert accepted.there == data


def test_optional_headers_must_be_good() -> None:
    accepted, counted = inspect(REFUSED_V1[0], allow_requests_without_proxy_protocol=True)
    assert accepted.closed
    assert counted == {"versions.v1.error": 1, "downstream_cx_proxy_proto_error": 1}


@pytest.mark.parametrize(("version", "header"), [("v1", V1), ("v1", REFUSED_V1[0]), ("v2", v2(ipv4())[:16])])
def test_disallowed_versions(version: str, header: bytes) -> None:
    for pieces in splits(header):
        accepted, counted = inspect(*pieces, disallowed_versions=[version.upper()])
        assert accepted.closed
        assert counted == {f"versions.{version}.found": 1, f"versions.{version}.disallowed": 1}


@pytest.mark.parametrize(("version", "header"), [("V1", V1), ("V2", v2(ipv4()))])
def test_a_disallowed_version_is_data_where_headers_are_optional(version: str, header: bytes) -> None:
    accepted, counted = inspect(header, disallowed_versions=[version], allow_requests_without_proxy_protocol=True)
    assert accepted.passed
    assert addresses(accepted) == OWN
    assert counted == {"not_found_allowed": 1}
    assert accepted.there == header


def test_some_version_must_be_allowed() -> None:
    with pytest.raises(ConfigError, match="all proxy protocol versions are disallowed"):
        inspect(disallowed_versions=["V1", "V2"])


def test_stat_prefix() -> None:
    _, counted = inspect(V1, stat_prefix="edge")
    assert counted == {"edge.versions.v1.found": 1}


def test_tlvs_become_metadata() -> None:
    header = v2(ipv4(), tlv(2, "héé".encode()), tlv(1, b"\xff\xe2\x82\x00"), tlv(1, b"second"), tlv(9, b"x"))
    for pieces in splits(header):
        accepted, _ = inspect(*pieces, rules=RULES)
        assert accepted.stream_info.dynamic_metadata == {NAMESPACE: {"alpn": "!!!\x00"}, "ns": {"host": "héé"}}


def test_tlvs_become_filter_state() -> None:
    header = v2(ipv4(), tlv(2, b"b.test"), tlv(1, b"h2"), tlv(1, b"second"))
    accepted, _ = inspect(header, rules=RULES, tlv_location="FILTER_STATE")
    assert accepted.stream_info.filter_state["envoy.network.proxy_protocol.tlv"] == {"alpn": "second", "host": "b.test"}
    assert accepted.stream_info.dynamic_metadata == {}


def test_tlvs_of_local_headers_do_not_matter() -> None:
    accepted, _ = inspect(v2(ipv4(), tlv(1, b"h2"), b"junk", command=0x20), rules=RULES)
    assert accepted.passed
    assert accepted.stream_info.dynamic_metadata == {}


def test_tlvs_passed_on() -> None:
    header = v2(ipv4(), tlv(1, b"h2"), tlv(2, b"\xff"), tlv(0xEA, b"aws"))
    for passed, expected in (
        ({}, (b"h2", b"\xff", b"aws")),
        ({"match_type": "INCLUDE", "tlv_type": [2, 0xEA]}, (b"\xff", b"aws")),
        ({"match_type": "INCLUDE"}, ()),
    ):
        accepted, _ = inspect(header, pass_through_tlvs=passed)
        assert tuple(value for _, value in options(accepted).tlvs) == expected


@pytest.mark.parametrize("size", [65535 - 12 - 3, 65000, 600])
def test_long_tlvs(size: int) -> None:
    """The header is longer than the first read, and than 64 KB altogether."""
    header = v2(ipv4(), tlv(1, b"x" * size))
    for pieces in (
        [header + b"data"],
        [header[:16], header[16:]],
        [header[at : at + 999] for at in range(0, len(header), 999)],
    ):
        accepted, counted = inspect(*pieces, rules=RULES)
        assert accepted.passed
        assert accepted.stream_info.dynamic_metadata[NAMESPACE]["alpn"] == "x" * size
        assert counted == {"versions.v2.found": 1}
        assert accepted.there in (b"data", b"")


def test_a_tlv_of_64_kb_in_a_short_header() -> None:
    accepted, counted = inspect(v2(ipv4(), b"\x01\xff\xff") + b"x" * 70000, rules=RULES)
    assert accepted.closed
    assert counted == {"versions.v2.error": 1, "downstream_cx_proxy_proto_error": 1}


def test_many_tlvs() -> None:
    accepted, _ = inspect(v2(ipv4(), *[tlv(7, b"")] * 20000), pass_through_tlvs={})
    assert accepted.passed
    assert len(options(accepted).tlvs) == 20000
