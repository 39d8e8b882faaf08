"""Requests: what is accepted and what becomes of it; verdicts as observed on Envoy 1.40 (stricter ones say so)."""

from typing import Any

import pytest

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.http1_parse import COMPLETE, DATA, ERROR, HEADERS, NEED_MORE, TRAILERS, UPGRADE
from proxeny.kernel.http1_request import RequestParser
from proxeny.matcher.string import ExactMatcher

Event = tuple[Any, ...]


def make(**options: Any) -> RequestParser:
    parser = RequestParser()
    for name, value in options.items():
        setattr(parser, name, value)
    return parser


def events(parser: RequestParser, data: Buffer) -> list[Event]:
    """All events up to the end of one message, or to where more is needed."""
    found: list[Event] = []
    while True:
        event = parser.advance(data)
        if event == HEADERS:
            found.append(("headers", parser.headers.items(), parser.end_stream))
        elif event == DATA:
            found.append(("data", parser.body.take(), parser.end_stream))
        elif event == TRAILERS:
            found.append(("trailers", parser.trailers.items()))
        elif event == COMPLETE:
            found.append(("complete",))
        elif event == ERROR:
            found.append(("error", parser.error_status, parser.error))
            return found
        else:
            assert event in (NEED_MORE, UPGRADE)
            return found
        if parser.end_stream:
            return found


def parse(raw: bytes, **options: Any) -> list[Event]:
    return events(make(**options), Buffer(raw))


def request(line: bytes, *fields: bytes, body: bytes = b"", host: bytes = b"a") -> bytes:
    return b"\r\n".join([line, b"Host: " + host, *fields]) + b"\r\n\r\n" + body


def get(*fields: bytes, body: bytes = b"") -> bytes:
    return request(b"GET / HTTP/1.1", *fields, body=body)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return request(b"POST / HTTP/1.1", *fields, body=body)


def headers_of(raw: bytes, **options: Any) -> list[tuple[bytes, bytes]]:
    found = parse(raw, **options)
    assert found[0][0] == "headers", found
    return found[0][1]  # type: ignore[no-any-return]


def verdict(raw: bytes, **options: Any) -> tuple[int, str]:
    last = parse(raw, **options)[-1]
    assert last[0] == "error", last
    return last[1], last[2]


BAD = (400, "http1.codec_error")
CHARS = (400, "http1.invalid_characters")
URL = (400, "http1.invalid_url")
AUTHORITY = (400, "http.invalid_authority")
LOW = (426, "low_version")
CONNECTION = (400, "http1.connection_header_rejected")
CODING = (501, "http1.invalid_transfer_encoding")
BOTH = (400, "http1.content_length_and_chunked_not_allowed")
LARGE = (431, "http1.headers_too_large")
MANY = (431, "http1.too_many_headers")


def test_a_request_without_body() -> None:
    data = Buffer(get(b"X-Foo:  a b \t", b"Empty:") + b"GET /next")
    assert events(make(), data) == [
        (
            "headers",
            [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a"), (b"x-foo", b"a b"), (b"empty", b"")],
            True,
        )
    ]
    assert data.peek() == b"GET /next"


@pytest.mark.parametrize(
    ("line", "path", "authority", "scheme"),
    [
        (b"GET /p?q HTTP/1.1", b"/p?q", b"a", None),
        (b"GET /p#f HTTP/1.1", b"/p#f", b"a", None),
        (b"GET  \t/p   HTTP/1.1 \t", b"/p", b"a", None),
        (b'GET /"<>^`{|}\\ HTTP/1.1', b'/"<>^`{|}\\', b"a", None),
        (b"OPTIONS * HTTP/1.1", b"*", b"a", None),
        (b"GET http://b/p?q HTTP/1.1", b"/p?q", b"b", b"http"),
        (b"GET HTTPS://u:p@b:8080/p HTTP/1.1", b"/p", b"b:8080", b"https"),
        (b"GET http://b HTTP/1.1", b"/", b"b", b"http"),
        (b"GET http://b?q HTTP/1.1", b"?q", b"b", b"http"),
        (b"GET http://[::1]:80/ HTTP/1.1", b"/", b"[::1]:80", b"http"),
        (b"PURGE /p HTTP/1.1", b"/p", b"a", None),
        (b"M-SEARCH /p HTTP/1.1", b"/p", b"a", None),
    ],
)
def test_targets(line: bytes, path: bytes, authority: bytes, scheme: bytes | None) -> None:
    headers = dict(headers_of(request(line)))
    assert (headers[b":path"], headers[b":authority"], headers.get(b":scheme")) == (path, authority, scheme)
    assert b"host" not in headers


def test_absolute_form_is_a_path_when_not_allowed() -> None:
    headers = dict(headers_of(request(b"GET http://b/p HTTP/1.1"), allow_absolute_url=False))
    assert (headers[b":path"], headers[b":authority"]) == (b"http://b/p", b"a")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET x HTTP/1.1", BAD),
        (b"GET * HTTP/1.1", URL),
        (b"GET ftp://b/ HTTP/1.1", (400, "http1.invalid_scheme")),
        (b"GET http:///p HTTP/1.1", URL),
        (b"GET http://b:65536/ HTTP/1.1", URL),
        (b"GET http://b:/ HTTP/1.1", URL),
        (b"GET http://b:+80/ HTTP/1.1", URL),
        (b"GET http://[::1/ HTTP/1.1", URL),
        (b"GET 1http://b/ HTTP/1.1", BAD),
        (b"GET http:/b/ HTTP/1.1", BAD),
        (b"GET /x\x80 HTTP/1.1", BAD),
        (b"GET /x\x01 HTTP/1.1", CHARS),
        (b"GET /x\x7f HTTP/1.1", CHARS),
        (b"GET /x\x00 HTTP/1.1", CHARS),
        (b"GET /x y HTTP/1.1", BAD),
        (b"GET /x HTTP/1.1 x", BAD),
        (b" GET /x HTTP/1.1", BAD),
        (b"get /x HTTP/1.1", BAD),
        (b"FOOBAR /x HTTP/1.1", BAD),
        (b"GETT /x HTTP/1.1", BAD),
        (b"G /x HTTP/1.1", BAD),
        (b"GE\x00T /x HTTP/1.1", CHARS),
        (b"GET", BAD),
        (b"GET /x HTTP/01.1", BAD),
        (b"GET /x HTTP/1.1x", BAD),
        (b"GET /x HTTP/a.b", BAD),
        (b"GET /x http/1.1", BAD),
        (b"GET /x FOO/1.1", BAD),
        (b"GET /x", LOW),
        (b"GET /x HTTP/1.0", LOW),
        (b"GET /x HTTP/0.9", LOW),
        (b"GET /x HTTP/1.2", LOW),
        (b"PRI * HTTP/2.0", BAD),
        (b"CONNECT b HTTP/1.1", URL),
        (b"CONNECT b:80x HTTP/1.1", URL),
        (b"CONNECT b:99999 HTTP/1.1", URL),
        (b"CONNECT :80 HTTP/1.1", URL),
        (b"CONNECT http://b:80 HTTP/1.1", URL),
        (b"CONNECT /x HTTP/1.1", URL),
    ],
)
def test_request_lines_that_are_refused(line: bytes, expected: tuple[int, str]) -> None:
    assert verdict(request(line)) == expected


@pytest.mark.parametrize("raw", [b"\x16\x03\x01", b"\x00", b"{", b"\xff"])
def test_other_protocols_are_refused_at_their_first_byte(raw: bytes) -> None:
    assert verdict(raw) == BAD


def test_empty_lines_before_a_request_are_skipped() -> None:
    parser = make()
    data = Buffer(b"\r\n\n\r")
    assert events(parser, data) == []
    assert not parser.in_message
    data.append(get())
    assert events(parser, data)[0][0] == "headers"


def test_custom_methods_when_allowed() -> None:
    assert headers_of(request(b"FoO /x HTTP/1.1"), allow_custom_methods=True)[0] == (b":method", b"FoO")
    assert verdict(request(b"F(O /x HTTP/1.1"), allow_custom_methods=True) == BAD


@pytest.mark.parametrize("host", [b"", b"a:80", b"u@a", b"a,b", b"[::1]", b"a%b!$&'()*+;=~._-"])
def test_hosts_that_pass(host: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    assert dict(headers_of(raw))[b":authority"] == host


@pytest.mark.parametrize("byte", [bytes([c]) for c in b'"#/<>?\\^`{|} \t\x80\xff'])
def test_hosts_that_do_not(byte: bytes) -> None:
    assert verdict(b"GET / HTTP/1.1\r\nHost: a" + byte + b"b\r\n\r\n") == AUTHORITY


def test_host_rules() -> None:
    assert dict(headers_of(get(b"Host: b")))[b":authority"] == b"a,b"
    assert b":authority" not in dict(headers_of(b"GET / HTTP/1.1\r\n\r\n"))
    both = dict(headers_of(request(b"GET http://b/ HTTP/1.1", b"Host: c")))
    assert both[b":authority"] == b"b"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([b"NoColon"], BAD),
        ([b": v"], BAD),
        ([b"X Y: 1"], BAD),
        ([b"X : 1"], BAD),
        ([b"X\xff: 1"], BAD),
        ([b"X(: 1"], BAD),
        ([b":path: /x"], BAD),
        ([b"X\x01: 1"], CHARS),
        ([b"X: a\x00b"], CHARS),
        ([b"X: a\x01b"], CHARS),
        ([b"X: a\x0bb"], CHARS),
        ([b"X: a\x7fb"], CHARS),
        ([b"X: long enough for words \x1f here"], CHARS),
        ([b"X: a\rb"], CHARS),
        ([b"X: a\r"], CHARS),
        ([b"Content-Length: 3", b"Content-Length: 3"], BAD),
        ([b"Content-Length: 3, 3"], BAD),
        ([b"Content-Length:"], BAD),
        ([b"Content-Length: +3"], BAD),
        ([b"Content-Length: -3"], BAD),
        ([b"Content-Length: 0x3"], BAD),
        ([b"Content-Length: 1_0"], BAD),
        ([b"Content-Length: 1 0"], BAD),
        (["Content-Length: \u0663".encode()], BAD),
        ([b"Content-Length: 9223372036854775808"], BAD),
        ([b"Content-Length: 18446744073709551616"], BAD),
        ([b"Content-Length: 3", b"Transfer-Encoding: chunked"], BOTH),
        ([b"Transfer-Encoding: gzip", b"Content-Length: 3"], BOTH),
        ([b"Transfer-Encoding: identity"], CODING),
        ([b"Transfer-Encoding:"], CODING),
        ([b"Transfer-Encoding: gzip, chunked"], CODING),
        ([b"Transfer-Encoding: chunked, chunked"], CODING),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], CODING),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], CODING),
        ([b"Transfer-Encoding: \x0bchunked"], CHARS),
        ([b"Connection: x-forwarded-for"], CONNECTION),
        ([b"Connection: close, X-Forwarded-Host"], CONNECTION),
        ([b"Connection: x-forwarded-proto"], CONNECTION),
        ([b"Connection: :path"], CONNECTION),
        ([b"Connection: " + b",".join(b"a%d" % i for i in range(10))], CONNECTION),
        ([b"Connection: te", b"TE: " + b"a" * 256], CONNECTION),
    ],
)
def test_fields_that_are_refused(fields: list[bytes], expected: tuple[int, str]) -> None:
    assert verdict(post(*fields)) == expected


def test_a_line_that_begins_with_a_blank_needs_one_to_continue() -> None:
    assert verdict(b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n") == BAD
    assert verdict(b"GET / HTTP/1.1\r\nHost: a\r\n X: 1\r\n\r\n") == AUTHORITY


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([b"X: a", b" b"], b"a b"),
        ([b"X: a", b"\t  b ", b" c"], b"a\t  b  c"),
        ([b"X:", b" b"], b"b"),
        ([b"X: a", b" ", b" b"], b"a  b"),
    ],
)
def test_folded_lines_are_joined(lines: list[bytes], value: bytes) -> None:
    assert headers_of(get(*lines))[-1] == (b"x", value)


def test_bare_line_feeds_may_end_the_lines_of_a_head() -> None:
    assert headers_of(b"GET / HTTP/1.1\nHost: a\nX: 1\n\n")[-1] == (b"x", b"1")


def test_limits() -> None:
    line = len(get(b"X: "))
    assert headers_of(get(b"X: " + b"a" * (60 * 1024 - line)))
    assert verdict(get(b"X: " + b"a" * (60 * 1024 - line + 1))) == LARGE
    assert verdict(b"G" * (60 * 1024 + 1)) == LARGE
    assert verdict(get(b"X: " + b"a" * 900), max_head_bytes=512) == LARGE
    assert headers_of(get(*[b"x: 1"] * 99))
    assert verdict(get(*[b"x: 1"] * 100)) == MANY
    assert verdict(get(*[b"x: 1"] * 5), max_headers_count=5) == MANY


def test_underscores() -> None:
    raw = get(b"X_Y: 1", b"Z: 2")
    assert len(headers_of(raw)) == 5
    assert verdict(raw, underscore_action=1) == (400, "http1.unexpected_underscore")
    parser = make(underscore_action=2)
    assert events(parser, Buffer(raw))[0][1][-1] == (b"z", b"2")
    assert len(parser.headers) == 4
    assert parser.dropped_underscores == 1


def test_fields_that_are_held_once_are_joined() -> None:
    raw = get(b"accept: 1", b"cookie: a", b"ACCEPT: 2", b"cookie: b", b"x-y: 1", b"x-y: 2", b"accept:", b"Accept: 3")
    parser = make(max_headers_count=6)
    events(parser, Buffer(raw))
    assert parser.headers.get_all(b"accept") == [b"1,2,,3"]
    assert parser.headers.get_all(b"cookie") == [b"a", b"b"]
    assert parser.headers.get_all(b"x-y") == [b"1", b"2"]


def test_thousands_of_lines_are_joined_in_place() -> None:
    parser = make(max_headers_count=400)
    events(parser, Buffer(get(b"a: b", *[b"accept: %d" % number for number in range(3000)])))
    assert parser.headers.get_all(b"accept") == [b",".join([b"%d" % number for number in range(3000)])]
    assert parser.headers.get(b"a") == b"b"
    assert len(parser.headers) == 5


def test_lines_that_are_joined_are_not_without_limit() -> None:
    lines = [b"accept: 1"] * 34
    assert verdict(get(*lines), max_headers_count=4)[0] == 431
    parser = make(max_headers_count=4)
    events(parser, Buffer(get(*lines[:33])))
    assert len(parser.headers) == 4


@pytest.mark.parametrize(
    ("fields", "upgrade", "value"),
    [
        ((b"Upgrade: websocket",), False, None),
        ((b"Upgrade: WebSocket",), True, b"WebSocket"),
        ((b"Upgrade: websocket, other",), True, b"other"),
        ((b"Upgrade: other , websocket,third",), True, b"other,third"),
        ((b"Upgrade: h2c",), False, None),
    ],
)
def test_upgrades_that_are_to_be_ignored(fields: tuple[bytes, ...], upgrade: bool, value: bytes | None) -> None:
    parser = make(ignored_upgrades=(ExactMatcher(b"websocket"),))
    events(parser, Buffer(get(b"Connection: upgrade", *fields)))
    assert parser.upgrade is upgrade
    assert parser.headers.get(b"upgrade") == value


def test_the_case_of_names_is_kept_on_request() -> None:
    parser = make(keep_case=True)
    events(parser, Buffer(get(b"X-FoO: 1")))
    assert parser.headers.original_name(3) == b"X-FoO"


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ([b"Connection: X-A, keep-alive", b"X-A: 1"], [(b"connection", b"X-A, keep-alive")]),
        ([b"Connection: X-A", b"Connection: X-B", b"X-A: 1", b"X-B: 2"], [(b"connection", b"X-A,X-B")]),
        ([b"Connection: te", b"TE: trailers"], [(b"connection", b"te"), (b"te", b"trailers")]),
        ([b"Connection: te", b"TE: gzip, trailers"], [(b"connection", b"te"), (b"te", b"trailers")]),
        ([b"Connection: te", b"TE: gzip"], [(b"connection", b"te")]),
        ([b"Connection: content-length", b"Content-Length: 0"], [(b"connection", b"content-length")]),
    ],
)
def test_nominated_fields_are_removed(fields: list[bytes], left: list[tuple[bytes, bytes]]) -> None:
    assert headers_of(get(*fields))[3:] == left


def test_host_may_be_nominated_away() -> None:
    assert b":authority" not in dict(headers_of(get(b"Connection: host")))


@pytest.mark.parametrize(
    ("raw", "options", "keep"),
    [
        (get(), {}, True),
        (get(b"Connection: close"), {}, False),
        (get(b"Connection: foo, CLOSE"), {}, False),
        (request(b"GET / HTTP/1.0"), {"accept_http_10": True}, False),
        (request(b"GET / HTTP/1.0", b"Connection: Keep-Alive"), {"accept_http_10": True}, True),
        (request(b"GET / HTTP/1.0", b"Connection: x"), {"accept_http_10": True}, False),
    ],
)
def test_keep_alive(raw: bytes, options: dict[str, Any], keep: bool) -> None:
    parser = make(**options)
    assert events(parser, Buffer(raw))[0][0] == "headers"
    assert parser.keep_alive is keep


def test_http_10() -> None:
    parser = make(accept_http_10=True, default_host=b"def.host")
    assert dict(events(parser, Buffer(b"GET / HTTP/1.0\r\n\r\n"))[0][1])[b":authority"] == b"def.host"
    assert parser.http10
    raw = b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert events(parser, Buffer(raw))[-1] == ("complete",)
    assert not parser.keep_alive


def test_a_body_with_length() -> None:
    data = Buffer(post(b"Content-Length: 003", body=b"abcGET"))
    found = events(make(), data)
    assert found[0][2] is False
    assert (b"content-length", b"003") in found[0][1]
    assert found[1:] == [("data", b"abc", True)]
    assert data.peek() == b"GET"


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"00000003\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"A\r\n0123456789\r\n1;x=y\r\na\r\n0;z\r\n\r\n", b"0123456789a"),
        (b'3 ; a = "b"\r\nabc\r\n000\r\n\r\n', b"abc"),
        (b"3 \t\r\nabc\r\n0\r\nT: 1\r\nContent-Length: 9\r\n\r\n", b"abc"),
    ],
)
def test_chunked_bodies(chunks: bytes, body: bytes) -> None:
    found = parse(post(b"Transfer-Encoding: Chunked", body=chunks))
    assert b"".join(event[1] for event in found if event[0] == "data") == body
    assert found[-1] in (("complete",), ("data", body, True))


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n", b"\r\n", b";\r\n", b"0x3\r\nabc", b"+3\r\nabc", b"-3\r\nabc", b"0_3\r\nabc", b" 3\r\nabc",
        b"3 a\r\nabc", b"3\nabc", b"3\rabc", b"3;a=b\nabc", b"3;a=\x01\r\nabc", b"fffffffffffffffff\r\na",
        b"3\r\nabcX\r\n", b"3\r\nabc\n0\r\n", b"3\r\nabc0\r\n", b"0\n\n", b"3;" + b"a" * 17000,
        "\uff13\r\nabc".encode(), b"0\r\nX Y: 1\r\n\r\n", b"0\r\nNoColon\r\n\r\n",
    ],
)  # fmt: skip
def test_chunks_that_are_refused(chunks: bytes) -> None:
    """Stricter than Envoy: line feeds alone, a digit behind a blank, endless extensions."""
    assert verdict(post(b"Transfer-Encoding: chunked", body=chunks)) == BAD


def test_trailers() -> None:
    raw = post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nT: 1\r\nHost: x\r\nU: 2\r\n\r\n")
    assert parse(raw)[-1] == ("complete",)
    assert parse(raw, enable_trailers=True)[1:] == [
        ("data", b"abc", False),
        ("trailers", [(b"t", b"1"), (b"u", b"2")]),
    ]


@pytest.mark.parametrize(
    ("trailers", "enabled", "expected"),
    [
        (b"T: \x01\r\n", False, CHARS),
        (b"T: " + b"a" * 70000, False, LARGE),
        (b"T: a\r\n" * 101, True, MANY),
        (b"T: a\r\n" * 101, False, None),
    ],
)
def test_limits_of_trailers(trailers: bytes, enabled: bool, expected: tuple[int, str] | None) -> None:
    raw = post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")
    if expected is None:
        assert parse(raw, enable_trailers=enabled)[-1] == ("complete",)
    else:
        assert verdict(raw, enable_trailers=enabled) == expected


def test_length_and_coding_when_allowed() -> None:
    raw = post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    found = parse(raw, allow_chunked_length=True)
    assert b"content-length" not in dict(found[0][1])
    assert found[-1] == ("complete",)


def test_connect() -> None:
    data = Buffer(request(b"CONNECT b:80 HTTP/1.1", b"Content-Length: 0") + b"early")
    parser = make()
    assert events(parser, data) == [("headers", [(b":method", b"CONNECT"), (b":authority", b"b:80")], False)]
    assert parser.upgrade and parser.connect
    assert data.peek() == b"early"
    parser.open_tunnel()
    assert events(parser, data) == [("data", b"early", False)]
    assert verdict(request(b"CONNECT b:80 HTTP/1.1", b"Content-Length: 3")) == (400, "http1.body_disallowed")
    assert verdict(request(b"CONNECT b:80 HTTP/1.1", b"Transfer-Encoding: chunked")) == CODING


def test_upgrades_hold_what_follows() -> None:
    data = Buffer(get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", body=b"early"))
    parser = make()
    assert events(parser, data)[0][2] is False
    assert parser.upgrade
    assert parser.advance(data) == UPGRADE
    parser.open_tunnel()
    assert events(parser, data) == [("data", b"early", False)]
    assert parser.finish() == NEED_MORE


def test_an_upgrade_keeps_what_connection_nominates() -> None:
    found = parse(get(b"X-A: 1", b"Connection: x-a, Upgrade, x-forwarded-for", b"Upgrade: websocket"))
    assert (b"x-a", b"1") in found[0][1]
    assert found[0][2] is False


def test_an_empty_upgrade_field_is_one() -> None:
    parser = make()
    assert events(parser, Buffer(get(b"Connection: Upgrade", b"Upgrade:")))[0][2] is False
    assert parser.upgrade


def test_h2c_and_lonely_upgrade_fields_are_no_upgrades() -> None:
    found = parse(get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"))
    assert found == [("headers", [*headers_of(get()), (b"connection", b"Upgrade, HTTP2-Settings")], True)]
    assert parse(get(b"Upgrade: websocket"))[0][2] is True


def test_expect_continue_is_seen() -> None:
    parser = make()
    events(parser, Buffer(post(b"Expect: 100-Continue", b"Content-Length: 3")))
    assert parser.expect_continue


def test_the_end_of_the_connection() -> None:
    parser = make()
    assert parser.finish() == NEED_MORE
    parser.advance(Buffer(b"GET / HT"))
    assert parser.in_message
    assert parser.finish() == ERROR
    assert parser.advance(Buffer(b"TP/1.1\r\n\r\n")) == ERROR


def test_pipelined_requests_come_one_by_one() -> None:
    data = Buffer(get(b"X: 1") + post(b"Content-Length: 2", body=b"hi") + get(b"X: 2"))
    parser = make()
    assert events(parser, data)[0][1][-1] == (b"x", b"1")
    assert events(parser, data)[-1] == ("data", b"hi", True)
    assert events(parser, data)[0][1][-1] == (b"x", b"2")
    assert len(data) == 0


def test_what_is_not_taken_out_of_the_body_is_dropped() -> None:
    parser = make()
    data = Buffer(post(b"Content-Length: 6", body=b"abc"))
    assert parser.advance(data) == HEADERS
    assert parser.advance(data) == DATA
    data.append(b"def")
    assert parser.advance(data) == DATA
    assert parser.body.peek() == b"def"
    assert parser.message_bytes == len(post(b"Content-Length: 6", body=b"abcdef"))
