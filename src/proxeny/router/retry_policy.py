"""``envoy.config.route.v3.RetryPolicy``, compiled (Envoy: ``RetryPolicyImpl``). Shared by equal routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.config.message_types import type_name_of
from proxeny.matcher.header import HeaderMatcher, compile_header_matchers
from proxeny.registry import REGISTRY
from proxeny.router.durations import milliseconds, optional_milliseconds
from proxeny.router.retry_back_off import RateLimitedBackOff

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

RETRY_ON_5XX: Final = 1 << 0
RETRY_ON_GATEWAY_ERROR: Final = 1 << 1
RETRY_ON_CONNECT_FAILURE: Final = 1 << 2
RETRY_ON_RETRIABLE_4XX: Final = 1 << 3
RETRY_ON_REFUSED_STREAM: Final = 1 << 4
RETRY_ON_GRPC_CANCELLED: Final = 1 << 5
RETRY_ON_GRPC_DEADLINE_EXCEEDED: Final = 1 << 6
RETRY_ON_GRPC_RESOURCE_EXHAUSTED: Final = 1 << 7
RETRY_ON_GRPC_UNAVAILABLE: Final = 1 << 8
RETRY_ON_GRPC_INTERNAL: Final = 1 << 9
RETRY_ON_RETRIABLE_STATUS_CODES: Final = 1 << 10
RETRY_ON_RESET: Final = 1 << 11
RETRY_ON_RETRIABLE_HEADERS: Final = 1 << 12
RETRY_ON_ENVOY_RATE_LIMITED: Final = 1 << 13
RETRY_ON_HTTP3_POST_CONNECT_FAILURE: Final = 1 << 14
RETRY_ON_RESET_BEFORE_REQUEST: Final = 1 << 15

RETRY_ON: Final = {
    b"5xx": RETRY_ON_5XX,
    b"gateway-error": RETRY_ON_GATEWAY_ERROR,
    b"connect-failure": RETRY_ON_CONNECT_FAILURE,
    b"retriable-4xx": RETRY_ON_RETRIABLE_4XX,
    b"refused-stream": RETRY_ON_REFUSED_STREAM,
    b"retriable-status-codes": RETRY_ON_RETRIABLE_STATUS_CODES,
    b"retriable-headers": RETRY_ON_RETRIABLE_HEADERS,
    b"reset": RETRY_ON_RESET,
    b"reset-before-request": RETRY_ON_RESET_BEFORE_REQUEST,
    b"envoy-ratelimited": RETRY_ON_ENVOY_RATE_LIMITED,
    b"http3-post-connect-failure": RETRY_ON_HTTP3_POST_CONNECT_FAILURE,
}
RETRY_GRPC_ON: Final = {
    b"cancelled": RETRY_ON_GRPC_CANCELLED,
    b"deadline-exceeded": RETRY_ON_GRPC_DEADLINE_EXCEEDED,
    b"internal": RETRY_ON_GRPC_INTERNAL,
    b"resource-exhausted": RETRY_ON_GRPC_RESOURCE_EXHAUSTED,
    b"unavailable": RETRY_ON_GRPC_UNAVAILABLE,
}
ANY_GRPC: Final = sum(RETRY_GRPC_ON.values())
DEFAULT_BASE_INTERVAL_MS: Final = 25
"""``retry_back_off.base_interval`` when unset (runtime key upstream.base_retry_backoff_ms)."""

NEVER: Final = 1 << 30
"""Above every status code."""
RetryPlugin = Any
"""What an extension of the kinds ``retry_host_predicate`` and ``retry_priority`` makes of its configuration:
``create()`` gives the object of one request (``retry_state`` says what is asked of it)."""


def parse_retry_on(text: bytes, words: dict[bytes, int]) -> int:
    """The mask of a comma-separated list; unknown words are ignored, as Envoy does."""
    mask = 0
    for word in text.split(b","):
        mask |= words.get(word.strip(b" "), 0)
    return mask


class RetryPolicy:
    """What to retry, how often and how soon. Times in milliseconds, 0 = none."""

    __slots__ = (
        "base_interval_ms",
        "host_predicates",
        "host_selection_attempts",
        "lowest_code",
        "max_interval_ms",
        "num_retries",
        "per_try_idle_timeout_ms",
        "per_try_timeout_ms",
        "priority",
        "rate_limited_back_off",
        "retriable_headers",
        "retriable_request_headers",
        "retriable_status_codes",
        "retry_on",
    )

    def __init__(self) -> None:
        """The policy of a route without one: no retries unless request headers ask for them."""
        self.retry_on = 0
        self.num_retries = 1
        self.per_try_timeout_ms = 0
        self.per_try_idle_timeout_ms = 0
        self.base_interval_ms: int | None = None
        self.max_interval_ms: int | None = None
        self.rate_limited_back_off: RateLimitedBackOff | None = None
        self.host_predicates: tuple[RetryPlugin, ...] = ()
        self.priority: RetryPlugin = None
        self.host_selection_attempts = 1
        """How often a load balancer is asked again for a host that the predicates take."""
        self.retriable_status_codes: tuple[int, ...] = ()
        self.retriable_headers: tuple[HeaderMatcher, ...] = ()
        self.retriable_request_headers: tuple[HeaderMatcher, ...] = ()
        self.lowest_code = NEVER
        """Responses with a lower status need no further look; 0: all do, for their headers may ask for a retry."""

    @classmethod
    def compile(cls, config: Any) -> RetryPolicy:
        """From a ``RetryPolicy`` message; ConfigError in Envoy's words."""
        policy = cls()
        retry_on = config.retry_on.encode("utf-8")
        policy.retry_on = parse_retry_on(retry_on, RETRY_ON) | parse_retry_on(retry_on, RETRY_GRPC_ON)
        if config.HasField("num_retries"):
            policy.num_retries = config.num_retries.value
        policy.per_try_timeout_ms = milliseconds(config.per_try_timeout)
        policy.per_try_idle_timeout_ms = milliseconds(config.per_try_idle_timeout)
        policy.retriable_status_codes = tuple(config.retriable_status_codes)
        policy.retriable_headers = compile_header_matchers(config.retriable_headers)
        policy.retriable_request_headers = compile_header_matchers(config.retriable_request_headers)
        policy.host_predicates = tuple(
            [_compile_plugin("retry_host_predicate", predicate) for predicate in config.retry_host_predicate]
        )
        if config.HasField("retry_priority"):
            policy.priority = _compile_plugin("retry_priority", config.retry_priority)
        for predicate in config.retry_options_predicates:
            _compile_plugin("retry_options_predicate", predicate)
        if config.host_selection_retry_max_attempts:
            policy.host_selection_attempts = config.host_selection_retry_max_attempts
        if config.HasField("retry_back_off"):
            policy._compile_back_off(config.retry_back_off)
        if config.HasField("rate_limited_retry_back_off"):
            policy.rate_limited_back_off = RateLimitedBackOff(config.rate_limited_retry_back_off)
        policy.lowest_code = policy._lowest_code()
        return policy

    def wants_request(self, headers: HeaderMap) -> bool:
        """Whether one of ``retriable_request_headers`` matches; True where there are none."""
        matchers = self.retriable_request_headers
        return not matchers or any([matcher.matches(headers) for matcher in matchers])

    def _lowest_code(self) -> int:
        mask = self.retry_on
        if mask & (ANY_GRPC | RETRY_ON_ENVOY_RATE_LIMITED) or (mask & RETRY_ON_RETRIABLE_HEADERS):
            return 0
        lowest = NEVER
        if mask & RETRY_ON_RETRIABLE_STATUS_CODES and self.retriable_status_codes:
            lowest = min(self.retriable_status_codes)
        for kind, code in ((RETRY_ON_RETRIABLE_4XX, 409), (RETRY_ON_5XX, 500), (RETRY_ON_GATEWAY_ERROR, 502)):
            if mask & kind:
                lowest = min(lowest, code)
        return lowest

    def _compile_back_off(self, config: Any) -> None:
        base = max(1, milliseconds(config.base_interval))
        longest = optional_milliseconds(config, "max_interval")
        if longest is not None:
            longest = max(1, longest)
            if longest < base:
                raise ConfigError("retry_policy.max_interval must greater than or equal to the base_interval")
        self.base_interval_ms = base
        self.max_interval_ms = longest


def _compile_plugin(kind: str, config: Any) -> RetryPlugin:
    """The extension that ``config`` (name, typed_config) names; ConfigError in Envoy's words."""
    type_name = type_name_of(config.typed_config.type_url)
    if not type_name:
        raise ConfigError(f"Didn't find a registered implementation for '{config.name}' with type URL: ''")
    return REGISTRY.factory(kind, config.name, type_name).create_plugin(unpack_any(config.typed_config))


NO_RETRIES: Final = RetryPolicy()
