"""The HTTP inspector: which request lines it takes for which version, byte by byte; how much it reads."""

from __future__ import annotations

import pytest
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from tests.unit.extensions.listener_filters.accepted import Accepted, context, counters, splits

from proxeny.extensions.listener_filters.http_inspector import FACTORY, PREFACE, request_line_protocol


def inspect(*pieces: bytes, transport_protocol: str = "raw_buffer") -> tuple[Accepted, dict[str, int]]:
    made_in = context()
    accepted = Accepted(FACTORY.create_filter_factory(http_inspector_pb2.HttpInspector(), made_in).create())
    accepted.connection_info.transport_protocol = transport_protocol
    accepted.accept().receive(pieces)
    return accepted, {name.removeprefix("http_inspector."): count for name, count in counters(made_in).items()}


LINES = {
    b"GET / HTTP/1.1\r\n": "http/1.1",
    b"GET / HTTP/1.1\n": "http/1.1",
    b"GET  /\t HTTP/1.1 \r\n": "http/1.1",
    b"GET\t/\x01HTTP/1.1\r\n": "http/1.1",
    b"GET /\r HTTP/1.1\r\n": "http/1.1",
    b"GET /#a HTTP/1.1\r\n": "http/1.1",
    b"GET /HTTP/1.1\r\n": "http/1.1",
    b"get /a?b=c HTTP/1.1\r\n": "http/1.1",
    b"1M!#$%&'*+-.^_`|~ /a HTTP/1.1\r\n": "http/1.1",
    b"CONNECT a.b:80 HTTP/1.1\r\n": "http/1.1",
    b"CONNECT [::1]:80 HTTP/1.1\r\n": "http/1.1",
    b"OPTIONS * HTTP/1.1\r\n": "http/1.1",
    b"GET http://u:p@h:80/x?y HTTP/1.1\r\n": "http/1.1",
    b"GET http:// HTTP/1.1\r\n": "http/1.1",
    b"GET http://h/@@ HTTP/1.1\r\n": "http/1.1",
    b"GET / HTTP/1.0\r\n": "http/1.0",
    b"GET / HTTP/0.9\r\n": "http/1.0",
    b"GET / HTTP/2.0\r\n": "http/1.0",
    b"GET /\r\n": "http/1.0",
    b"PRI * HTTP/2.0\r\nx": "http/1.0",
    b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n": "http/1.0",
    PREFACE: "h2c",
    b"\r\nGET / HTTP/1.1\r\n": "",
    b"\nGET / HTTP/1.1\r\n": "",
    b" GET / HTTP/1.1\r\n": "",
    b"GET\n": "",
    b"GET \n": "",
    b"GET\x01/ HTTP/1.1\r\n": "",
    b"G(T / HTTP/1.1\r\n": "",
    b"GET a HTTP/1.1\r\n": "",
    b"GET http:/a HTTP/1.1\r\n": "",
    b"GET 1http://a HTTP/1.1\r\n": "",
    b"GET http://a@@b HTTP/1.1\r\n": "",
    b"GET http://a{ HTTP/1.1\r\n": "",
    b"CONNECT a@@b HTTP/1.1\r\n": "",
    b"GET /\xff HTTP/1.1\r\n": "",
    b"GET /a\x7f HTTP/1.1\r\n": "",
    b"GET / http/1.1\r\n": "",
    b"GET / HTTP/1.1x\r\n": "",
    b"GET / HTTP/11\r\n": "",
    b"GET / x HTTP/1.1\r\n": "",
    b"HTTP/1.1 200 OK\r\n": "",
    b"\x16\x03\x01\x00\x05\n": "",
    b"\xff\n": "",
}


@pytest.mark.parametrize(("line", "found"), LINES.items())
def test_request_lines_at_every_split(line: bytes, found: str) -> None:
    names = {"http/1.1": "http11_found", "http/1.0": "http10_found", "h2c": "http2_found", "": "http_not_found"}
    for pieces in splits(line + b"more"):
        accepted, counted = inspect(*pieces)
        assert accepted.passed
        assert accepted.connection_info.requested_application_protocols == ((found,) if found else ())
        assert counted == {names[found]: 1}
        assert accepted.there == line + b"more"


@pytest.mark.parametrize("start", [b"G", b"GET", b"GET ", b"GET nonsense \xff", b"P", PREFACE[:-1], b"hello there"])
def test_waits_for_the_end_of_the_line(start: bytes) -> None:
    for pieces in splits(start):
        accepted, counted = inspect(*pieces)
        assert not accepted.passed
        assert not accepted.closed
        assert counted == {}


@pytest.mark.parametrize("start", [b"\x00", b"GE:", b"\x80", b"G\x01", b"GET@", b"\r"])
def test_what_is_no_method_ends_it_early(start: bytes) -> None:
    for pieces in splits(start):
        accepted, counted = inspect(*pieces)
        assert accepted.passed
        assert counted == {"http_not_found": 1}


def test_encrypted_connections_are_left_alone() -> None:
    accepted, counted = inspect(transport_protocol="tls")
    assert accepted.passed
    assert counted == {}


@pytest.mark.parametrize(("size", "found"), [(65536, True), (65537, False), (100000, False)])
def test_the_longest_request_line(size: int, found: bool) -> None:
    line = b"GET /" + b"a" * (size - 16) + b" HTTP/1.1\r\n"
    for pieces in ([line], [line[:9000], line[9000:]], [line[at : at + 999] for at in range(0, size, 999)]):
        accepted, counted = inspect(*pieces)
        assert (accepted.passed, accepted.closed) == (found, not found)
        assert counted == ({"http11_found": 1} if found else {"read_error": 1})


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a" + b" " * 60000 + b"x",
        b"GET" + b" " * 60000,
        b"GET " + b"a" * 60000,
        b"GET http://" + b"@a" * 30000 + b"{",
        b"M" * 60000,
    ],
)
def test_hostile_lines_take_linear_time(line: bytes) -> None:
    """Quadratic matching would run into the time-out of tests."""
    for _ in range(100):
        assert request_line_protocol(line) is None
