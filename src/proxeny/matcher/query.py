"""``envoy.config.route.v3.QueryParameterMatcher`` (Envoy: ``ConfigUtility::matchQueryParams``).

Names and values are compared as they were sent, without percent-decoding; of a repeated parameter the first counts.
"""

from __future__ import annotations

from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.matcher.string import StringMatcher, compile_string_matcher, quoted


class QueryParameterMatcher:
    """One parameter: its presence or absence, or its first value."""

    __slots__ = ("name", "value_matcher", "wanted")

    def __init__(self, name: bytes, value_matcher: StringMatcher | None, wanted: bool = True) -> None:
        self.name = name
        self.value_matcher = value_matcher
        self.wanted = wanted

    def matches(self, parameters: dict[bytes, bytes]) -> bool:
        """True on a match against ``parse_query``'s result."""
        value = parameters.get(self.name)
        if self.value_matcher is None:
            return (value is not None) == self.wanted
        return value is not None and self.value_matcher.match(value)

    def failure(self, parameters: dict[bytes, bytes]) -> str:
        """Why it does not match, for people."""
        value = parameters.get(self.name)
        actual = "is absent" if value is None else f"is {quoted(value)}"
        if self.value_matcher is None:
            wanted = "present" if self.wanted else "absent"
        else:
            wanted = self.value_matcher.describe()
        return f"query parameter {self.name.decode('latin-1')} {actual}, not {wanted}"


def parse_query(path: bytes) -> dict[bytes, bytes]:
    """First values by name of a ``:path``'s query string; a parameter without ``=`` has an empty value."""
    start = path.find(b"?")
    if start < 0:
        return {}
    parameters: dict[bytes, bytes] = {}
    end = path.find(b"#", start)
    query = path[start + 1 : end] if end >= 0 else path[start + 1 :]
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        parameters.setdefault(name, value)
    return parameters


def compile_query_parameter_matcher(config: Any) -> QueryParameterMatcher:
    """A matcher for a ``QueryParameterMatcher`` message."""
    name = config.name.encode("utf-8")
    kind = config.WhichOneof("query_parameter_match_specifier")
    if kind == "string_match":
        return QueryParameterMatcher(name, compile_string_matcher(config.string_match))
    if kind == "present_match":
        return QueryParameterMatcher(name, None, config.present_match)
    if kind is None:
        return QueryParameterMatcher(name, None)
    raise ConfigError(f"QueryParameterMatcher: {kind} is not supported")
