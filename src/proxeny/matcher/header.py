"""``envoy.config.route.v3.HeaderMatcher`` (Envoy: ``Http::HeaderUtility::HeaderData``).

Of a repeated header any one value may match; inverted, none may. They are not joined, whatever older documentation
says. A missing header matches nothing, inverted or not, unless ``treat_missing_header_as_empty`` makes an empty value
of it (all asked of Envoy 1.40).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.matcher.integer import parse_int64
from proxeny.matcher.regex import CompiledRegex
from proxeny.matcher.string import (
    ContainsMatcher,
    ExactMatcher,
    PrefixMatcher,
    StringMatcher,
    SuffixMatcher,
    compile_string_matcher,
    quoted,
)

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap


class HeaderMatcher(Protocol):
    """Says whether a message's headers match."""

    name: bytes

    def matches(self, headers: HeaderMap) -> bool:
        """True on a match."""

    def describe(self) -> str:
        """What it asks of the header's value, for people."""


class PresentMatcher:
    """Presence (or absence) of a header."""

    __slots__ = ("missing_is_present", "name", "wanted")

    def __init__(self, name: bytes, wanted: bool, missing_is_present: bool) -> None:
        self.name = name
        self.wanted = wanted
        self.missing_is_present = missing_is_present

    def matches(self, headers: HeaderMap) -> bool:
        """True on a match."""
        return (self.missing_is_present or self.name in headers) == self.wanted

    def describe(self) -> str:
        """For people."""
        return "present" if self.wanted else "absent"


class ExactHeaderMatcher:
    """One value; the commonest kind, without a further call."""

    __slots__ = ("expected", "name")

    def __init__(self, name: bytes, expected: bytes) -> None:
        self.name = name
        self.expected = expected

    def matches(self, headers: HeaderMap) -> bool:
        """True on a match."""
        value = headers.get(self.name)
        if value is None or value == self.expected:
            return value is not None
        return self.expected in headers.get_all(self.name)

    def describe(self) -> str:
        """For people."""
        return quoted(self.expected)


class ValueMatcher:
    """A string matcher over every value."""

    __slots__ = ("invert", "matcher", "missing", "name", "value_matches")

    def __init__(self, name: bytes, matcher: StringMatcher, invert: bool, missing_is_empty: bool) -> None:
        self.name = name
        self.matcher = matcher
        self.value_matches = matcher.match
        self.invert = invert
        self.missing = b"" if missing_is_empty else None

    def matches(self, headers: HeaderMap) -> bool:
        """True on a match."""
        value = headers.get(self.name)
        if value is None:
            value = self.missing
            if value is None:
                return False
        if self.value_matches(value):
            return not self.invert
        others = headers.get_all(self.name)
        if len(others) > 1 and any(self.value_matches(other) for other in others):
            return not self.invert
        return self.invert

    def describe(self) -> str:
        """For people."""
        return f"other than {self.matcher.describe()}" if self.invert else self.matcher.describe()


class RangeMatcher:
    """A decimal int64 in [start, end)."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    def match(self, value: bytes) -> bool:
        """True on a match."""
        number = parse_int64(value)
        return number is not None and self.start <= number < self.end

    def describe(self) -> str:
        """For people."""
        return f"a number from {self.start} to below {self.end}"


class AnyValue:
    """Every value: what Envoy makes of an empty ``exact_match``."""

    __slots__ = ()

    def match(self, value: bytes) -> bool:
        """True on a match."""
        return True

    def describe(self) -> str:
        """For people."""
        return "any value"


_DEPRECATED_KINDS = {
    "exact_match": ExactMatcher,
    "prefix_match": PrefixMatcher,
    "suffix_match": SuffixMatcher,
    "contains_match": ContainsMatcher,
}


def compile_header_matcher(config: Any) -> HeaderMatcher:
    """A matcher for a ``HeaderMatcher`` message; ConfigError in Envoy's words."""
    name = config.name.lower().encode("utf-8")
    kind = config.WhichOneof("header_match_specifier")
    invert = config.invert_match
    missing_is_empty = config.treat_missing_header_as_empty
    if kind is None or kind == "present_match":
        wanted = True if kind is None else config.present_match
        return PresentMatcher(name, wanted != invert, missing_is_empty)
    matcher: StringMatcher
    if kind == "string_match":
        matcher = compile_string_matcher(config.string_match)
    elif kind == "safe_regex_match":
        matcher = CompiledRegex(config.safe_regex_match.regex)
    elif kind == "range_match":
        matcher = RangeMatcher(config.range_match.start, config.range_match.end)
    elif kind == "exact_match" and not config.exact_match:
        matcher = AnyValue()
    else:
        matcher = _DEPRECATED_KINDS[kind](getattr(config, kind).encode("utf-8"))
    if type(matcher) is ExactMatcher and not invert and not missing_is_empty:
        return ExactHeaderMatcher(name, matcher.expected)
    return ValueMatcher(name, matcher, invert, missing_is_empty)


def compile_header_matchers(configs: Iterable[Any]) -> tuple[HeaderMatcher, ...]:
    """Matchers that must all match."""
    return tuple([compile_header_matcher(config) for config in configs])


def failure(matcher: HeaderMatcher, headers: HeaderMap) -> str:
    """Why a matcher does not match, for people."""
    values = headers.get_all(matcher.name)
    actual = f"is {', '.join([quoted(value) for value in values])}" if values else "is absent"
    return f"header {matcher.name.decode('latin-1')} {actual}, not {matcher.describe()}"


def match_all(headers: HeaderMap, matchers: tuple[HeaderMatcher, ...]) -> bool:
    """Whether every matcher matches (none: True)."""
    for matcher in matchers:  # noqa: SIM110 - a generator per call costs more than the loop
        if not matcher.matches(headers):
            return False
    return True
