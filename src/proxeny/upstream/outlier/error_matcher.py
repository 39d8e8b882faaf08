"""``HttpProtocolOptions.outlier_detection``: which responses are errors, whatever their status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.config.errors import ConfigError
from proxeny.matcher.header import HeaderMatcher, compile_header_matchers, match_all

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap


class ErrorMatcher(Protocol):
    """Decides about the head of a response."""

    def matches(self, headers: HeaderMap) -> bool:
        """Whether the response is an error."""


class Fixed:
    """``any_match``; and what is decided by parts of the exchange that nobody shows it (requests, bodies)."""

    __slots__ = ("_verdict",)

    def __init__(self, verdict: bool) -> None:
        self._verdict = verdict

    def matches(self, headers: HeaderMap) -> bool:
        """Always the same."""
        return self._verdict


class ResponseHeaders:
    """``http_response_headers_match``: all of its header matchers."""

    __slots__ = ("_matchers",)

    def __init__(self, matchers: tuple[HeaderMatcher, ...]) -> None:
        self._matchers = matchers

    def matches(self, headers: HeaderMap) -> bool:
        """Whether all match."""
        return match_all(headers, self._matchers)


class Not:
    """``not_match``."""

    __slots__ = ("_rule",)

    def __init__(self, rule: ErrorMatcher) -> None:
        self._rule = rule

    def matches(self, headers: HeaderMap) -> bool:
        """Whether the rule does not match."""
        return not self._rule.matches(headers)


class Either:
    """``or_match`` (any rule) and ``and_match`` (all of them)."""

    __slots__ = ("_enough", "_rules")

    def __init__(self, rules: list[ErrorMatcher], enough: int) -> None:
        self._rules = rules
        self._enough = enough

    def matches(self, headers: HeaderMap) -> bool:
        """Whether enough rules match."""
        return sum([rule.matches(headers) for rule in self._rules]) >= self._enough


def compile(predicate: Any) -> ErrorMatcher:
    """From a ``common.matcher.v3.MatchPredicate``."""
    which = predicate.WhichOneof("rule")
    if which == "any_match":
        return Fixed(True)
    if which == "http_response_headers_match":
        return ResponseHeaders(compile_header_matchers(predicate.http_response_headers_match.headers))
    if which == "not_match":
        return Not(compile(predicate.not_match))
    if which == "or_match":
        return Either([compile(rule) for rule in predicate.or_match.rules], 1)
    if which == "and_match":
        rules = [compile(rule) for rule in predicate.and_match.rules]
        return Either(rules, len(rules))
    if which is None:
        raise ConfigError("MatchPredicateValidationError.Rule: field is required")
    headers = getattr(predicate, which)
    if which.endswith("headers_match") or which.endswith("trailers_match"):
        compile_header_matchers(headers.headers)
    return Fixed(False)
