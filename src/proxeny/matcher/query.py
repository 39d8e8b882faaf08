"""``envoy.config.route.v3.QueryParameterMatcher`` (Envoy: ``ConfigUtility::matchQueryParams``).

Names and values are compared as they were sent, without percent-decoding; of a repeated parameter the first counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.string import StringMatcher, compile_string_matcher, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator


class QueryParameterMatcher:
    """One parameter: its presence or absence, or its first value."""

    __slots__ = ("name", "value_matcher", "wanted")

    def __init__(self, name: bytes, value_matcher: StringMatcher | None, wanted: bool = True) -> None:
        self.name = name
        self.value_matcher = value_matcher
        self.wanted = wanted

    def matches(self, parameters: QueryParameters) -> bool:
        """True on a match against ``parse_query``'s result."""
        value = parameters.get(self.name)
        if self.value_matcher is None:
            return (value is not None) == self.wanted
        return value is not None and self.value_matcher.match(value)

    def failure(self, parameters: QueryParameters) -> str:
        """Why it does not match, for people."""
        value = parameters.get(self.name)
        actual = "is absent" if value is None else f"is {quoted(value)}"
        if self.value_matcher is None:
            wanted = "present" if self.wanted else "absent"
        else:
            wanted = self.value_matcher.describe()
        return f"query parameter {self.name.decode('latin-1')} {actual}, not {wanted}"


class QueryParameters:
    """A query string: looked into, not taken apart, since thousands of parameters may be there and one be asked for."""

    __slots__ = ("_text",)

    def __init__(self, query: bytes) -> None:
        self._text = b"&" + query + b"&"

    def get(self, name: bytes) -> bytes | None:
        """The first value of that name; a parameter without ``=`` has an empty one."""
        text = self._text
        key = b"&" + name
        at = text.find(key + b"=")
        bare = text.find(key + b"&", 0, at + 1 if at >= 0 else len(text))
        if bare >= 0:
            return b""
        if at < 0:
            return None
        start = at + len(key) + 1
        return text[start : text.index(b"&", start)]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All parameters, in their order."""
        for pair in self._text[1:-1].split(b"&"):
            name, _, value = pair.partition(b"=")
            yield name, value


class NoParameters(QueryParameters):
    """There is no query."""

    __slots__ = ()

    def __init__(self) -> None:
        """Nothing to keep."""

    def get(self, name: bytes) -> bytes | None:
        """None."""
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """None."""
        return iter(())


NO_PARAMETERS: Final = NoParameters()


def parse_query(path: bytes) -> QueryParameters:
    """The parameters of a ``:path``'s query string."""
    start = path.find(b"?")
    if start < 0:
        return NO_PARAMETERS
    end = path.find(b"#", start)
    return QueryParameters(path[start + 1 : end] if end >= 0 else path[start + 1 :])


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
