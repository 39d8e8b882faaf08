"""``type.matcher.v3.ValueMatcher`` over JSON values (Envoy: Matchers::ValueMatcher)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.matcher.string import compile_string_matcher

ValueMatcher = Callable[[Any], bool]


def compile_value_matcher(config: Any) -> ValueMatcher:
    """A predicate over a value that is set; a value of another type than the matcher's never matches."""
    kind = config.WhichOneof("match_pattern")
    if kind == "null_match":
        return lambda value: value is None
    if kind == "present_match":
        return lambda value, wanted=config.present_match: wanted  # type: ignore[misc]
    if kind == "bool_match":
        return lambda value, wanted=config.bool_match: value is wanted  # type: ignore[misc]
    if kind == "double_match":
        return _double_matcher(config.double_match)
    if kind == "string_match":
        match = compile_string_matcher(config.string_match).match
        return lambda value: isinstance(value, str) and match(value.encode("utf-8", "surrogateescape"))
    if kind == "list_match":
        one_of = compile_value_matcher(config.list_match.one_of)
        return lambda value: isinstance(value, list) and any(one_of(item) for item in value)
    if kind == "or_match":
        matchers = tuple([compile_value_matcher(inner) for inner in config.or_match.value_matchers])
        return lambda value: any(matcher(value) for matcher in matchers)
    raise ConfigError("ValueMatcher: match_pattern is required")


def _double_matcher(config: Any) -> ValueMatcher:
    if config.WhichOneof("match_pattern") == "range":
        start, end = config.range.start, config.range.end
        return lambda value: _is_number(value) and start <= value < end
    exact = config.exact
    return lambda value: _is_number(value) and value == exact


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
