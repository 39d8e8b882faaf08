"""What of a route's conditions an index can look up: a key for every condition on a header, parameter or cookie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from proxeny.matcher.header import ExactHeaderMatcher, HeaderMatcher, PresentMatcher, ValueMatcher
from proxeny.matcher.regex import CompiledRegex, containing
from proxeny.matcher.string import ContainsMatcher, ExactMatcher, IgnoreCase, PrefixMatcher, SuffixMatcher

if TYPE_CHECKING:
    from proxeny.matcher.cookie import CookieMatcher
    from proxeny.matcher.query import QueryParameterMatcher

EXACT: Final = "exact"
PREFIX: Final = "prefix"
SUFFIX: Final = "suffix"
REGEX: Final = "regex"
PRESENT: Final = "present"
ANY_CASE: Final = " in any case"
"""Behind the name of a test whose text is lower-case."""

HEADER: Final = "header"
QUERY: Final = "query"
COOKIE: Final = "cookie"

Key = tuple[str, bytes, str, bytes]
"""Some value of a header (parameter, cookie) of this name passes this test with this text."""

Used = frozenset[tuple[str, bytes, str]]
"""Keys without their texts."""

_LITERAL_TESTS: Final = {ExactMatcher: EXACT, PrefixMatcher: PREFIX, SuffixMatcher: SUFFIX}


def key_of_header(matcher: HeaderMatcher) -> Iterator[Key]:
    """Nothing for matchers that a header's absence satisfies."""
    if isinstance(matcher, ExactHeaderMatcher):
        yield HEADER, matcher.name, EXACT, matcher.expected
    elif isinstance(matcher, PresentMatcher):
        if matcher.wanted and not matcher.missing_is_present:
            yield HEADER, matcher.name, PRESENT, b""
    elif isinstance(matcher, ValueMatcher) and matcher.missing is None:
        yield HEADER, matcher.name, *((PRESENT, b"") if matcher.invert else _test_of(matcher.matcher))


def key_of_query(matcher: QueryParameterMatcher) -> Iterator[Key]:
    """Likewise."""
    if matcher.value_matcher is not None:
        yield QUERY, matcher.name, *_test_of(matcher.value_matcher)
    elif matcher.wanted:
        yield QUERY, matcher.name, PRESENT, b""


def key_of_cookie(matcher: CookieMatcher) -> Iterator[Key]:
    """Likewise."""
    if not matcher.invert:
        yield COOKIE, matcher.name, *_test_of(matcher.matcher)


def _test_of(matcher: object) -> tuple[str, bytes]:
    """The test that a string matcher makes; of any other matcher, that there is a value."""
    any_case = isinstance(matcher, IgnoreCase)
    inner = matcher.inner if isinstance(matcher, IgnoreCase) else matcher
    if isinstance(inner, CompiledRegex):
        return REGEX, inner.pattern
    if isinstance(inner, ContainsMatcher):
        return REGEX, containing(inner.expected, any_case)
    test = _LITERAL_TESTS.get(type(inner))  # type: ignore[arg-type]
    if test is None or not isinstance(inner, ExactMatcher):
        return PRESENT, b""
    return test + ANY_CASE if any_case else test, inner.expected
