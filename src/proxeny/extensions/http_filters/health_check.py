"""``envoy.filters.http.health_check``: answers requests that ask how this proxy is, and marks responses once it was
told to fail (Envoy: ``source/extensions/filters/http/health_check``).

Requests that match go through (``pass_through_mode``), perhaps with the answer of the last one for a while
(``cache_time``, by worker here), or are answered from here: by what the admin interface said (``/healthcheck/fail``),
and by how many hosts of clusters are healthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.matcher.header import compile_header_matchers, match_all
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag
from proxeny.stats.schema import Schema
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.host import Health

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block
    from proxeny.matcher.header import HeaderMatcher
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.health_check"
FLAG_LH: Final = FLAG_BITS[ResponseFlag.FAILED_LOCAL_HEALTH_CHECK]
HEALTH_CHECK_FILTER: Final = Schema(
    "health_check_filter",
    counters=(
        "cached_response",
        "degraded",
        "failed",
        "failed_cluster_empty",
        "failed_cluster_not_found",
        "failed_cluster_unhealthy",
        "ok",
        "request_total",
    ),
)
CACHED_RESPONSE: Final = HEALTH_CHECK_FILTER.slot("cached_response")
DEGRADED_COUNT: Final = HEALTH_CHECK_FILTER.slot("degraded")
FAILED: Final = HEALTH_CHECK_FILTER.slot("failed")
CLUSTER_EMPTY: Final = HEALTH_CHECK_FILTER.slot("failed_cluster_empty")
CLUSTER_NOT_FOUND: Final = HEALTH_CHECK_FILTER.slot("failed_cluster_not_found")
CLUSTER_UNHEALTHY: Final = HEALTH_CHECK_FILTER.slot("failed_cluster_unhealthy")
OK: Final = HEALTH_CHECK_FILTER.slot("ok")
REQUEST_TOTAL: Final = HEALTH_CHECK_FILTER.slot("request_total")
CHECKED_CLUSTER: Final = b"x-envoy-upstream-healthchecked-cluster"
IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"
DEGRADED: Final = b"x-envoy-degraded"


class Cache:
    """The last answer that passed through, kept to the end of the current stretch of ``cache_time``."""

    __slots__ = ("_dispatcher", "_stretch_ms", "_until_stretch", "degraded", "status")

    def __init__(self, dispatcher: Any, stretch_ms: int) -> None:
        self._dispatcher = dispatcher
        self._stretch_ms = max(1, stretch_ms)
        self._until_stretch = -1
        self.status = 200
        self.degraded = False

    def _stretch(self) -> int:
        return int(self._dispatcher.now_ms // self._stretch_ms)

    @property
    def is_fresh(self) -> bool:
        """Whether there is an answer."""
        return self._until_stretch == self._stretch()

    def put(self, status: int, degraded: bool) -> None:
        """An answer passed through."""
        self.status, self.degraded = status, degraded
        self._until_stretch = self._stretch()


class HealthCheck(StreamFilter):
    """The filter of one request."""

    __slots__ = ("_config", "_handles", "_is_check")

    def __init__(self, config: HealthCheckFactory) -> None:
        self._config = config
        self._is_check = False
        self._handles = False

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Whether it is a health check, and one that is answered here."""
        config = self._config
        if not match_all(headers, config.matchers):
            return FilterHeadersStatus.CONTINUE
        self._is_check = True
        self.decoder_callbacks.stream_info.health_check = True
        cache = config.cache
        if config.passes_through and not config.failed and (cache is None or not cache.is_fresh):
            return FilterHeadersStatus.CONTINUE
        self._handles = True
        if end_stream:
            self._answer()
        return FilterHeadersStatus.STOP_ITERATION

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Its body is of no interest."""
        if not self._handles:
            return FilterDataStatus.CONTINUE
        data.clear()
        if end_stream:
            self._answer()
        return FilterDataStatus.STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Its end may be trailers."""
        if not self._handles:
            return FilterTrailersStatus.CONTINUE
        self._answer()
        return FilterTrailersStatus.STOP_ITERATION

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Answers to checks say which cluster this is; all answers, once it was told to fail, that it does."""
        config = self._config
        if self._is_check:
            if config.cache is not None:
                config.cache.put(int(headers.get(b":status") or b"0"), DEGRADED in headers)
            headers.set(CHECKED_CLUSTER, config.cluster_name)
        if config.failed:
            headers.set(IMMEDIATE_FAIL, b"true")
        return FilterHeadersStatus.CONTINUE

    def _answer(self) -> None:
        config, stats = self._config, self._config.stats
        stats.inc(REQUEST_TOTAL)
        degraded = False
        if config.failed:
            status, details = 503, "health_check_failed"
        elif config.cache is not None:
            status, degraded, details = config.cache.status, config.cache.degraded, "health_check_cached"
            stats.inc(CACHED_RESPONSE)
            if degraded:
                stats.inc(DEGRADED_COUNT)
        else:
            status, details = config.judge_clusters()
        callbacks = self.decoder_callbacks
        if 200 <= status < 300:
            stats.inc(OK)
        else:
            stats.inc(FAILED)
            callbacks.stream_info.flags |= FLAG_LH
        callbacks.send_local_reply(status, b"", _mark_degraded if degraded else None, None, details)


def _mark_degraded(headers: HeaderMap) -> None:
    headers.set(DEGRADED, b"")


class HealthCheckFactory:
    """The compiled filter."""

    __slots__ = (
        "_context", "_percentages", "_server_state", "cache", "cluster_name", "matchers", "name", "passes_through",
        "stats",
    )  # fmt: skip

    filter_class = HealthCheck
    is_terminal = False

    def __init__(self, config: Any, stats_prefix: str, context: FactoryContext) -> None:
        self.name = NAME
        self.stats: Block = context.stats.block(HEALTH_CHECK_FILTER, f"{stats_prefix}health_check.")
        self.passes_through: bool = config.pass_through_mode.value
        self.cache: Cache | None = None
        cache_ms = milliseconds(config.cache_time)
        if cache_ms:
            if not self.passes_through:
                raise ConfigError("cache_time_ms must not be set when path_through_mode is disabled")
            self.cache = Cache(context.dispatcher, cache_ms)
        self.matchers: tuple[HeaderMatcher, ...] = compile_header_matchers(config.headers)
        # Envoy looks at clusters only where requests do not pass through.
        named = {} if self.passes_through else config.cluster_min_healthy_percentages
        self._percentages = {name: int(percent.value) for name, percent in named.items()}
        self._context = context
        self._server_state = context.server_state
        self.cluster_name = b"" if context.local_info is None else context.local_info.cluster_name.encode()

    @property
    def failed(self) -> bool:
        """Whether the admin interface said so."""
        return self._server_state is not None and self._server_state.health_check_failed

    def judge_clusters(self) -> tuple[int, str]:
        """Status and details by the health of the clusters' hosts, of which degraded ones count as well."""
        if not self._percentages:
            return 200, "health_check_ok"
        for name, percent in self._percentages.items():
            cluster = self._context.cluster_manager.get(name)
            if cluster is None:
                self.stats.inc(CLUSTER_NOT_FOUND)
                return 503, "health_check_failed_no_cluster_found"
            hosts = cluster.priority_set.hosts()
            if not hosts:
                if not percent:
                    continue
                self.stats.inc(CLUSTER_EMPTY)
                return 503, "health_check_failed_cluster_empty"
            usable = sum([host.health is not Health.UNHEALTHY for host in hosts])
            if 100 * usable < len(hosts) * percent:
                self.stats.inc(CLUSTER_UNHEALTHY)
                return 503, "health_check_failed_cluster_unhealthy"
        return 200, "health_check_ok_cluster_healthy"

    def create(self) -> HealthCheck:
        """The filter of one request."""
        return HealthCheck(self)


class HealthCheckExtension:
    """The registered factory; there is no per-route configuration."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> HealthCheckFactory:
        """ConfigError in Envoy's words."""
        return HealthCheckFactory(config, stats_prefix, context)

    def create_route_config(self, config: Any, context: FactoryContext) -> None:
        """Nothing is read from ``typed_per_filter_config``."""
        return None


FACTORY = HealthCheckExtension()
