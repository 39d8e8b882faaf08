"""Cookies: read from requests, made for responses."""

from __future__ import annotations

import pytest

from proxeny.http.cookies import cookie_value, make_set_cookie
from proxeny.kernel.headers import HeaderMap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a=1", b"1"),
        (b"b=2; a=1", b"1"),
        (b"b=2;a=1", b"1"),
        (b'a="x y"', b"x y"),
        (b'a="', b'"'),
        (b"a=1; a=2", b"1"),
        (b"a=b=c", b"b=c"),
        (b"a; a=1", b"1"),
        (b"A=1", b""),
        (b"a =1", b""),
        (b"", b""),
    ],
)
def test_values(text: bytes, expected: bytes) -> None:
    assert cookie_value(HeaderMap(((b"cookie", text),)), b"a") == expected


def test_several_headers() -> None:
    assert cookie_value(HeaderMap(((b"cookie", b"b=1"), (b"cookie", b"a=2"))), b"a") == b"2"


def test_made_cookies() -> None:
    assert make_set_cookie(b"n", b"v", b"", 0) == b'n="v"; HttpOnly'
    attributes = ((b"SameSite", b"Lax"), (b"Secure", b""))
    assert (
        make_set_cookie(b"n", b"v", b"/", 9, attributes) == b'n="v"; Max-Age=9; Path=/; SameSite=Lax; Secure; HttpOnly'
    )
