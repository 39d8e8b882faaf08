"""Cookies of a request as routes match them (Envoy: ``CookieMatcher`` of ``RouteMatch``, asked of 1.40).

Of a cookie that is sent twice the first counts. Blanks before a name are dropped, those behind it and around the value
are not; one pair of quotes around a value is. What has no ``=`` is no cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.matcher.string import StringMatcher, compile_string_matcher, quoted

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

_BLANKS: Final = b" \t\n\v\f\r"


def parse_cookies(headers: HeaderMap) -> dict[bytes, bytes]:
    """First values by name, of all ``cookie`` headers."""
    cookies: dict[bytes, bytes] = {}
    for header in headers.get_all(b"cookie"):
        for crumb in header.split(b";"):
            name, equals, value = crumb.lstrip(_BLANKS).partition(b"=")
            if equals and name not in cookies:
                quoted = len(value) > 1 and value.startswith(b'"') and value.endswith(b'"')
                cookies[name] = value[1:-1] if quoted else value
    return cookies


class CookieMatcher:
    """One cookie's value; a missing cookie matches where the matcher is inverted."""

    __slots__ = ("invert", "matcher", "name")

    def __init__(self, name: bytes, matcher: StringMatcher, invert: bool) -> None:
        self.name = name
        self.matcher = matcher
        self.invert = invert

    def matches(self, cookies: dict[bytes, bytes]) -> bool:
        """True on a match against ``parse_cookies``'s result."""
        value = cookies.get(self.name)
        return (value is not None and self.matcher.match(value)) is not self.invert

    def failure(self, cookies: dict[bytes, bytes]) -> str:
        """Why it does not match, for people."""
        value = cookies.get(self.name)
        actual = "is absent" if value is None else f"is {quoted(value)}"
        wanted = f"other than {self.matcher.describe()}" if self.invert else self.matcher.describe()
        return f"cookie {self.name.decode('latin-1')} {actual}, not {wanted}"


def compile_cookie_matcher(config: Any) -> CookieMatcher:
    """A matcher for a ``CookieMatcher`` message."""
    return CookieMatcher(config.name.encode("utf-8"), compile_string_matcher(config.string_match), config.invert_match)
