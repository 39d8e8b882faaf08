"""Encoded messages, byte for byte as Envoy 1.40 writes them."""

from typing import Any

import pytest

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http1_encode import (
    CHUNKED,
    KEY_PROPER,
    MISSING_HOST,
    MISSING_METHOD,
    MISSING_PATH,
    MISSING_SCHEME,
    MISSING_STATUS,
    encode_chunk,
    encode_last_chunk,
    encode_request_head,
    encode_response_head,
    reason_phrase,
)
from proxeny.kernel.http1_response import ResponseParser


def request(method: bytes = b"GET", *fields: tuple[bytes, bytes]) -> HeaderMap:
    return HeaderMap([(b":method", method), (b":path", b"/p"), (b":authority", b"a"), *fields])


def response(status: bytes = b"200", *fields: tuple[bytes, bytes]) -> HeaderMap:
    return HeaderMap([(b":status", status), *fields])


def encoded_request(headers: HeaderMap, end_stream: bool = True, **options: Any) -> tuple[bytes, int]:
    out = Buffer()
    result = encode_request_head(headers, out, end_stream, **options)
    return out.peek(), result


def encoded_response(headers: HeaderMap, end_stream: bool = True, **options: Any) -> tuple[bytes, int]:
    out = Buffer()
    result = encode_response_head(headers, out, end_stream, **options)
    assert result >> 1 == int(headers.get(b":status") or b"")
    return out.peek(), result & CHUNKED


START = b" /p HTTP/1.1\r\nhost: a\r\n"
TE = b"transfer-encoding: chunked\r\n"
CL = b"content-length: 0\r\n"


@pytest.mark.parametrize(
    ("method", "end_stream", "framing", "chunked"),
    [
        (b"GET", True, b"", 0),
        (b"HEAD", True, b"", 0),
        (b"DELETE", True, b"", 0),
        (b"TRACE", True, b"", 0),
        (b"POST", True, CL, 0),
        (b"OPTIONS", True, CL, 0),
        (b"GET", False, TE, 1),
        (b"POST", False, TE, 1),
    ],
)
def test_request_framing(method: bytes, end_stream: bool, framing: bytes, chunked: int) -> None:
    assert encoded_request(request(method), end_stream) == (method + START + framing + b"\r\n", chunked)


def test_a_given_length_is_used() -> None:
    headers = request(b"POST", (b"content-length", b"3"), (b"transfer-encoding", b"chunked"))
    assert encoded_request(headers, False) == (b"POST" + START + b"content-length: 3\r\n\r\n", 0)


def test_upgrade_and_connect_requests_have_no_framing() -> None:
    headers = request(b"GET", (b"connection", b"upgrade"), (b"upgrade", b"websocket"))
    expected = b"GET" + START + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert encoded_request(headers, False, upgrade=True) == (expected, 0)
    connect = HeaderMap([(b":method", b"CONNECT"), (b":authority", b"b:80")])
    assert encoded_request(connect, False) == (b"CONNECT b:80 HTTP/1.1\r\nhost: b:80\r\n\r\n", 0)


def test_absolute_form() -> None:
    headers = request(b"GET", (b":scheme", b"http"))
    assert encoded_request(headers, absolute_form=True)[0].startswith(b"GET http://a/p HTTP/1.1\r\nhost: a\r\n")


@pytest.mark.parametrize(
    ("missing", "absolute_form", "expected"),
    [
        (b":method", False, MISSING_METHOD),
        (b":path", False, MISSING_PATH),
        (b":authority", True, MISSING_HOST),
        (b":scheme", True, MISSING_SCHEME),
    ],
)
def test_missing_pseudo_headers(missing: bytes, absolute_form: bool, expected: int) -> None:
    headers = request(b"GET", (b":scheme", b"http"))
    headers.remove(missing)
    assert encoded_request(headers, absolute_form=absolute_form) == (b"", expected)
    connect = HeaderMap([(b":method", b"CONNECT")])
    assert encoded_request(connect) == (b"", MISSING_HOST)
    assert encode_response_head(HeaderMap(), Buffer(), True) == MISSING_STATUS


@pytest.mark.parametrize(
    ("status", "end_stream", "options", "expected", "chunked"),
    [
        (b"200", True, {}, b"HTTP/1.1 200 OK\r\n" + CL, 0),
        (b"200", False, {}, b"HTTP/1.1 200 OK\r\n" + TE, 1),
        (b"200", True, {"to_head": True}, b"HTTP/1.1 200 OK\r\n" + TE, 0),
        (b"200", False, {"http10": True}, b"HTTP/1.0 200 OK\r\n", 0),
        (b"200", False, {"to_connect": True}, b"HTTP/1.1 200 OK\r\n", 0),
        (b"403", True, {"to_connect": True}, b"HTTP/1.1 403 Forbidden\r\n" + CL, 0),
        (b"204", True, {}, b"HTTP/1.1 204 No Content\r\n", 0),
        (b"304", True, {}, b"HTTP/1.1 304 Not Modified\r\n", 0),
        (b"100", False, {}, b"HTTP/1.1 100 Continue\r\n", 0),
        (b"101", False, {}, b"HTTP/1.1 101 Switching Protocols\r\n", 0),
        (b"20", True, {}, b"HTTP/1.1 20 Unknown\r\n", 0),
        (b"2000", True, {}, b"HTTP/1.1 2000 Unknown\r\n" + CL, 0),
        (b"599", True, {}, b"HTTP/1.1 599 Last Unassigned Server Error Code\r\n" + CL, 0),
        (b"426", True, {}, b"HTTP/1.1 426 Upgrade Required\r\n" + CL, 0),
    ],
)
def test_response_framing(
    status: bytes, end_stream: bool, options: dict[str, Any], expected: bytes, chunked: int
) -> None:
    assert encoded_response(response(status), end_stream, **options) == (expected + b"\r\n", chunked)


def test_a_length_is_dropped_where_it_has_no_meaning() -> None:
    length = (b"content-length", b"5")
    assert encoded_response(response(b"204", length))[0] == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert encoded_response(response(b"304", length))[0] == b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"
    head = encoded_response(response(b"200", length), to_head=True)
    assert head == (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 0)


def test_key_formats() -> None:
    headers = response(b"200", (b"x-foo_bar-2b", b"1"), (b"content-length", b"0"))
    assert encoded_response(headers, key_format=KEY_PROPER)[0] == (
        b"HTTP/1.1 200 OK\r\nX-Foo_Bar-2b: 1\r\nContent-Length: 0\r\n\r\n"
    )


def parsed_response(raw: bytes, **settings: bool) -> HeaderMap:
    parser = ResponseParser()
    for name, value in settings.items():
        setattr(parser, name, value)
    parser.advance(Buffer(raw))
    return parser.headers


def test_names_are_written_as_they_came() -> None:
    raw = b"HTTP/1.1 200 Fine Indeed\r\nX-FoO: 1\r\nx-fOO: 2\r\nServer: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    headers = parsed_response(raw, keep_case=True)
    headers.set(b"server", b"b")
    headers.remove(b"transfer-encoding")
    headers.add(b"x-added", b"3")
    assert encoded_response(headers, False, key_format=KEY_PROPER)[0] == (
        b"HTTP/1.1 200 OK\r\nX-FoO: 1\r\nX-FoO: 2\r\nServer: b\r\nx-added: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert headers.copy().original_name(1) == b"X-FoO"


def test_names_that_did_not_come_are_proper_and_the_phrase_is_kept_on_request() -> None:
    raw = b"HTTP/1.1 200  Fine Indeed \r\nx-foo: 1\r\ncontent-length: 0\r\n\r\n"
    headers = parsed_response(raw, keep_case=True, proper_added=True, keep_reason=True)
    headers.add(b"x-added", b"2")
    assert encoded_response(headers)[0] == (
        b"HTTP/1.1 200 Fine Indeed\r\nx-foo: 1\r\ncontent-length: 0\r\nX-Added: 2\r\n\r\n"
    )


@pytest.mark.parametrize("size", [10, 1900, 2100, 20_000, 200_000])
def test_heads_of_all_sizes(size: int) -> None:
    out = Buffer(b"before")
    encode_response_head(response(b"200", (b"x", b"v" * size), (b"content-length", b"0")), out, True)
    assert out.peek() == b"beforeHTTP/1.1 200 OK\r\nx: " + b"v" * size + b"\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 255, 4096, 100_000])
def test_chunks(size: int) -> None:
    out, data = Buffer(), Buffer(b"d" * size)
    encode_chunk(data, out)
    assert len(data) == 0
    assert out.peek() == (b"%x\r\n" % size + b"d" * size + b"\r\n" if size else b"")


def test_last_chunk() -> None:
    out = Buffer()
    encode_last_chunk(out)
    assert out.take() == b"0\r\n\r\n"
    encode_last_chunk(out, HeaderMap([(b"a", b"1"), (b"transfer-encoding", b"x"), (b"content-length", b"2")]))
    assert out.take() == b"0\r\na: 1\r\n\r\n"


def test_reason_phrases() -> None:
    assert reason_phrase(503) == b"Service Unavailable"
    assert reason_phrase(799) == b"Unknown"
