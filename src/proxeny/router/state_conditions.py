"""Conditions of a route on what is known of a request beside its headers: TLS, dynamic metadata, filter state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.access_log.value_matcher import compile_value_matcher
from proxeny.config.errors import ConfigError
from proxeny.formatter.values import plain_filter_state
from proxeny.matcher.cidr import LongestPrefix, Range, parse_ip, parse_range
from proxeny.matcher.string import compile_string_matcher, quoted
from proxeny.network.address import Address

if TYPE_CHECKING:
    from proxeny.network.stream_info import StreamInfo


class StateCondition(Protocol):
    """One condition."""

    def matches(self, info: StreamInfo | None) -> bool:
        """Whether it holds; None: nothing is known."""

    def failure(self, info: StreamInfo | None) -> str:
        """Why it does not hold, for people."""


class TlsCondition:
    """``tls_context``: whether the client presented a certificate, and whether it was validated; None: either."""

    __slots__ = ("_presented", "_validated")

    def __init__(self, presented: bool | None, validated: bool | None) -> None:
        self._presented = presented
        self._validated = validated

    def matches(self, info: StreamInfo | None) -> bool:
        """On a plain-text connection there is no certificate."""
        return not self._misses(info)

    def failure(self, info: StreamInfo | None) -> str:
        """For people."""
        return f"the client's certificate is {' and '.join(self._misses(info))}"

    def _misses(self, info: StreamInfo | None) -> list[str]:
        ssl = None if info is None else info.connection.ssl
        misses = []
        if self._presented is not None:
            presented = ssl is not None and ssl.peer_certificate_presented
            if presented is not self._presented:
                misses.append("presented" if presented else "not presented")
        if self._validated is not None:
            validated = ssl is not None and ssl.peer_certificate_validated
            if validated is not self._validated:
                misses.append("validated" if validated else "not validated")
        return misses


_MISSING: Final = object()


class MetadataCondition:
    """``MetadataMatcher`` over dynamic metadata; a value that is missing matches where the matcher is inverted."""

    __slots__ = ("_filter", "_invert", "_matches", "_path")

    def __init__(self, config: Any) -> None:
        self._filter: str = config.filter
        self._path = tuple([segment.key for segment in config.path])
        self._matches = compile_value_matcher(config.value)
        self._invert: bool = config.invert

    def matches(self, info: StreamInfo | None) -> bool:
        """By the value as it is now."""
        value = self._value(None if info is None else info.dynamic_metadata_map)
        return (value is not _MISSING and self._matches(value)) is not self._invert

    def failure(self, info: StreamInfo | None) -> str:
        """For people."""
        value = self._value(None if info is None else info.dynamic_metadata_map)
        actual = "is absent" if value is _MISSING else f"is {value!r}"
        return f"dynamic metadata {'/'.join((self._filter, *self._path))} {actual}, which the route does not take"

    def _value(self, metadata: dict[str, Any] | None) -> Any:
        value: Any = metadata
        for key in (self._filter, *self._path):
            if not isinstance(value, dict) or key not in value:
                return _MISSING
            value = value[key]
        return value


class FilterStateText:
    """``FilterStateMatcher.string_match``: an object's text."""

    __slots__ = ("_key", "_matcher")

    def __init__(self, config: Any) -> None:
        self._key: str = config.key
        self._matcher = compile_string_matcher(config.string_match)

    def matches(self, info: StreamInfo | None) -> bool:
        """An object without text, or none, does not match."""
        text = self._text(info)
        return text is not None and self._matcher.match(text)

    def failure(self, info: StreamInfo | None) -> str:
        """For people."""
        text = self._text(info)
        actual = "has no text" if text is None else f"is {quoted(text)}"
        return f"filter state {self._key} {actual}, not {self._matcher.describe()}"

    def _text(self, info: StreamInfo | None) -> bytes | None:
        text = None if info is None else plain_filter_state(info.filter_state_map, self._key)
        return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


class FilterStateAddress:
    """``FilterStateMatcher.address_match``: an object that is an address, in one of several ranges."""

    __slots__ = ("_invert", "_key", "_ranges")

    def __init__(self, config: Any) -> None:
        self._key: str = config.key
        self._ranges = LongestPrefix([(_range(cidr), True) for cidr in config.address_match.ranges])
        self._invert: bool = getattr(config.address_match, "invert_match", False)

    def matches(self, info: StreamInfo | None) -> bool:
        """Only addresses match."""
        state = None if info is None else info.filter_state_map
        address = None if state is None else state.get(self._key)
        packed = parse_ip(address.ip) if isinstance(address, Address) and not address.is_pipe else None
        return packed is not None and (self._ranges.get(packed) is not None) is not self._invert

    def failure(self, info: StreamInfo | None) -> str:
        """For people."""
        state = None if info is None else info.filter_state_map
        return f"filter state {self._key} is {None if state is None else state.get(self._key)}, no wanted address"


def _range(cidr: Any) -> Range:
    if parse_ip(cidr.address_prefix) is None:
        combination = f"{cidr.address_prefix}/{cidr.prefix_len.value}"
        raise ConfigError(f"invalid ip/mask combo '{combination}' (format is <ip>/<# mask bits>)")
    return parse_range(cidr)


def compile_state_conditions(match: Any) -> tuple[StateCondition, ...]:
    """All of a ``RouteMatch`` message; ConfigError in Envoy's words."""
    conditions: list[StateCondition] = []
    if match.HasField("tls_context"):
        asked = match.tls_context
        presented = asked.presented.value if asked.HasField("presented") else None
        validated = asked.validated.value if asked.HasField("validated") else None
        if presented is not None or validated is not None:
            conditions.append(TlsCondition(presented, validated))
    conditions += [MetadataCondition(config) for config in match.dynamic_metadata]
    for config in match.filter_state:
        kind = config.WhichOneof("matcher")
        if kind is None:
            raise ConfigError("FilterStateMatcher: matcher is required")
        conditions.append(FilterStateText(config) if kind == "string_match" else FilterStateAddress(config))
    return tuple(conditions)
