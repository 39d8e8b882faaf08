"""``envoy.type.matcher.v3.StringMatcher`` over bytes (Envoy: ``Matchers::StringMatcherImpl``)."""

from __future__ import annotations

from typing import Any, Protocol

from proxeny.config.errors import ConfigError
from proxeny.matcher.regex import CompiledRegex


class StringMatcher(Protocol):
    """Says whether a value matches."""

    def match(self, value: bytes) -> bool:
        """True on a match."""

    def describe(self) -> str:
        """What it takes, for people: ``'value'``, ``prefix 'value'``."""


def quoted(value: bytes) -> str:
    """A value of the wire (Latin-1), as people are shown it."""
    return repr(value.decode("latin-1"))


class ExactMatcher:
    """The whole value."""

    __slots__ = ("expected",)

    words = ""

    def __init__(self, expected: bytes) -> None:
        self.expected = expected

    def match(self, value: bytes) -> bool:
        """True on a match."""
        return value == self.expected

    def describe(self) -> str:
        """For people."""
        return self.words + quoted(self.expected)


class PrefixMatcher(ExactMatcher):
    """The value's beginning."""

    __slots__ = ()

    words = "prefix "

    def match(self, value: bytes) -> bool:
        """True on a match."""
        return value.startswith(self.expected)


class SuffixMatcher(ExactMatcher):
    """The value's end."""

    __slots__ = ()

    words = "suffix "

    def match(self, value: bytes) -> bool:
        """True on a match."""
        return value.endswith(self.expected)


class ContainsMatcher(ExactMatcher):
    """Anywhere in the value."""

    __slots__ = ()

    words = "containing "

    def match(self, value: bytes) -> bool:
        """True on a match."""
        return self.expected in value


class IgnoreCase:
    """Another matcher (whose pattern is lower-case) over the value's ASCII lower case."""

    __slots__ = ("inner",)

    def __init__(self, inner: StringMatcher) -> None:
        self.inner = inner

    def match(self, value: bytes) -> bool:
        """True on a match."""
        return self.inner.match(value.lower())

    def describe(self) -> str:
        """For people."""
        return f"{self.inner.describe()} (case ignored)"


_LITERAL_KINDS: dict[str, type[ExactMatcher]] = {
    "exact": ExactMatcher,
    "prefix": PrefixMatcher,
    "suffix": SuffixMatcher,
    "contains": ContainsMatcher,
}


def compile_string_matcher(config: Any) -> StringMatcher:
    """A matcher for a ``StringMatcher`` message; ConfigError in Envoy's words."""
    kind = config.WhichOneof("match_pattern")
    literal = _LITERAL_KINDS.get(kind)
    if literal is not None:
        expected = getattr(config, kind).encode("utf-8")
        return IgnoreCase(literal(expected.lower())) if config.ignore_case else literal(expected)
    if kind == "safe_regex":
        if config.ignore_case:
            raise ConfigError("ignore_case has no effect for safe_regex.")
        return CompiledRegex(config.safe_regex.regex)
    if kind == "custom":
        type_url = config.custom.typed_config.type_url.rpartition("/")[2]
        raise ConfigError(
            f"Didn't find a registered implementation for '{config.custom.name}' with type URL: '{type_url}'"
        )
    raise ConfigError("StringMatcher: match_pattern is required")
