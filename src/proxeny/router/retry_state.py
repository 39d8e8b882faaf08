"""Whether and when to try a request again (Envoy: ``RetryStateImpl``). Made only for requests that may be retried."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from proxeny.http.codec import StreamResetReason
from proxeny.matcher.header import HeaderMatcher, PresentMatcher, match_all
from proxeny.matcher.integer import parse_uint64
from proxeny.router import retry_policy as on
from proxeny.router import virtual_cluster as virtual
from proxeny.upstream.stats import (
    UPSTREAM_RQ_RETRY,
    UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL,
    UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED,
    UPSTREAM_RQ_RETRY_OVERFLOW,
    UPSTREAM_RQ_RETRY_SUCCESS,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.timer import Timer
    from proxeny.router.config import RouterConfig
    from proxeny.router.retry_policy import RetryPolicy
    from proxeny.router.virtual_cluster import VirtualCluster
    from proxeny.upstream.cluster_info import ClusterInfo

RETRY_ON: Final = b"x-envoy-retry-on"
RETRY_GRPC_ON: Final = b"x-envoy-retry-grpc-on"
MAX_RETRIES: Final = b"x-envoy-max-retries"
RETRIABLE_STATUS_CODES: Final = b"x-envoy-retriable-status-codes"
RETRIABLE_HEADER_NAMES: Final = b"x-envoy-retriable-header-names"
RATE_LIMITED: Final = b"x-envoy-ratelimited"
_GATEWAY_ERRORS: Final = (502, 503, 504)
_GRPC_STATUS_MASKS: Final = {
    b"1": on.RETRY_ON_GRPC_CANCELLED,
    b"4": on.RETRY_ON_GRPC_DEADLINE_EXCEEDED,
    b"8": on.RETRY_ON_GRPC_RESOURCE_EXHAUSTED,
    b"13": on.RETRY_ON_GRPC_INTERNAL,
    b"14": on.RETRY_ON_GRPC_UNAVAILABLE,
}
_CONNECTION_FAILURES: Final = (
    StreamResetReason.LOCAL_CONNECTION_FAILURE,
    StreamResetReason.REMOTE_CONNECTION_FAILURE,
    StreamResetReason.CONNECTION_TIMEOUT,
)


class RetryStatus(IntEnum):
    """What came of asking for a retry."""

    NO = 0
    """This outcome is not retried."""
    NO_OVERFLOW = 1
    """The circuit breaker of retries is open."""
    NO_RETRY_LIMIT_EXCEEDED = 2
    YES = 3
    """It will happen after the back-off."""


class RetryState:
    """The retries of one request: how many are left, and the timer of the one that is due."""

    __slots__ = (
        "_attempted",
        "_callback",
        "_cluster",
        "_config",
        "_headers",
        "_interval_ms",
        "_max_interval_ms",
        "_policy",
        "_remaining",
        "_resource",
        "_retry_on",
        "_status_codes",
        "_timer",
        "_virtual",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        headers: HeaderMap,
        cluster: ClusterInfo,
        priority: int,
        config: RouterConfig,
        callback: Callable[[], None],
        virtual_cluster: VirtualCluster | None = None,
    ) -> None:
        self._config = config
        self._policy = policy
        self._attempted: set[Any] = set()
        self._cluster = cluster
        self._resource: Any = cluster.resource_manager(priority).retries
        self._callback = callback
        """Performs the retry when the back-off is over."""
        self._virtual = None if virtual_cluster is None else virtual_cluster.stats
        self._timer: Timer | None = None
        self._retry_on = policy.retry_on
        self._remaining = policy.num_retries
        self._status_codes = policy.retriable_status_codes
        self._headers: tuple[HeaderMatcher, ...] = policy.retriable_headers
        base = policy.base_interval_ms
        if base is None:
            runtime = config.runtime
            default = on.DEFAULT_BASE_INTERVAL_MS
            base = default if runtime is None else runtime.get_integer("upstream.base_retry_backoff_ms", default)
        self._interval_ms = max(1, base)
        self._max_interval_ms = policy.max_interval_ms or 10 * self._interval_ms
        self._merge_headers(headers)
        if policy.retriable_request_headers and not any(
            matcher.matches(headers) for matcher in policy.retriable_request_headers
        ):
            self._retry_on = 0

    def _merge_headers(self, headers: HeaderMap) -> None:
        retry_on = headers.get(RETRY_ON)
        if retry_on is not None:
            self._retry_on |= on.parse_retry_on(retry_on, on.RETRY_ON)
        retry_grpc_on = headers.get(RETRY_GRPC_ON)
        if retry_grpc_on is not None:
            self._retry_on |= on.parse_retry_on(retry_grpc_on, on.RETRY_GRPC_ON)
        limit = parse_uint64(headers.get(MAX_RETRIES) or b"")
        if self._retry_on and limit is not None:
            self._remaining = limit
        codes = headers.get(RETRIABLE_STATUS_CODES)
        if codes is not None:
            numbers = [parse_uint64(code) for code in codes.split(b",")]
            self._status_codes += tuple([number for number in numbers if number is not None])
        names = headers.get(RETRIABLE_HEADER_NAMES)
        if names is not None:
            present = [PresentMatcher(name.strip().lower(), True, False) for name in names.split(b",") if name.strip()]
            self._headers += tuple(present)

    def statistics(self) -> dict[str, Any]:
        """What it would retry, for explanations."""
        words = {**on.RETRY_ON, **on.RETRY_GRPC_ON}
        return {
            "retry_on": [word.decode() for word, bit in words.items() if self._retry_on & bit],
            "retries": self._remaining,
            "back_off_ms": [self._interval_ms, self._max_interval_ms],
            "retriable_status_codes": list(self._status_codes),
        }

    @classmethod
    def create(
        cls,
        policy: RetryPolicy,
        headers: HeaderMap,
        cluster: ClusterInfo,
        priority: int,
        config: RouterConfig,
        callback: Callable[[], None],
        virtual_cluster: VirtualCluster | None = None,
    ) -> RetryState | None:
        """None when nothing asks for retries; the request headers that ask are removed."""
        asked = RETRY_ON in headers or RETRY_GRPC_ON in headers
        state = None
        if asked or policy.retry_on:
            state = cls(policy, headers, cluster, priority, config, callback, virtual_cluster)
        headers.remove_many((RETRY_ON, RETRY_GRPC_ON, MAX_RETRIES, RETRIABLE_STATUS_CODES, RETRIABLE_HEADER_NAMES))
        return state if state is not None and state._retry_on else None

    def close(self) -> None:
        """No retry will happen any more."""
        self._release()

    def _release(self) -> bool:
        """Give back the circuit breaker's slot of a retry that was performed or given up; whether there was one."""
        timer = self._timer
        if timer is None:
            return False
        timer.close()
        self._timer = None
        self._resource.dec()
        return True

    def on_host_attempted(self, host: Any) -> None:
        """The request went (or could not go) to ``host``."""
        if self._policy.avoids_previous_hosts:
            self._attempted.add(host)

    def choose_host(self, cluster: Any, context: Any) -> Any:
        """A host for the next try: as the predicates want it, or after enough attempts whatever there is."""
        policy = self._policy
        host = cluster.choose_host(context)
        for _ in range(policy.host_selection_attempts):
            if host is None or not (host in self._attempted or (policy.avoids_canaries and host.canary)):
                break
            host = cluster.choose_host(context)
        return host

    def should_retry_headers(self, code: int, headers: HeaderMap) -> RetryStatus:
        """Decide on a response."""
        return self._should_retry(self._would_retry_headers(code, headers))

    def should_retry_reset(self, reason: StreamResetReason, request_started: bool) -> RetryStatus:
        """Decide on a reset (also of a try that timed out)."""
        return self._should_retry(self._would_retry_reset(reason, request_started))

    def _should_retry(self, would_retry: bool) -> RetryStatus:
        if self._release() and not would_retry:
            self._count(UPSTREAM_RQ_RETRY_SUCCESS, virtual.RETRY_SUCCESS)
        if not would_retry:
            return RetryStatus.NO
        if self._remaining == 0:
            self._count(UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED, virtual.RETRY_LIMIT_EXCEEDED)
            return RetryStatus.NO_RETRY_LIMIT_EXCEEDED
        self._remaining -= 1
        if not self._resource.can_create():
            self._count(UPSTREAM_RQ_RETRY_OVERFLOW, virtual.RETRY_OVERFLOW)
            return RetryStatus.NO_OVERFLOW
        config = self._config
        random = config.random_value()
        if config.runtime is not None and not config.runtime.feature_enabled("upstream.use_retry", 100, 100, random):
            return RetryStatus.NO
        self._resource.inc()
        self._count(UPSTREAM_RQ_RETRY, virtual.RETRY)
        self._cluster.stats.inc(UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL)
        # Fully jittered exponential back-off: anything below the interval, which doubles up to its limit.
        interval = self._interval_ms
        self._interval_ms = min(2 * interval, self._max_interval_ms)
        self._timer = config.wheel.create(self._callback)
        self._timer.enable(random % interval)
        return RetryStatus.YES

    def _count(self, slot: int, virtual_slot: int) -> None:
        self._cluster.stats.inc(slot)
        if self._virtual is not None:
            self._virtual.inc(virtual_slot)

    def _would_retry_headers(self, code: int, headers: HeaderMap) -> bool:
        mask = self._retry_on
        if RATE_LIMITED in headers:
            return bool(mask & on.RETRY_ON_ENVOY_RATE_LIMITED)
        if mask & on.RETRY_ON_5XX and 500 <= code < 600:
            return True
        if mask & on.RETRY_ON_GATEWAY_ERROR and code in _GATEWAY_ERRORS:
            return True
        if mask & on.RETRY_ON_RETRIABLE_4XX and code == 409:
            return True
        if mask & on.RETRY_ON_RETRIABLE_STATUS_CODES and code in self._status_codes:
            return True
        if mask & on.RETRY_ON_RETRIABLE_HEADERS and any(match_all(headers, (one,)) for one in self._headers):
            return True
        if mask & on.ANY_GRPC:
            return bool(mask & _GRPC_STATUS_MASKS.get(headers.get(b"grpc-status") or b"", 0))
        return False

    def _would_retry_reset(self, reason: StreamResetReason, request_started: bool) -> bool:
        mask = self._retry_on
        if reason is StreamResetReason.OVERFLOW:
            return False
        if mask & on.RETRY_ON_CONNECT_FAILURE and reason in _CONNECTION_FAILURES:
            return True
        if mask & on.RETRY_ON_RESET_BEFORE_REQUEST and not request_started:
            return True
        if mask & (on.RETRY_ON_RESET | on.RETRY_ON_5XX | on.RETRY_ON_GATEWAY_ERROR):
            return True
        return bool(mask & on.RETRY_ON_REFUSED_STREAM and reason is StreamResetReason.REMOTE_REFUSED_STREAM_RESET)
