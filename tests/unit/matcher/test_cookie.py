"""Cookies as routes match them; asked of Envoy 1.40."""

import pytest

from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.cookie import CookieMatcher, parse_cookies
from proxeny.matcher.string import ExactMatcher


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), {}),
        ((b"a=b; k=v",), {b"a": b"b", b"k": b"v"}),
        ((b"k=w; k=v",), {b"k": b"w"}),
        ((b"k=w", b"k=v; a=1"), {b"k": b"w", b"a": b"1"}),
        ((b"\t k= v ;b",), {b"k": b" v "}),
        ((b"k = v",), {b"k ": b" v"}),
        ((b'k="v"; l="; m=""',), {b"k": b"v", b"l": b'"', b"m": b""}),
        ((b"bare; k==v=;;",), {b"k": b"=v="}),
        ((b"\xa0k=v",), {b"\xa0k": b"v"}),
    ],
)
def test_parse(headers: tuple[bytes, ...], expected: dict[bytes, bytes]) -> None:
    assert parse_cookies(HeaderMap([(b"cookie", header) for header in headers])) == expected


def test_match() -> None:
    plain, inverted = (CookieMatcher(b"k", ExactMatcher(b"v"), invert) for invert in (False, True))
    for cookies, expected in (({b"k": b"v"}, True), ({b"k": b"w"}, False), ({}, False)):
        assert plain.matches(cookies) is expected
        assert inverted.matches(cookies) is not expected
    assert plain.failure({}) == "cookie k is absent, not 'v'"
    assert inverted.failure({b"k": b"v"}) == "cookie k is 'v', not other than 'v'"
