"""Whether and when to try a request again (Envoy: ``RetryStateImpl``).

Made when an attempt has failed, or when the request's own headers ask for retries: a request that goes well costs a
route with a retry policy one comparison (``RetryPolicy.lowest_code``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from proxeny.http.codec import StreamResetReason
from proxeny.matcher.header import HeaderMatcher, PresentMatcher, match_all
from proxeny.matcher.integer import parse_uint64
from proxeny.router import retry_policy as on
from proxeny.router import virtual_cluster as virtual
from proxeny.router.retry_back_off import ExponentialBackOff, beyond
from proxeny.upstream.stats import (
    UPSTREAM_RQ_RETRY,
    UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL,
    UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED,
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
    from proxeny.router.filter_replies import RouterReplies
    from proxeny.router.retry_policy import RetryPolicy

RETRY_ON: Final = b"x-envoy-retry-on"
RETRY_GRPC_ON: Final = b"x-envoy-retry-grpc-on"
MAX_RETRIES: Final = b"x-envoy-max-retries"
RETRIABLE_STATUS_CODES: Final = b"x-envoy-retriable-status-codes"
RETRIABLE_HEADER_NAMES: Final = b"x-envoy-retriable-header-names"
RETRY_HEADERS: Final = (RETRY_ON, RETRY_GRPC_ON, MAX_RETRIES, RETRIABLE_STATUS_CODES, RETRIABLE_HEADER_NAMES)
"""Request headers by which a trusted client asks for retries; removed from every request."""
RATE_LIMITED: Final = b"x-envoy-ratelimited"
EARLY_DATA: Final = b"early-data"
_TOO_EARLY: Final = 425
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


class Decision(IntEnum):
    """What an outcome calls for (Envoy: ``RetryState::RetryDecision``)."""

    NO = 0
    AFTER_BACK_OFF = 1
    AT_ONCE = 2


class RetryState:
    """The retries of one request: how many are left, and the timer of the one that is due."""

    __slots__ = (
        "_back_off",
        "_callback",
        "_cluster",
        "_config",
        "_headers",
        "_policy",
        "_predicates",
        "_priority",
        "_rate_limited_ms",
        "_remaining",
        "_resource",
        "_retry_on",
        "_status_codes",
        "_timer",
        "_virtual",
        "_waits_for",
        "host_selection_attempt",
    )

    def __init__(self, router: RouterReplies, policy: RetryPolicy, callback: Callable[[], None]) -> None:
        """``callback`` performs a retry when its back-off is over."""
        config = router.config
        cluster = router.cluster
        self._config: RouterConfig = config
        self._policy = policy
        self._cluster = cluster
        self._resource: Any = cluster.resource_manager(router.entry.policy.priority).retries
        self._callback = callback
        self._virtual = None if router.virtual_cluster is None else router.virtual_cluster.stats
        self._timer: Timer | None = None
        self._waits_for = -1
        """The counter of the back-off that the timer measures; -1: none."""
        self.host_selection_attempt = 0
        """How many hosts the predicates have declined in the choice that is being made."""
        self._retry_on = policy.retry_on
        self._remaining = policy.num_retries
        self._status_codes = policy.retriable_status_codes
        self._headers: tuple[HeaderMatcher, ...] = policy.retriable_headers
        self._predicates = [predicate.create() for predicate in policy.host_predicates]
        self._priority = None if policy.priority is None else policy.priority.create()
        self._rate_limited_ms: int | None = None
        base = policy.base_interval_ms
        if base is None:
            runtime = config.runtime
            default = on.DEFAULT_BASE_INTERVAL_MS
            base = default if runtime is None else runtime.get_integer("upstream.base_retry_backoff_ms", default)
        self._back_off = ExponentialBackOff(base, policy.max_interval_ms)

    def merge_headers(self, headers: HeaderMap) -> None:
        """Take in what the request's own headers ask for."""
        policy = self._policy
        retry_on = headers.get(RETRY_ON)
        if retry_on is not None:
            self._retry_on |= on.parse_retry_on(retry_on, on.RETRY_ON)
        retry_grpc_on = headers.get(RETRY_GRPC_ON)
        if retry_grpc_on is not None:
            self._retry_on |= on.parse_retry_on(retry_grpc_on, on.RETRY_GRPC_ON)
        if policy.retriable_request_headers and not policy.wants_request(headers):
            self._retry_on = 0
        limit = parse_uint64(headers.get(MAX_RETRIES) or b"")
        if self._retry_on and limit is not None:
            self._remaining = limit
        codes = headers.get(RETRIABLE_STATUS_CODES)
        if codes is not None:
            numbers = [parse_uint64(code.strip(b" \t")) for code in codes.split(b",")]
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
            "back_off_ms": self._back_off.statistics(),
            "retriable_status_codes": list(self._status_codes),
        }

    @property
    def enabled(self) -> bool:
        """Whether anything at all is retried."""
        return bool(self._retry_on)

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
        if host is None:
            return
        for predicate in self._predicates:
            predicate.on_host_attempted(host)
        if self._priority is not None:
            self._priority.on_host_attempted(host)

    def choose_host(self, cluster: Any, context: Any) -> Any:
        """A host for the next try: as the predicates want it, or after enough attempts whatever there is."""
        self.host_selection_attempt = 0
        host = self._choose_once(cluster, context)
        for attempt in range(self._policy.host_selection_attempts):
            if host is None or not any([one.should_select_another_host(host) for one in self._predicates]):
                break
            self.host_selection_attempt = attempt + 1
            host = self._choose_once(cluster, context)
        return host

    def _choose_once(self, cluster: Any, context: Any) -> Any:
        if self._priority is None:
            return cluster.choose_host(context)
        return cluster.choose_host_by(self._priority.determine_priority_load, context)

    # Decisions.

    def should_retry_headers(self, code: int, headers: HeaderMap, request_headers: HeaderMap) -> RetryStatus:
        """Decide on a response."""
        decision = self.would_retry_headers(code, headers, request_headers)
        back_off = self._policy.rate_limited_back_off
        if decision is Decision.AFTER_BACK_OFF and back_off is not None:
            self._rate_limited_ms = back_off.interval_ms(headers)
        return self._should_retry(decision)

    def should_retry_reset(self, reason: StreamResetReason, request_started: bool) -> RetryStatus:
        """Decide on a reset (also of a try that timed out)."""
        return self._should_retry(self._would_retry_reset(reason, request_started))

    def should_hedge(self) -> RetryStatus:
        """Decide on a try that took too long but goes on: another one beside it, if any are left."""
        return self._should_retry(Decision.AFTER_BACK_OFF)

    def _should_retry(self, decision: Decision) -> RetryStatus:
        if self._release() and decision is Decision.NO:
            self._count(UPSTREAM_RQ_RETRY_SUCCESS, virtual.RETRY_SUCCESS)
        if decision is Decision.NO:
            return RetryStatus.NO
        if self._remaining == 0:
            self._count(UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED, virtual.RETRY_LIMIT_EXCEEDED)
            return RetryStatus.NO_RETRY_LIMIT_EXCEEDED
        self._remaining -= 1
        if not self._resource.try_acquire():
            self._count(UPSTREAM_RQ_RETRY_OVERFLOW, virtual.RETRY_OVERFLOW)
            return RetryStatus.NO_OVERFLOW
        config = self._config
        random = config.random_value()
        if config.runtime is not None and not config.runtime.feature_enabled("upstream.use_retry", 100, 100, random):
            self._resource.dec()
            return RetryStatus.NO
        self._waits_for = -1
        self._timer = config.wheel.create(self._on_back_off_over)
        self._timer.enable(0 if decision is Decision.AT_ONCE else self._next_wait(random))
        return RetryStatus.YES

    def _next_wait(self, random: int) -> int:
        interval, self._rate_limited_ms = self._rate_limited_ms, None
        if interval is not None:
            self._waits_for = UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED
            return beyond(interval, random)
        self._waits_for = UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL
        return self._back_off.next_ms(random)

    def _on_back_off_over(self) -> None:
        """A retry that is given up while it waits is not counted."""
        self._count(UPSTREAM_RQ_RETRY, virtual.RETRY)
        if self._waits_for >= 0:
            self._cluster.stats.inc(self._waits_for)
        self._callback()

    def _count(self, slot: int, virtual_slot: int) -> None:
        self._cluster.stats.inc(slot)
        if self._virtual is not None:
            self._virtual.inc(virtual_slot)

    def would_retry_headers(self, code: int, headers: HeaderMap, request_headers: HeaderMap) -> Decision:
        """What this response calls for."""
        mask = self._retry_on
        if RATE_LIMITED in headers:
            return Decision.AFTER_BACK_OFF if mask & on.RETRY_ON_ENVOY_RATE_LIMITED else Decision.NO
        if mask & on.RETRY_ON_5XX and 500 <= code < 600:
            return Decision.AFTER_BACK_OFF
        if mask & on.RETRY_ON_GATEWAY_ERROR and code in _GATEWAY_ERRORS:
            return Decision.AFTER_BACK_OFF
        if mask & on.RETRY_ON_RETRIABLE_4XX and code == 409:
            return Decision.AFTER_BACK_OFF
        if mask & on.RETRY_ON_RETRIABLE_STATUS_CODES and code in self._status_codes:
            if code != _TOO_EARLY:
                return Decision.AFTER_BACK_OFF
            # Too early for the upstream, but not if it was too early for the client already.
            if EARLY_DATA not in request_headers:
                return Decision.AT_ONCE
        if mask & on.RETRY_ON_RETRIABLE_HEADERS and any([match_all(headers, (one,)) for one in self._headers]):
            return Decision.AFTER_BACK_OFF
        if mask & on.ANY_GRPC and mask & _GRPC_STATUS_MASKS.get(headers.get(b"grpc-status") or b"", 0):
            return Decision.AFTER_BACK_OFF
        return Decision.NO

    def _would_retry_reset(self, reason: StreamResetReason, request_started: bool) -> Decision:
        mask = self._retry_on
        if reason is StreamResetReason.OVERFLOW:
            return Decision.NO
        if (
            (mask & on.RETRY_ON_CONNECT_FAILURE and reason in _CONNECTION_FAILURES)
            or (mask & on.RETRY_ON_RESET_BEFORE_REQUEST and not request_started)
            or mask & (on.RETRY_ON_RESET | on.RETRY_ON_5XX | on.RETRY_ON_GATEWAY_ERROR)
            or (mask & on.RETRY_ON_REFUSED_STREAM and reason is StreamResetReason.REMOTE_REFUSED_STREAM_RESET)
        ):
            return Decision.AFTER_BACK_OFF
        return Decision.NO
