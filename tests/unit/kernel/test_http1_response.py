"""Responses: status lines, informational ones, bodies that depend on the request; verdicts observed on Envoy 1.40."""

from typing import Any

import pytest

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.http1_parse import COMPLETE, DATA, ERROR, HEADERS, HEADERS_1XX, NEED_MORE, TRAILERS
from proxeny.kernel.http1_response import ResponseParser

Event = tuple[Any, ...]


def events(parser: ResponseParser, data: Buffer) -> list[Event]:
    found: list[Event] = []
    while True:
        event = parser.advance(data)
        if event in (HEADERS, HEADERS_1XX):
            found.append(("headers" if event == HEADERS else "1xx", parser.headers.items(), parser.end_stream))
        elif event == DATA:
            found.append(("data", parser.body.take(), parser.end_stream))
        elif event == TRAILERS:
            found.append(("trailers", parser.trailers.items()))
        elif event == COMPLETE:
            found.append(("complete",))
        elif event == ERROR:
            found.append(("error", parser.error))
            return found
        else:
            assert event == NEED_MORE
            return found
        if parser.end_stream:
            return found


def parse(raw: bytes, head: bool = False, connect: bool = False, upgrade: bool = False, **options: Any) -> list[Event]:
    parser = ResponseParser()
    for name, value in options.items():
        setattr(parser, name, value)
    parser.expect(head, connect, upgrade)
    return events(parser, Buffer(raw))


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body


LENGTH_0 = b"content-length: 0"
CHUNKED = b"transfer-encoding: chunked"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200", b"200"),
        (b"HTTP/1.1 200 ", b"200"),
        (b"HTTP/1.1  200  My OK", b"200"),
        (b"HTTP/1.1 200 caf\xe9", b"200"),
        (b"HTTP/1.0 200 OK", b"200"),
        (b"HTTP/2.0 200 OK", b"200"),
        (b"HTTP/1.1 0200 OK", b"200"),
        (b"HTTP/1.1 20 OK", b"20"),
        (b"HTTP/1.1 999 OK", b"999"),
        (b"HTTP/1.1 2000 OK", b"2000"),
        (b"HTTP/1.1 0 OK", b"0"),
    ],
)
def test_status_lines_that_pass(line: bytes, status: bytes) -> None:
    assert parse(response(LENGTH_0, line=line)) == [
        ("headers", [(b":status", status), (b"content-length", b"0")], True)
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"http/1.1 200 OK", b"ICY 200 OK", b"HTTP/1.1 abc OK", b"HTTP/1.1 +200 OK", b"HTTP/1.1 20000 OK", b"HTTP/1.1",
        b"HTTP/1.1 ", b"HTTP/1.1200 OK", b"HTTP/1.1 200OK", b"HTTP/x.1 200 OK", b"garbage", b"", b" HTTP/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
    ],
)  # fmt: skip
def test_status_lines_that_do_not(line: bytes) -> None:
    assert parse(response(LENGTH_0, line=line)) == [("error", "http1.codec_error")]


def test_controls_in_the_reason() -> None:
    assert parse(response(line=b"HTTP/1.1 200 O\x01K")) == [("error", "http1.invalid_characters")]


@pytest.mark.parametrize(
    ("fields", "line", "detail"),
    [
        ([b"content-length: 2", b"content-length: 2"], b"HTTP/1.1 200 OK", "http1.codec_error"),
        ([b"content-length: x"], b"HTTP/1.1 200 OK", "http1.codec_error"),
        ([b"content-length: 2", CHUNKED], b"HTTP/1.1 200 OK", "http1.content_length_and_chunked_not_allowed"),
        ([b"transfer-encoding: gzip"], b"HTTP/1.1 200 OK", "http1.invalid_transfer_encoding"),
        ([CHUNKED, CHUNKED], b"HTTP/1.1 200 OK", "http1.invalid_transfer_encoding"),
        ([b"content-length: 5"], b"HTTP/1.1 204 No", "http1.content_length_not_allowed"),
        ([CHUNKED], b"HTTP/1.1 204 No", "http1.transfer_encoding_not_allowed"),
        ([b"content-length: 5"], b"HTTP/1.1 103 Early", "http1.content_length_not_allowed"),
        ([CHUNKED], b"HTTP/1.1 100 C", "http1.transfer_encoding_not_allowed"),
        ([b"upgrade: x", b"connection: upgrade"], b"HTTP/1.1 101 S", "http1.codec_error"),
        ([b"x y: 1"], b"HTTP/1.1 200 OK", "http1.codec_error"),
        ([b":status: 404"], b"HTTP/1.1 200 OK", "http1.codec_error"),
        ([b"x: a\x01"], b"HTTP/1.1 200 OK", "http1.invalid_characters"),
        ([b"x: " + b"a" * 62000], b"HTTP/1.1 200 OK", "http1.headers_too_large"),
        ([b"x: a"] * 101, b"HTTP/1.1 200 OK", "http1.too_many_headers"),
    ],
)
def test_responses_that_are_refused(fields: list[bytes], line: bytes, detail: str) -> None:
    assert parse(response(*fields, line=line)) == [("error", detail)]


def test_bodies() -> None:
    assert parse(response(b"content-length: 2", body=b"ok"))[1:] == [("data", b"ok", True)]
    assert parse(response(CHUNKED, body=b"2\r\nok\r\n0\r\n\r\n"))[1:] == [("data", b"ok", True)]
    chunked = response(CHUNKED, body=b"2\r\nok\r\n0\r\nt: 1\r\n\r\n")
    assert parse(chunked)[1:] == [("data", b"ok", False), ("complete",)]
    assert parse(chunked, enable_trailers=True)[-1] == ("trailers", [(b"t", b"1")])


@pytest.mark.parametrize(
    ("raw", "head"),
    [
        (response(b"content-length: 5"), True),
        (response(CHUNKED), True),
        (response(), True),
        (response(b"content-length: 5", line=b"HTTP/1.1 304 Not"), False),
        (response(CHUNKED, line=b"HTTP/1.1 304 Not"), False),
        (response(line=b"HTTP/1.1 204 No"), False),
        (response(LENGTH_0, line=b"HTTP/1.1 204 No"), False),
        (response(LENGTH_0), False),
    ],
)
def test_responses_without_body(raw: bytes, head: bool) -> None:
    found = parse(raw, head=head)
    assert len(found) == 1 and found[0][2] is True


def test_a_body_that_ends_with_the_connection() -> None:
    parser = ResponseParser()
    parser.expect(False, False, False)
    data = Buffer(response(body=b"abc"))
    assert [event[0] for event in events(parser, data)] == ["headers", "data"]
    assert not parser.keep_alive
    assert parser.finish() == COMPLETE
    assert parser.end_stream


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nconte",
        response(b"content-length: 5", body=b"abc"),
        response(CHUNKED, body=b"3\r\nabc\r\n"),
        response(CHUNKED, body=b"3\r\nabc\r\n0\r\n"),
    ],
)
def test_a_message_cut_off_is_an_error(raw: bytes) -> None:
    parser = ResponseParser()
    events(parser, Buffer(raw))
    assert parser.finish() == ERROR


@pytest.mark.parametrize("status", [b"100", b"102", b"103", b"150"])
def test_informational_responses_come_before_the_final_one(status: bytes) -> None:
    raw = response(b"link: a", line=b"HTTP/1.1 " + status + b" C") * 2 + response(LENGTH_0)
    found = parse(raw)
    assert [event[0] for event in found] == ["1xx", "1xx", "headers"]
    assert found[0][1] == [(b":status", status), (b"link", b"a")]


def test_switching_protocols_only_when_asked_for() -> None:
    raw = response(b"upgrade: x", b"connection: Upgrade", line=b"HTTP/1.1 101 S", body=b"tunnel")
    assert parse(raw) == [("error", "http1.codec_error")]
    assert parse(raw, upgrade=True)[1] == ("data", b"tunnel", False)
    assert parse(response(line=b"HTTP/1.1 101 S"), upgrade=True) == [("error", "http1.codec_error")]
    assert parse(response(b"content-length: 2", body=b"ok"), upgrade=True)[1:] == [("data", b"ok", True)]


def test_the_answer_to_connect() -> None:
    found = parse(response(b"content-length: 2", CHUNKED[:0] + b"x: 1", body=b"tunnel"), connect=True)
    assert found == [("headers", [(b":status", b"200"), (b"x", b"1")], False), ("data", b"tunnel", False)]
    refused = parse(response(b"content-length: 2", line=b"HTTP/1.1 403 No", body=b"no"), connect=True)
    assert refused[1:] == [("data", b"no", True)]


@pytest.mark.parametrize(
    ("raw", "keep", "announced"),
    [
        (response(LENGTH_0), True, False),
        (response(LENGTH_0, b"Connection: close"), False, True),
        (response(LENGTH_0, line=b"HTTP/1.0 200 OK"), False, True),
        (response(LENGTH_0, b"connection: keep-alive", line=b"HTTP/1.0 200 OK"), True, False),
        (response(CHUNKED, b"connection: keep-alive", line=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"), False, True),
        (response(), False, False),
        (response(b"connection: close"), False, True),
    ],
)
def test_keep_alive(raw: bytes, keep: bool, announced: bool) -> None:
    parser = ResponseParser()
    events(parser, Buffer(raw))
    assert parser.keep_alive is keep
    assert parser.close_announced is announced
