"""Headers to add and remove, at the levels of route configuration, virtual host, route and weighted cluster
(Envoy: ``Router::HeaderParser``).

Within one level: removals first; then all values are computed from the headers as they are; then overwrites, then
additions. The levels follow one another from the most specific to the least, so that the least specific has the last
word, unless ``most_specific_header_mutations_wins`` turns the order around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

APPEND_IF_EXISTS_OR_ADD: Final = 0
ADD_IF_ABSENT: Final = 1
OVERWRITE_IF_EXISTS_OR_ADD: Final = 2
OVERWRITE_IF_EXISTS: Final = 3

SINGLE_VALUE_HEADERS: Final = frozenset(
    b"""x-client-trace-id x-envoy-downstream-service-cluster x-envoy-downstream-service-node x-envoy-external-address
    x-envoy-force-trace x-envoy-hedge-on-per-try-timeout x-envoy-internal x-envoy-ip-tags x-envoy-is-timeout-retry
    x-envoy-max-retries x-envoy-original-path x-envoy-original-url x-envoy-retriable-header-names
    x-envoy-retriable-status-codes x-envoy-retry-on x-envoy-retry-grpc-on x-envoy-upstream-alt-stat-name
    x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-stream-duration-ms
    expect x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto grpc-timeout te
    user-agent x-envoy-expected-rq-timeout-ms x-envoy-upstream-rq-timeout-ms date x-envoy-degraded
    x-envoy-immediate-health-check-fail x-envoy-ratelimited x-envoy-upstream-canary
    x-envoy-upstream-healthchecked-cluster location server x-envoy-upstream-service-time connection content-type
    x-envoy-decorator-operation keep-alive proxy-connection proxy-status x-request-id transfer-encoding upgrade via
    content-length x-envoy-attempt-count grpc-message grpc-status""".split()
)
"""Headers that Envoy's map holds once (``header_map.h``): a further value is joined on by a comma."""

_LEGACY_METADATA: Final = re.compile(r"%(UPSTREAM|DYNAMIC)_METADATA\((\[[^%]*?\])\)%")
_LEGACY_STATE: Final = re.compile(r"%PER_REQUEST_STATE\(([^%]*?)\)%")
_JSON_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


def _translate_legacy(value: str) -> str:
    """Envoy's older spellings: metadata as a JSON list, PER_REQUEST_STATE for FILTER_STATE."""
    if "METADATA([" in value:
        value = _LEGACY_METADATA.sub(lambda m: f"%{m[1]}_METADATA({':'.join(_JSON_STRING.findall(m[2]))})%", value)
    if "%PER_REQUEST_STATE(" in value:
        value = _LEGACY_STATE.sub(r"%FILTER_STATE(\1:PLAIN)%", value)
    return value


def _compile_value(value: str) -> bytes | Any:
    """Constant bytes, or a formatter."""
    if "%" not in value:
        return value.encode("utf-8")
    without_escapes = value.replace("%%", "")
    if "%" not in without_escapes:
        return value.replace("%%", "%").encode("utf-8")
    from proxeny.formatter.substitution import compile as compile_formatter

    return compile_formatter(_translate_legacy(value), omit_empty_values=True)


def _is_protected(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


class HeaderEntry:
    """One header to add: its action, and its value as constant bytes or as a formatter."""

    __slots__ = ("action", "constant", "formatter", "keep_empty", "name")

    def __init__(self, option: Any) -> None:
        key = option.header.key
        if _is_protected(key):
            raise ConfigError(":-prefixed or host headers may not be modified")
        if option.HasField("append"):
            if option.append_action != APPEND_IF_EXISTS_OR_ADD:
                raise ConfigError("Both append and append_action are set and it's not allowed")
            self.action = APPEND_IF_EXISTS_OR_ADD if option.append.value else OVERWRITE_IF_EXISTS_OR_ADD
        else:
            self.action = option.append_action
        self.name = key.lower().encode("utf-8")
        self.keep_empty = option.keep_empty_value
        # Envoy does not look at raw_value here (asked of 1.40).
        value = _compile_value(option.header.value)
        self.constant: bytes | None = value if isinstance(value, bytes) else None
        self.formatter: Any = None if isinstance(value, bytes) else value

    def value(
        self, request_headers: HeaderMap | None, response_headers: HeaderMap | None, stream_info: StreamInfo
    ) -> bytes:
        """The value for one request or response."""
        value: Any = self.constant
        if value is None:
            value = self.formatter.format(request_headers, response_headers, None, stream_info)
            if isinstance(value, str):
                value = value.encode("utf-8", "surrogateescape")
        return value  # type: ignore[no-any-return]

    def apply(self, headers: HeaderMap, value: bytes) -> None:
        """Carry out the action on ``headers`` as they are now."""
        action = self.action
        if action == APPEND_IF_EXISTS_OR_ADD or (action == ADD_IF_ABSENT and self.name not in headers):
            _add(headers, self.name, value)
        elif action == OVERWRITE_IF_EXISTS_OR_ADD or (action == OVERWRITE_IF_EXISTS and self.name in headers):
            headers.set(self.name, value)


def _add(headers: HeaderMap, name: bytes, value: bytes) -> None:
    if name in SINGLE_VALUE_HEADERS:
        headers.append_value(name, value)
    else:
        headers.add(name, value)


class HeaderMutation:
    """One level's removals and additions. Immutable and shared by all requests."""

    __slots__ = ("_constants", "_entries", "_removals")

    def __init__(self, to_add: Iterable[Any], to_remove: Iterable[str]) -> None:
        """From ``HeaderValueOption`` messages and names; ConfigError in Envoy's words."""
        self._entries = tuple([HeaderEntry(option) for option in to_add])
        removals = list(to_remove)
        if any(_is_protected(name) for name in removals):
            raise ConfigError(":-prefixed or host headers may not be removed")
        self._removals = tuple([name.lower().encode("utf-8") for name in removals])
        self._constants = self._as_constants()

    def _as_constants(self) -> tuple[tuple[bytes, bytes, bool], ...] | None:
        """(name, value, overwrite) in the order of application, if nothing depends on the request."""
        plain = (APPEND_IF_EXISTS_OR_ADD, OVERWRITE_IF_EXISTS_OR_ADD)
        if any(entry.constant is None or entry.action not in plain for entry in self._entries):
            return None
        kept = [entry for entry in self._entries if entry.constant or entry.keep_empty]
        ordered = [e for e in kept if e.action == OVERWRITE_IF_EXISTS_OR_ADD] + [
            e for e in kept if e.action == APPEND_IF_EXISTS_OR_ADD
        ]
        return tuple([(e.name, e.constant or b"", e.action == OVERWRITE_IF_EXISTS_OR_ADD) for e in ordered])

    def evaluate(
        self,
        headers: HeaderMap,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        stream_info: StreamInfo,
    ) -> None:
        """Change ``headers``; the others are what formatters see."""
        if self._removals:
            headers.remove_many(self._removals)
        if self._constants is not None:
            for name, value, overwrite in self._constants:
                if overwrite:
                    headers.set(name, value)
                else:
                    _add(headers, name, value)
            return
        self._evaluate_formatted(headers, request_headers, response_headers, stream_info)

    def _evaluate_formatted(
        self,
        headers: HeaderMap,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        stream_info: StreamInfo,
    ) -> None:
        overwrites: list[tuple[bytes, bytes]] = []
        additions: list[tuple[bytes, bytes]] = []
        for entry in self._entries:
            value = entry.value(request_headers, response_headers, stream_info)
            if not value and not entry.keep_empty:
                continue
            action = entry.action
            if action == APPEND_IF_EXISTS_OR_ADD:
                additions.append((entry.name, value))
            elif action == ADD_IF_ABSENT:
                if entry.name not in headers:
                    additions.append((entry.name, value))
            elif action == OVERWRITE_IF_EXISTS_OR_ADD or entry.name in headers:
                overwrites.append((entry.name, value))
        for name, value in overwrites:
            headers.set(name, value)
        for name, value in additions:
            _add(headers, name, value)


def compile_mutation(to_add: Sequence[Any], to_remove: Sequence[str]) -> HeaderMutation | None:
    """One level's mutation, None when there is nothing to do."""
    if not to_add and not to_remove:
        return None
    return HeaderMutation(to_add, to_remove)


def combine(levels: Sequence[HeaderMutation | None], most_specific_wins: bool) -> tuple[HeaderMutation, ...]:
    """The levels that do something, in the order of application; ``levels`` run from most to least specific."""
    present = [level for level in levels if level is not None]
    return tuple(reversed(present)) if most_specific_wins else tuple(present)
