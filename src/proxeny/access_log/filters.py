"""Access log filters: which requests are logged (Envoy: access_log_impl.cc)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from envoy.data.accesslog.v3 import accesslog_pb2

from proxeny.access_log.value_matcher import ValueMatcher, compile_value_matcher
from proxeny.config.errors import ConfigError
from proxeny.formatter.http_commands import status_of
from proxeny.formatter.values import metadata_value
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.header import HeaderMatcher, compile_header_matcher
from proxeny.network.grpc_status import UNKNOWN
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag, StreamInfo

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

Headers = HeaderMap | None
_EMPTY = HeaderMap()
_HEX = frozenset(b"0123456789abcdefABCDEF")
_DENOMINATORS = (100, 10_000, 1_000_000)


class Filter(Protocol):
    """Says whether a request or connection is logged."""

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        """True: log it."""
        ...


class Comparison:
    """Compares a number with a configured value, which runtime may override."""

    __slots__ = ("_compare", "_key", "_runtime", "_value")

    _OPERATORS: tuple[Callable[[int, int], bool], ...] = (int.__eq__, int.__ge__, int.__le__, int.__ne__)

    def __init__(self, config: Any, runtime: Any) -> None:
        self._compare: Callable[[int, int], bool] = self._OPERATORS[config.op]
        self._value = config.value.default_value
        self._key = config.value.runtime_key
        self._runtime = runtime

    def __call__(self, number: int) -> bool:
        value = self._value
        if self._key and self._runtime is not None:
            value = self._runtime.get_integer(self._key, value)
        return self._compare(number, value)


class StatusCodeFilter:
    """By response code; 0 when there was none."""

    __slots__ = ("_compare",)

    def __init__(self, compare: Comparison) -> None:
        self._compare = compare

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return self._compare(info.response_code)


class DurationFilter:
    """By the total duration in milliseconds."""

    __slots__ = ("_compare",)

    def __init__(self, compare: Comparison) -> None:
        self._compare = compare

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return self._compare(((info.end_ns or time.monotonic_ns()) - info.start_ns) // 1_000_000)


class NotHealthCheckFilter:
    """All but health checks."""

    __slots__ = ()

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return not info.health_check


class TraceableFilter:
    """Only requests that are traced because a service asked for it (``http.tracing``); without tracing none is."""

    __slots__ = ()

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return info.tracing is not None and bool(info.tracing.is_forced(info))


class RuntimeFilter:
    """A fraction of the requests, the same ones in every proxy that sees their x-request-id."""

    __slots__ = ("_denominator", "_independent", "_key", "_numerator", "_runtime")

    def __init__(self, config: Any, runtime: Any) -> None:
        self._key = config.runtime_key
        self._numerator: int = config.percent_sampled.numerator
        self._denominator = _DENOMINATORS[config.percent_sampled.denominator]
        self._independent = config.use_independent_randomness
        self._runtime = runtime

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        request_id = None if self._independent or rq is None else rq.get(b"x-request-id")
        if request_id is not None and len(request_id) >= 8 and _HEX.issuperset(request_id[:8]):
            value = int(request_id[:8], 16)
        else:
            value = random.getrandbits(63)
        value %= self._denominator
        if self._runtime is None:
            return value < self._numerator
        return bool(self._runtime.feature_enabled(self._key, self._numerator, self._denominator, value))


class AndFilter:
    """All of the filters."""

    __slots__ = ("_filters",)

    def __init__(self, filters: tuple[Filter, ...]) -> None:
        self._filters = filters

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return all(one.evaluate(rq, rs, tr, info, log_type) for one in self._filters)


class OrFilter(AndFilter):
    """Any of the filters."""

    __slots__ = ()

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return any(one.evaluate(rq, rs, tr, info, log_type) for one in self._filters)


class HeaderFilter:
    """By a request header."""

    __slots__ = ("_matcher",)

    def __init__(self, matcher: HeaderMatcher) -> None:
        self._matcher = matcher

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return self._matcher.matches(_EMPTY if rq is None else rq)


class ResponseFlagFilter:
    """By any of some response flags, or by any flag at all."""

    __slots__ = ("_mask",)

    def __init__(self, names: list[str]) -> None:
        by_name = {flag.short: FLAG_BITS[flag] for flag in ResponseFlag}
        self._mask = 0 if names else -1
        for name in names:
            # PGV admits flags of Envoy's that nothing here ever sets.
            self._mask |= by_name.get(name, 0)

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return bool(info.flags & self._mask)


class GrpcStatusFilter:
    """By the gRPC status, Unknown when there is none; of a status that gRPC does not know none is meant."""

    __slots__ = ("_exclude", "_statuses")

    def __init__(self, config: Any) -> None:
        self._statuses = frozenset(config.statuses)
        self._exclude: bool = config.exclude

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        status = status_of(_EMPTY if rs is None else rs, _EMPTY if tr is None else tr, info)
        if status is None:
            status = UNKNOWN
        return (status in self._statuses) != self._exclude


class LogTypeFilter:
    """By the kind of record."""

    __slots__ = ("_exclude", "_types")

    def __init__(self, config: Any) -> None:
        self._types = frozenset(accesslog_pb2.AccessLogType.Name(number).encode() for number in config.types)
        self._exclude: bool = config.exclude

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        return (log_type in self._types) != self._exclude


class MetadataFilter:
    """By a value of the dynamic metadata; what is not there matches by default."""

    __slots__ = ("_default", "_matcher", "_namespace", "_path")

    def __init__(self, config: Any, matcher: ValueMatcher | None) -> None:
        self._namespace = config.matcher.filter
        self._path = tuple(segment.key for segment in config.matcher.path)
        self._matcher = matcher
        has_default = config.HasField("match_if_key_not_found")
        self._default = config.match_if_key_not_found.value if has_default else True

    def evaluate(self, rq: Headers, rs: Headers, tr: Headers, info: StreamInfo, log_type: bytes) -> bool:
        value = metadata_value(info.dynamic_metadata_map, self._namespace, self._path)
        if value is None:
            return bool(self._default)
        return self._matcher is not None and self._matcher(value)


def compile_filter(config: Any, context: FactoryContext) -> Filter:
    """A filter for an AccessLogFilter message; ConfigError in Envoy's words."""
    kind = config.WhichOneof("filter_specifier")
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple(getattr(config, kind), context.runtime)
    if kind in ("and_filter", "or_filter"):
        filters = tuple([compile_filter(inner, context) for inner in getattr(config, kind).filters])
        return AndFilter(filters) if kind == "and_filter" else OrFilter(filters)
    if kind == "extension_filter":
        extension = config.extension_filter
        type_name = extension.typed_config.type_url.rpartition("/")[2]
        raise ConfigError(
            f"Didn't find a registered implementation for '{extension.name}' with type URL: '{type_name}'"
        )
    raise ConfigError("AccessLogFilter: filter_specifier is required")


def _metadata_filter(config: Any) -> MetadataFilter:
    matcher = config.matcher
    return MetadataFilter(config, compile_value_matcher(matcher.value) if matcher.HasField("value") else None)


_SIMPLE: dict[str, Callable[[Any, Any], Filter]] = {
    "status_code_filter": lambda config, runtime: StatusCodeFilter(Comparison(config.comparison, runtime)),
    "duration_filter": lambda config, runtime: DurationFilter(Comparison(config.comparison, runtime)),
    "not_health_check_filter": lambda config, runtime: NotHealthCheckFilter(),
    "traceable_filter": lambda config, runtime: TraceableFilter(),
    "runtime_filter": RuntimeFilter,
    "header_filter": lambda config, runtime: HeaderFilter(compile_header_matcher(config.header)),
    "response_flag_filter": lambda config, runtime: ResponseFlagFilter(list(config.flags)),
    "grpc_status_filter": lambda config, runtime: GrpcStatusFilter(config),
    "log_type_filter": lambda config, runtime: LogTypeFilter(config),
    "metadata_filter": lambda config, runtime: _metadata_filter(config),
}
