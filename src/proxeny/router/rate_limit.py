"""``RateLimit``: descriptors of a request, for filters that ask whether it is within its limits
(Envoy: ``source/common/router/router_ratelimit.cc``).

A rate limit is a list of actions, each of which adds an entry to the descriptor; one that has nothing to add, where
that is not allowed, drops the whole descriptor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from envoy.type.v3 import ratelimit_unit_pb2

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.formatter.values import metadata_value
from proxeny.matcher.header import compile_header_matchers, match_all
from proxeny.matcher.query import compile_query_parameter_matcher, parse_query

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import Runtime
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.route import Route

MAX_HITS_ADDEND: Final = 1_000_000_000
"""Envoy: ``MAX_HITS_ADDEND``."""

_NUMBER: Final = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

Entry = tuple[str, bytes]
SKIP: Final[Entry] = ("", b"")
"""Nothing to add, and that is no harm."""


@dataclass(slots=True, frozen=True)
class RateLimitRequest:
    """What actions see."""

    headers: HeaderMap
    info: StreamInfo
    route: Route
    cluster: str
    """The cluster that the route leads to."""
    local_cluster: str
    """``node.cluster``."""


Action = Callable[[RateLimitRequest], Entry | None]
"""An entry, SKIP, or None: no descriptor."""


@dataclass(slots=True, frozen=True)
class Descriptor:
    """What a rate limit service is asked about."""

    entries: tuple[Entry, ...]
    limit: tuple[int, str] | None = None
    """Requests per unit, and the unit, of an override."""
    hits_addend: int | None = None


def _source_cluster(config: Any) -> Action:
    return lambda request: ("source_cluster", request.local_cluster.encode("utf-8"))


def _destination_cluster(config: Any) -> Action:
    return lambda request: ("destination_cluster", request.cluster.encode("utf-8"))


def _request_headers(config: Any) -> Action:
    name, key = config.header_name.lower().encode("utf-8"), config.descriptor_key
    absent = SKIP if config.skip_if_absent else None

    def produce(request: RateLimitRequest) -> Entry | None:
        value = request.headers.get(name)
        return absent if value is None else (key, value)

    return produce


def _query_parameters(config: Any) -> Action:
    name, key = config.query_parameter_name.encode("utf-8"), config.descriptor_key
    absent = SKIP if config.skip_if_absent else None

    def produce(request: RateLimitRequest) -> Entry | None:
        value = parse_query(request.headers.get(b":path") or b"").get(name)
        return absent if value is None else (key, value)

    return produce


def _remote_address(config: Any) -> Action:
    def produce(request: RateLimitRequest) -> Entry | None:
        ip = request.info.downstream_remote_address.ip
        return ("remote_address", ip.encode()) if ip else None

    return produce


def _masked_remote_address(config: Any) -> Action:
    bits = {4: 32, 6: 128}
    for version, field in ((4, "v4_prefix_mask_len"), (6, "v6_prefix_mask_len")):
        if config.HasField(field):
            bits[version] = getattr(config, field).value

    def produce(request: RateLimitRequest) -> Entry | None:
        ip = request.info.downstream_remote_address.ip
        if not ip:
            return None
        length = bits[6 if ":" in ip else 4]
        return "masked_remote_address", str(ip_network((ip, length), strict=False)).encode()

    return produce


def _generic_key(config: Any) -> Action:
    entry = (config.descriptor_key or "generic_key", config.descriptor_value.encode("utf-8"))
    return lambda request: entry


def _header_value_match(config: Any) -> Action:
    entry = (config.descriptor_key or "header_match", config.descriptor_value.encode("utf-8"))
    wanted = config.expect_match.value if config.HasField("expect_match") else True
    matchers = compile_header_matchers(config.headers)
    return lambda request: entry if match_all(request.headers, matchers) == wanted else None


def _query_parameter_value_match(config: Any) -> Action:
    entry = (config.descriptor_key or "query_match", config.descriptor_value.encode("utf-8"))
    wanted = config.expect_match.value if config.HasField("expect_match") else True
    matchers = [compile_query_parameter_matcher(one) for one in config.query_parameters]

    def produce(request: RateLimitRequest) -> Entry | None:
        parameters = parse_query(request.headers.get(b":path") or b"")
        return entry if all(matcher.matches(parameters) for matcher in matchers) == wanted else None

    return produce


def _dynamic_metadata(config: Any) -> Action:
    return _of_metadata(config, False, None)


def _metadata(config: Any) -> Action:
    return _of_metadata(config, config.source == 1, SKIP if config.skip_if_absent else None)


def _of_metadata(config: Any, of_route: bool, absent: Entry | None) -> Action:
    key, default = config.descriptor_key, config.default_value
    namespace, path = config.metadata_key.key, tuple([segment.key for segment in config.metadata_key.path])

    def produce(request: RateLimitRequest) -> Entry | None:
        metadata = request.route.metadata if of_route else request.info.dynamic_metadata_map or {}
        value = metadata_value(metadata, namespace, path)
        text = value if isinstance(value, str) and value else default
        return (key, text.encode("utf-8", "surrogateescape")) if text else absent

    return produce


_ACTIONS: Final[dict[str, Callable[[Any], Action]]] = {
    "source_cluster": _source_cluster,
    "destination_cluster": _destination_cluster,
    "request_headers": _request_headers,
    "query_parameters": _query_parameters,
    "remote_address": _remote_address,
    "masked_remote_address": _masked_remote_address,
    "generic_key": _generic_key,
    "header_value_match": _header_value_match,
    "query_parameter_value_match": _query_parameter_value_match,
    "dynamic_metadata": _dynamic_metadata,
    "metadata": _metadata,
}


class RateLimitEntry:
    """One rate limit."""

    __slots__ = ("_actions", "_format", "_hits_addend", "_limit", "applies_on_stream_done", "disable_key", "stage")

    def __init__(self, config: Any) -> None:
        """From a ``RateLimit`` message; ConfigError in Envoy's words."""
        self.stage: int = config.stage.value
        self.disable_key: str = config.disable_key
        self.applies_on_stream_done: bool = config.apply_on_stream_done
        self._actions = tuple([_compile_action(action) for action in config.actions])
        self._limit: tuple[str, tuple[str, ...]] | None = None
        if config.HasField("limit"):
            key = config.limit.dynamic_metadata.metadata_key
            self._limit = (key.key, tuple([segment.key for segment in key.path]))
        self._hits_addend: int | None = None
        self._format: Any = None
        if config.HasField("hits_addend"):
            self._compile_hits_addend(config.hits_addend)

    def _compile_hits_addend(self, config: Any) -> None:
        if not config.format:
            self._hits_addend = config.number.value
            return
        from proxeny.formatter.substitution import compile as compile_formatter

        self._format = compile_formatter(config.format)

    def describe(self, request: RateLimitRequest) -> Descriptor | None:
        """The descriptor of a request, None when it has none."""
        entries = []
        for action in self._actions:
            entry = action(request)
            if entry is None:
                return None
            if entry is not SKIP:
                entries.append(entry)
        hits = self._hits_addend
        if self._format is not None:
            hits = _hits(self._format.format(request.headers, None, None, request.info))
            if hits is None:
                return None
        return Descriptor(tuple(entries), self._override(request.info), hits)

    def _override(self, info: StreamInfo) -> tuple[int, str] | None:
        if self._limit is None:
            return None
        value = metadata_value(info.dynamic_metadata_map or {}, *self._limit)
        if not isinstance(value, dict):
            return None
        number, unit = value.get("requests_per_unit"), value.get("unit")
        if not isinstance(number, (int, float)) or isinstance(number, bool) or unit not in _UNITS:
            return None
        return int(number), str(unit)


_UNITS: Final = frozenset(ratelimit_unit_pb2.RateLimitUnit.keys())


def _hits(text: bytes | str) -> int | None:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if not _NUMBER.fullmatch(data.strip(b" \t")):
        return None
    number = float(data)
    return int(number) if 0 <= number <= MAX_HITS_ADDEND else None


def _compile_action(config: Any) -> Action:
    kind = config.WhichOneof("action_specifier")
    if kind == "extension":
        raise UnsupportedFieldError(f"Rate limit descriptor extension not found: {config.extension.name}")
    if kind is None:
        raise ConfigError("Unsupported rate limit action: 0")
    return _ACTIONS[kind](getattr(config, kind))


class RateLimits:
    """The rate limits of a route or a virtual host; ``include_virtual_host``: the host's count besides the route's."""

    __slots__ = ("entries", "include_virtual_host")

    def __init__(self, entries: Sequence[RateLimitEntry], include_virtual_host: bool) -> None:
        self.entries = tuple(entries)
        self.include_virtual_host = include_virtual_host


def compile_rate_limits(configs: Sequence[Any], include_virtual_host: bool = False) -> RateLimits | None:
    """From ``RateLimit`` messages; None when there is nothing to say."""
    if not configs and not include_virtual_host:
        return None
    return RateLimits([RateLimitEntry(config) for config in configs], include_virtual_host)


def descriptors(
    request: RateLimitRequest, stage: int, runtime: Runtime | None, random_value: int = 0, on_stream_done: bool = False
) -> list[Descriptor]:
    """What a filter of this ``stage`` asks about: the route's descriptors, then (where they are included, or where the
    route has no rate limits at all) the virtual host's."""
    entry: Any = request.route.entry
    own: RateLimits | None = None if entry.is_direct else entry.policy.rate_limits
    shared = request.route.virtual_host.rate_limits
    found: list[Descriptor] = []
    levels = [own] if own is not None and own.entries else []
    if shared is not None and (not levels or (own is not None and own.include_virtual_host)):
        levels.append(shared)
    for level in levels:
        for limit in level.entries:
            if limit.stage != stage or limit.applies_on_stream_done != on_stream_done:
                continue
            if limit.disable_key and runtime is not None:
                key = f"ratelimit.{limit.disable_key}.http_filter_enabled"
                if not runtime.feature_enabled(key, 100, 100, random_value):
                    continue
            made = limit.describe(request)
            if made is not None:
                found.append(made)
    return found
