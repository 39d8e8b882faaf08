"""The parsers of listener filters against every split of the bytes, against damaged bytes and plain references.

Nothing may raise, read beyond its bytes (the ClientHello's parser is C) or depend on how the bytes came; what is found
must be what a reference, written for reading, finds in the whole.
"""

from __future__ import annotations

import random
import re
import socket
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.extensions.listener_filters.accepted import Accepted, context
from tests.unit.headers_of_proxies import V1, V1_IPV6, ipv4, ipv6, tlv, v2
from tests.unit.hellos import (
    EMPTY,
    WARNING,
    alpn,
    extension,
    handshake,
    hello,
    hello_body,
    real_hello,
    record,
    server_name,
    short,
    v2_hello,
)

from proxeny.extensions.listener_filters import http_inspector, proxy_protocol, tls_inspector
from proxeny.kernel.client_hello import FOUND, NOT_TLS, ClientHelloParser

MESSAGE = handshake(hello_body(server_name(b"A.test"), alpn(b"h2", b"http/1.1"), extension(43, short(b"\x03\x04"))))
HELLOS = [
    real_hello(),
    real_hello(None, ()),
    hello(
        server_name(b"A.test"), alpn(b"h2", b"http/1.1"), extension(10, b"\x00\x02\x00\x1d"), extension(13, b"\x00\x02")
    ),
    record(MESSAGE[:9]) + WARNING + EMPTY + record(MESSAGE[9:40]) + record(MESSAGE[40:]) + b"more",
    v2_hello(b"\x00\x00\x05\x00\xc0\x13"),
]
LINES = [
    b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n",
    b"CONNECT a.test:80 HTTP/1.0\r\n",
    b"X-Y http://u@a.test:80/p?q \t HTTP/1.1 \r\n",
    b"OPTIONS *\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
HEADERS = [
    V1 + b"data",
    V1_IPV6,
    b"PROXY UNKNOWN what ever\r\ndata",
    v2(ipv4(), tlv(1, b"h2"), tlv(2, b"a.test"), tlv(4, b"")) + b"data",
    v2(ipv6(), tlv(3, b"\xff\x00"), family=0x21),
    v2(b"anything", command=0x20) + b"data",
]

Maker = Callable[[], Accepted]


def damaged(bases: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A base with some bytes changed, added or taken away, seldom cut."""

    def damage(base: bytes, seed: int) -> bytes:
        chance = random.Random(seed)
        data = bytearray(base)
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            at = chance.randrange(min(len(data), chance.choice((6, 50, len(data)))))
            value = chance.choice((0, 1, 2, 0x0A, 0x0D, 0x20, 0xFF, data[at] ^ 1 << chance.randrange(8)))
            data[at : at + chance.randrange(2)] = bytes([value])
        return bytes(data[: chance.randrange(1, len(data) + 1)] if chance.random() < 0.2 else data)

    return st.builds(damage, st.sampled_from(bases), st.integers(0, 2**32))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def inspector(module: Any, message: Any) -> Maker:
    factory = module.FACTORY.create_filter_factory(message, context())
    return lambda: Accepted(factory.create()).accept()


TLS = inspector(
    tls_inspector,
    tls_inspector_pb2.TlsInspector(
        enable_ja3_fingerprinting={"value": True}, enable_ja4_fingerprinting={"value": True}
    ),
)
HTTP = inspector(http_inspector, http_inspector_pb2.HttpInspector())
PROXY = inspector(
    proxy_protocol,
    ParseDict(
        {"rules": [{"tlv_type": 1, "on_tlv_present": {"key": "one"}}], "pass_through_tlvs": {}},
        proxy_protocol_pb2.ProxyProtocol(),
    ),
)
OPTIONAL = inspector(proxy_protocol, proxy_protocol_pb2.ProxyProtocol(allow_requests_without_proxy_protocol=True))


def facts(accepted: Accepted) -> tuple[Any, ...]:
    info = accepted.connection_info
    return (
        accepted.passed,
        accepted.closed,
        accepted.there,
        info.transport_protocol,
        info.requested_server_name,
        info.requested_application_protocols,
        info.ja3_hash,
        info.ja4_hash,
        info.transport_failure_reason,
        info.remote_address.as_string(),
        info.local_address.as_string(),
        accepted.stream_info.dynamic_metadata_map,
    )


@pytest.mark.parametrize("make", [TLS, HTTP, PROXY, OPTIONAL], ids=["tls", "http", "proxy", "optional"])
@settings(max_examples=400, deadline=None)
@given(data=damaged([*HELLOS, *LINES, *HEADERS]), cuts=CUTS)
def test_several_splits_give_the_same(make: Maker, data: bytes, cuts: list[int]) -> None:
    whole = make().receive([data])
    split = make().receive(pieces(data, cuts))
    if not whole.closed:
        # What a filter that closes had already drained or not is nobody's business.
        assert facts(split) == facts(whole)
    assert split.closed == whole.closed
    assert split.there == whole.there


@pytest.mark.parametrize("make", [TLS, HTTP, PROXY, OPTIONAL], ids=["tls", "http", "proxy", "optional"])
@settings(max_examples=300, deadline=None)
@given(data=st.binary(min_size=1, max_size=300), cuts=CUTS)
def test_any_bytes(make: Maker, data: bytes, cuts: list[int]) -> None:
    assert facts(make().receive(pieces(data, cuts))) == facts(make().receive([data]))


# The references.


class Short(Exception):
    """The block ends too early."""


class Block:
    """Reads a block from its start."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if len(self.data) < size:
            raise Short
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        return self.take(self.number(size))


def read_hello(body: bytes) -> tuple[list[int], dict[int, bytes]]:
    """Ciphers and extensions."""
    hello = Block(body)
    hello.take(34)
    session, suites, compression = hello.block(1), Block(hello.block(2)), hello.block(1)
    if len(session) > 32 or not compression or not suites.data or len(suites.data) % 2:
        raise Short
    ciphers = [suites.number(2) for _ in range(len(suites.data) // 2)]
    found: dict[int, bytes] = {}
    if hello.data:
        extensions = Block(hello.block(2))
        while extensions.data:
            kind = extensions.number(2)
            if kind in found:
                raise Short
            found[kind] = extensions.block(2)
    if hello.data:
        raise Short
    return ciphers, found


def name_in(content: bytes) -> bytes:
    outer = Block(content)
    names = Block(outer.block(2))
    kind, name = names.number(1), names.block(2)
    if outer.data or names.data or kind or not 0 < len(name) < 256 or 0 in name:
        raise Short
    return name


@settings(max_examples=600, deadline=None)
@given(
    data=damaged([MESSAGE[4:], hello_body(extension(0xFE0D, b"\x01"), server_name(b"x")), real_hello()[9:]]),
    size=st.integers(1, 400),
)
def test_hello_against_the_reference(data: bytes, size: int) -> None:
    message = handshake(data)
    wire = b"".join([record(message[at : at + size]) for at in range(0, len(message), size)])
    parser = ClientHelloParser()
    verdict = parser.feed(wire)
    try:
        ciphers, extensions = read_hello(data)
        name = name_in(extensions[0]) if 0 in extensions else b""
    except Short:
        assert verdict == NOT_TLS
        return
    if 0xFE0D in extensions and extensions[0xFE0D][:1] in (b"", b"\x00"):
        return
    assert verdict == FOUND
    assert parser.processed == len(wire)
    assert (parser.ciphers, dict(parser.extensions), parser.server_name) == (ciphers, extensions, name)


@settings(max_examples=600, deadline=None)
@given(data=damaged(LINES[:-1]))
def test_request_line_against_the_reference(data: bytes) -> None:
    line, end, _ = data.partition(b"\n")
    accepted = HTTP().receive([data])
    found = accepted.connection_info.requested_application_protocols
    if not end or data.startswith(b"PRI"):
        return
    words = re.split(rb"[\x00-\x20]+", line.rstrip(bytes(range(33))))
    well_formed = len(words) in (2, 3) and re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", words[0])
    if well_formed and len(words) == 3:
        well_formed = re.fullmatch(rb"HTTP/[0-9]\.[0-9]", words[2])
    if found:
        assert well_formed
        assert found == (("http/1.1",) if words[-1].endswith(b"HTTP/1.1") else ("http/1.0",))
    else:
        # It may be stricter with targets.
        assert accepted.passed
        assert not (well_formed and re.fullmatch(rb"[/*][!-~]*", words[1]) and line[len(words[0])] in b" \t")


@settings(max_examples=600, deadline=None)
@given(data=damaged(HEADERS[3:5]))
def test_v2_header_against_the_reference(data: bytes) -> None:
    accepted = PROXY().receive([data])
    if not accepted.passed or data[12] == 0x20:
        return
    size = struct.unpack("!H", data[14:16])[0]
    family, room = (socket.AF_INET, 4) if data[13] >> 4 == 1 else (socket.AF_INET6, 16)
    block = Block(data[16 : 16 + size])
    source, destination = (socket.inet_ntop(family, block.take(room)) for _ in range(2))
    ports = block.number(2), block.number(2)
    info = accepted.connection_info
    assert accepted.there == data[16 + size :]
    assert (info.remote_address.port, info.local_address.port) == ports
    assert (info.remote_address.ip, info.local_address.ip) == (source, destination)
    values = {}
    while block.data:
        kind, value = block.number(1), block.block(2)
        values.setdefault(kind, value)
    metadata = (accepted.stream_info.dynamic_metadata_map or {}).get("envoy.filters.listener.proxy_protocol", {})
    assert ("one" in metadata) == (1 in values)


@settings(max_examples=600, deadline=None)
@given(data=damaged(HEADERS[:3]))
def test_v1_header_against_the_reference(data: bytes) -> None:
    accepted = PROXY().receive([data])
    if not accepted.passed:
        return
    line, _, rest = data.partition(b"\r\n")
    words = line.rstrip().split(b" ")
    assert accepted.there == rest
    assert len(line) < 107
    if words[1] == b"UNKNOWN":
        return
    info = accepted.connection_info
    assert len(words) == 6
    assert (info.remote_address.port, info.local_address.port) == (int(words[4]), int(words[5]))
    family = socket.AF_INET if words[1] == b"TCP4" else socket.AF_INET6
    for word, address in zip(words[2:4], (info.remote_address, info.local_address), strict=True):
        packed = socket.inet_pton(family, word.partition(b"%")[0].decode())
        assert packed in (address.sockaddr[4:8], address.sockaddr[8:24])
