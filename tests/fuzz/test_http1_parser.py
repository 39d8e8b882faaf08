"""The HTTP/1 parsers against every split of the bytes, against damaged bytes, and against a plain reference.

The reference below is written for reading, not for speed: it says where a message ends and which bytes are its body.
Whatever the parser accepts, the reference must accept with the same framing; the parser may refuse more.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.http1_parse import COMPLETE, DATA, ERROR, HEADERS, HEADERS_1XX, NEED_MORE, TRAILERS, MessageParser
from proxeny.kernel.http1_request import RequestParser
from proxeny.kernel.http1_response import ResponseParser

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\nGET /p?q=1 HTTP/1.1\nHost: a\nX: 1\n\n",
    b"GET  /x\tHTTP/1.1 \r\nHost:a\r\nFold: a\r\n b\r\n\tc\r\nEmpty:\r\n\r\n",
    b"GET http://u@b:80/p HTTP/1.1\r\nHost: a\r\nConnection: x-a, keep-alive\r\nX-A: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 011\r\n\r\nhello world",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n006;x=y\r\n world\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nHost: a\r\n\r\na \r\n0123456789\r\n0;e\r\nT: 1\r\nU : 2\r\n\r\n",
    b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n1\r\nx\r\n0\r\nTrailer-A: 1\r\nB: 2\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    b"BAD / HTTP/1.1\r\nHost: a\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\nContent-Length: 3\n\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: until the end\r\n\r\nabc",
    b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


class Outcome:
    """What a parser made of one message."""

    def __init__(self) -> None:
        self.heads: list[Any] = []
        self.body = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.end: Any = "incomplete"
        self.left = b""

    def facts(self) -> tuple[Any, ...]:
        return self.heads, self.body, self.trailers, self.end, self.left


def feed(parser: MessageParser, pieces: Iterable[bytes]) -> Outcome:
    """Feed pieces until the message is complete or refused; every event but an idle one must make progress."""
    outcome = Outcome()
    data = Buffer()
    rest = iter(pieces)
    for piece in rest:
        data.append(piece)
        while outcome.end == "incomplete":
            event = parser.advance(data)
            if event == NEED_MORE:
                break
            if event in (HEADERS, HEADERS_1XX):
                outcome.heads.append(parser.headers.items())
                if event == HEADERS and parser.upgrade:
                    outcome.end = "upgrade"
            elif event == DATA:
                assert len(parser.body) > 0
                outcome.body += parser.body.take()
            elif event == TRAILERS:
                outcome.trailers = parser.trailers.items()
            elif event == ERROR:
                outcome.end = (parser.error_status, parser.error)
                assert parser.advance(data) == ERROR
            else:
                assert event == COMPLETE
            if parser.end_stream and outcome.end == "incomplete" and event != HEADERS_1XX:
                outcome.end = "complete"
        if outcome.end != "incomplete":
            break
    outcome.left = data.peek() + b"".join(rest)
    if isinstance(outcome.end, tuple):
        # How much of a refused message went through depends on how its bytes came.
        outcome.left = outcome.body = b""
    return outcome


def request_parser(trailers: bool = False) -> RequestParser:
    parser = RequestParser()
    parser.accept_http_10 = True
    parser.enable_trailers = trailers
    return parser


def response_parser(trailers: bool = False) -> ResponseParser:
    parser = ResponseParser()
    parser.enable_trailers = trailers
    parser.expect(False, False, False)
    return parser


KINDS = [(request_parser, raw) for raw in REQUESTS] + [(response_parser, raw) for raw in RESPONSES]


@pytest.mark.parametrize(("make", "raw"), KINDS)
@pytest.mark.parametrize("trailers", [False, True])
def test_every_split_gives_the_same(make: Any, raw: bytes, trailers: bool) -> None:
    stream = raw + b"GET /next"
    whole = feed(make(trailers), [stream]).facts()
    for at in range(1, len(stream)):
        assert feed(make(trailers), [stream[:at], stream[at:]]).facts() == whole, at
    assert feed(make(trailers), [stream[i : i + 1] for i in range(len(stream))]).facts() == whole


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(1, 200), max_size=8))
def test_several_splits_give_the_same(kind: tuple[Any, bytes], cuts: list[int]) -> None:
    make, raw = kind
    stream = raw * 2
    bounds = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    assert feed(make(), pieces).facts() == feed(make(), [stream]).facts()


# The reference.


class Refused(Exception):
    """The reference does not know where this message ends, or must not."""


def unfolded(head: bytes) -> list[bytes]:
    lines: list[bytes] = []
    for line in head.split(b"\n"):
        line = line.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1] += line
        else:
            lines.append(line)
    return lines


def framing(fields: list[bytes]) -> tuple[bool, int | None]:
    """(chunked, length) of a head's fields."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise Refused(field)
        if name.lower() == b"content-length":
            lengths.append(value.strip(b" \t"))
        if name.lower() == b"transfer-encoding":
            codings.append(value.strip(b" \t").lower())
    if len(lengths) > 1 or (lengths and codings) or (codings and codings != [b"chunked"]):
        raise Refused(lengths, codings)
    if lengths and not re.fullmatch(rb"[0-9]+", lengths[0]):
        raise Refused(lengths)
    return bool(codings), int(lengths[0]) if lengths else None


def dechunk(raw: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line = re.match(rb"([0-9a-fA-F]+)[ \t]*(?:;[^\r\n\x00]*)?\r\n", raw)
        if line is None:
            raise Refused(raw)
        raw = raw[line.end() :]
        size = int(line[1], 16)
        if size == 0:
            break
        if raw[size : size + 2] != b"\r\n":
            raise Refused(raw)
        body += raw[:size]
        raw = raw[size + 2 :]
    if raw.startswith((b"\r\n", b"\n")):
        return body, raw[raw.index(b"\n") + 1 :]
    end = re.search(rb"\n\r?\n", raw)
    if end is None:
        raise Refused(raw)
    return body, raw[end.end() :]


def reference(raw: bytes, is_request: bool) -> tuple[bytes, bytes | None]:
    """(body, what follows the message); None follows a message that ends with the connection."""
    while True:
        if is_request:
            raw = raw.lstrip(b"\r\n")
        end = re.search(rb"\n\r?\n", raw)
        if end is None:
            raise Refused(raw)
        start, *fields = unfolded(raw[: end.start()])
        raw = raw[end.end() :]
        chunked, length = framing(fields)
        if is_request:
            break
        status = re.match(rb"HTTP/\d\.\d[ \t]+(\d{1,4})(?:[ \t]|$)", start)
        if status is None:
            raise Refused(start)
        code = int(status[1])
        if 100 <= code < 200 or code == 204:
            if chunked or length:
                raise Refused(start)
            if code == 204:
                return b"", raw
            continue
        if code == 304:
            return b"", raw
        if not chunked and length is None:
            return raw, None
        break
    if chunked:
        return dechunk(raw)
    length = length or 0
    if len(raw) < length:
        raise Refused(raw)
    return raw[:length], raw[length:]


def agrees(make: Any, raw: bytes) -> None:
    outcome = feed(make(), [raw])
    if outcome.end != "complete":
        return
    body, follows = reference(raw, make is request_parser)
    assert (outcome.body, outcome.left) == (body, follows)


INTERESTING = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\x7f", b"\xff", b"0", b";", b",", b"+", b"_",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n",
    b"\r\n ", b"chunked", b"HTTP/1.1", b"Host: b\r\n", b"GET ", b"Connection: upgrade\r\nUpgrade: x\r\n",
]  # fmt: skip
edits = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(0, 3),
        st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


def damaged(raw: bytes, script: list[tuple[int, int, bytes]]) -> bytes:
    for at, removed, inserted in script:
        at %= len(raw) + 1
        raw = raw[:at] + inserted + raw[at + removed :]
    return raw


@settings(max_examples=4000, deadline=None)
@given(st.sampled_from(KINDS), edits)
def test_damaged_messages_are_framed_as_the_reference_says_or_refused(
    kind: tuple[Any, bytes], script: list[tuple[int, int, bytes]]
) -> None:
    make, raw = kind
    agrees(make, damaged(raw, script) + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(INTERESTING) | st.binary(max_size=8), max_size=40), st.sampled_from(KINDS))
def test_noise_never_crashes_and_is_framed_alike(pieces: list[bytes], kind: tuple[Any, bytes]) -> None:
    make, raw = kind
    head = raw[: raw.index(b"\n") + 1]
    noise = b"".join(pieces)
    for stream in (noise, head + noise, raw + noise):
        agrees(make, stream)
        assert feed(make(), [stream]).facts() == feed(make(), [stream[i : i + 1] for i in range(len(stream))]).facts()


def test_a_head_that_comes_byte_by_byte_is_scanned_once() -> None:
    """60 KiB, one byte per read: quadratic work would take minutes, the suite's time limit is the assertion."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 61_000 + b"\r\n\r\n"
    assert feed(request_parser(), (raw[i : i + 1] for i in range(len(raw)))).end == "complete"
    trailers = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: 1\r\n" * 10_000 + b"\r\n"
    assert feed(request_parser(), (trailers[i : i + 1] for i in range(len(trailers)))).end == "complete"
