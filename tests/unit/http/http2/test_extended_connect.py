"""Upgrades and CONNECT as HTTP/2 has them."""

from __future__ import annotations

from proxeny.http.http2.extended_connect import as_connect, as_extended_connect, as_upgraded
from proxeny.kernel.headers import HeaderMap

HEAD = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/chat")]


def test_an_upgrade_becomes_an_extended_connect() -> None:
    request = HeaderMap([*HEAD, (b"connection", b"Upgrade"), (b"upgrade", b"websocket"), (b"content-length", b"0")])
    sent = as_extended_connect(request)
    assert sorted(sent.items()) == sorted([(b":method", b"CONNECT"), *HEAD[1:], (b":protocol", b"websocket")])
    # A retry begins with the request as it was.
    assert request.get(b"upgrade") == b"websocket"
    assert request.get(b":method") == b"GET"


def test_a_length_that_says_something_stays() -> None:
    request = HeaderMap([*HEAD, (b"connection", b"upgrade"), (b"upgrade", b"x"), (b"content-length", b"5")])
    assert as_extended_connect(request).get(b"content-length") == b"5"


def test_connect_has_neither_scheme_nor_path() -> None:
    request = HeaderMap([(b":method", b"CONNECT"), *HEAD[1:], (b"x", b"1")])
    sent = as_connect(request)
    assert sent.items() == [(b":method", b"CONNECT"), (b":authority", b"a"), (b"x", b"1")]
    assert b":path" in request


def test_a_200_becomes_a_101() -> None:
    response = HeaderMap([(b":status", b"200"), (b"x", b"1")])
    as_upgraded(response, b"websocket")
    assert response.items() == [
        (b":status", b"101"),
        (b"x", b"1"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    ]
