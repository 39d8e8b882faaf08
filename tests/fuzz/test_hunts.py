"""What bytes from the wire meet first, fuzzed: parsers, codec, header sanitising, path normalisation.

What is asked of each: nothing but the errors it is made for, the same result for every way the bytes are cut, bounded
memory, and agreement with a plain reference where one can be written down.
"""

import re
from collections.abc import Hashable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from tests.fuzz.hunt import hunt
from tests.fuzz.test_http1_parser import agrees, feed, request_parser, response_parser
from tests.unit.http.http1.test_server_connection import Manager
from tests.unit.http.test_header_sanitizing import LOOPBACK, PEER, sanitizer

from proxeny.http.codec import CodecError
from proxeny.http.header_sanitizing import is_upgrade
from proxeny.http.path_normalization import EscapedSlashes, NormalizePathAction, PathNormalizer, canonicalize
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http1_parse import MessageParser

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def pieces(data: bytes, random: Random) -> list[bytes]:
    places = sorted({0, len(data), *(random.randint(0, len(data)) for _ in range(random.randint(1, 6)))})
    return [data[start:end] for start, end in pairwise(places)]


def same_in_pieces(make: Any, data: bytes, random: Random) -> Hashable:
    whole = feed(make(), [data])
    assert feed(make(), pieces(data, random)).facts() == whole.facts()
    if len(data) < 300:
        assert feed(make(), [data[at : at + 1] for at in range(len(data))]).facts() == whole.facts()
    agrees(make, data)
    names = frozenset(name for head in whole.heads for name, _ in head)
    return whole.end, len(whole.heads), bool(whole.body), bool(whole.left), len(whole.trailers), len(names)


def test_requests() -> None:
    assert hunt("requests", lambda data, random: same_in_pieces(request_parser, data, random)) > 100


def test_responses() -> None:
    assert hunt("responses", lambda data, random: same_in_pieces(response_parser, data, random)) > 100


def test_chunked_bodies() -> None:
    def judge(data: bytes, random: Random) -> Hashable:
        whole = feed(request_parser(True), [CHUNKED + data]).facts()
        assert feed(request_parser(True), [CHUNKED, *pieces(data, random)]).facts() == whole
        return same_in_pieces(request_parser, CHUNKED + data, random)

    assert hunt("chunks", judge) > 100


def test_the_server_codec() -> None:
    """A whole connection's bytes: nothing is raised, errors are CodecErrors, and pieces are told alike."""

    def run(parts: list[bytes]) -> list[Any]:
        manager = Manager(answers=True, accept_http_10=True)
        for part in parts:
            error, before = manager.receive(part), -1
            while error is None and len(manager.data) != before:
                before = len(manager.data)
                error = manager.codec.dispatch(manager.data, False)
            if error is not None:
                assert isinstance(error, CodecError) and 400 <= error.status < 600
                return [*manager.log, error.status]
        return [*manager.log]

    def told(log: list[Any]) -> list[Any]:
        return [event for event in log if not (isinstance(event, tuple) and event[0] == "data")]

    def judge(data: bytes, random: Random) -> Hashable:
        whole = told(run([data]))
        assert told(run(pieces(data, random))) == whole
        return len(whole), whole[-1] if whole and isinstance(whole[-1], int) else 0

    assert hunt("requests", judge) > 100


@pytest.mark.parametrize("make", [request_parser, response_parser])
def test_memory_is_bounded(make: Any) -> None:
    """A message without end is refused once it is larger than its limit, wherever it does not end."""
    starts = [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nx: ",
        CHUNKED + b"0\r\n",
        CHUNKED + b"1;",
    ]
    for start in starts:
        for filler in (b"a", b"a: b\r\n", b" ", b"\t\n ", b"0", b";", b"\r"):
            parser: MessageParser = make()
            data = Buffer(start)
            sent = len(start)
            while sent < 2_000_000:
                data.append(filler * (8192 // len(filler)))
                sent += 8192
                before = -1
                while len(data) != before:
                    before = len(data)
                    parser.advance(data)
                if parser.error:
                    break
                assert len(data) <= parser.max_head_bytes + 8192
            assert len(data) <= parser.max_head_bytes + 16384


RULES = [
    (sanitizer(), PEER),
    (sanitizer(useRemoteAddress=True), PEER),
    (sanitizer(useRemoteAddress=True, xffNumTrustedHops=2), LOOPBACK),
    (sanitizer(via="p", addUserAgent=True, skipXffAppend=True, useRemoteAddress=True), PEER),
]
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HOP_BY_HOP = (b"keep-alive", b"proxy-connection", b"transfer-encoding")


def test_header_sanitizing() -> None:
    def judge(data: bytes, random: Random) -> Hashable:
        pairs = [line.partition(b":")[::2] for line in data.replace(b"\r", b"").replace(b"\0", b"").split(b"\n")]
        fields = [
            (name.lower(), value.strip(b" \t"))
            for name, value in pairs
            if re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        ]
        rules, peer = random.choice(RULES)
        headers = HeaderMap([(b":method", b"GET"), (b":path", b"/"), *fields])
        upgrade = is_upgrade(headers)
        rules.sanitize_request(headers, upgrade, peer, False)
        assert not any(name in headers for name in HOP_BY_HOP)
        assert upgrade or (b"connection" not in headers and b"upgrade" not in headers)
        assert upgrade or headers.get(b"te") in (None, b"", b"trailers")
        assert headers.get(b":scheme") in (b"http", b"https")
        assert headers.get(b"x-request-id")
        if peer is PEER and rules.use_remote_address:
            assert b"x-envoy-internal" not in headers and b"x-envoy-retry-on" not in headers
            assert headers.get(b"x-forwarded-proto") == b"http"
        again = HeaderMap(headers.items())
        rules.sanitize_request(again, upgrade, peer, False)
        return frozenset(name for name, _ in headers.items())

    assert hunt("headers", judge) > 100


def plain_canonical(path: bytes) -> bytes | None:
    """RFC 3986 6.2.2 and 5.2.4, as one would write it down."""

    def decode(match: re.Match[bytes]) -> bytes:
        value = bytes([int(match[1], 16)])
        return value if re.fullmatch(rb"[A-Za-z0-9._~-]", value) else match[0]

    path, mark, query = path.partition(b"?")
    if b"\0" in path or b"%00" in path:
        return None
    path = re.sub(rb"%([0-9A-Fa-f]{2})", decode, path).replace(b"\\", b"/")
    out: list[bytes] = []
    parts = path.split(b"/")[1:]
    for number, part in enumerate(parts):
        name = b".." if part.startswith(b"..;") else part
        if name not in (b".", b".."):
            out.append(part)
            continue
        if name == b".." and out:
            out.pop()
        if number == len(parts) - 1:
            out.append(b"")
    return b"/" + b"/".join(out) + mark + query


def test_path_normalization() -> None:
    actions = list(EscapedSlashes)

    def judge(data: bytes, random: Random) -> Hashable:
        path = b"/" + data
        canonical = canonicalize(path)
        assert canonical == plain_canonical(path)
        if canonical is None:
            return "refused"
        before_query = canonical.partition(b"?")[0]
        assert before_query.startswith(b"/") and len(canonical) <= len(path) + 1
        assert not {b".", b".."} & set(before_query.split(b"/"))
        shape: list[Any] = [canonical == path, before_query.count(b"/")]
        for action in actions:
            result, verdict = PathNormalizer(True, True, action).apply(path)
            assert verdict in list(NormalizePathAction)
            if verdict is NormalizePathAction.CONTINUE:
                assert b"//" not in result.partition(b"?")[0]
            shape.append(int(verdict))
        return tuple(shape)

    assert hunt("paths", judge) > 100
