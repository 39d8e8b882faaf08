"""``envoy.config.route.v3.RetryPolicy``, compiled (Envoy: ``RetryPolicyImpl``). Shared by equal routes."""

from __future__ import annotations

from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.header import HeaderMatcher, compile_header_matchers
from proxeny.router.durations import milliseconds, optional_milliseconds

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


_PREVIOUS_HOSTS: Final = (
    "envoy.retry_host_predicates.previous_hosts",
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
)
_OMIT_CANARY_HOSTS: Final = (
    "envoy.retry_host_predicates.omit_canary_hosts",
    "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
)


def parse_retry_on(text: bytes, words: dict[bytes, int]) -> int:
    """The mask of a comma-separated list; unknown words are ignored, as Envoy does."""
    mask = 0
    for word in text.split(b","):
        mask |= words.get(word.strip(b" "), 0)
    return mask


class RetryPolicy:
    """What to retry, how often and how soon. Times in milliseconds, 0 = none."""

    __slots__ = (
        "avoids_canaries",
        "avoids_previous_hosts",
        "base_interval_ms",
        "host_selection_attempts",
        "max_interval_ms",
        "num_retries",
        "per_try_idle_timeout_ms",
        "per_try_timeout_ms",
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
        self.avoids_previous_hosts = False
        self.avoids_canaries = False
        self.host_selection_attempts = 1
        """How often a load balancer is asked again for a host that the predicates take."""
        self.retriable_status_codes: tuple[int, ...] = ()
        self.retriable_headers: tuple[HeaderMatcher, ...] = ()
        self.retriable_request_headers: tuple[HeaderMatcher, ...] = ()

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
        for predicate in config.retry_host_predicate:
            policy._add_host_predicate(predicate)
        if config.host_selection_retry_max_attempts:
            policy.host_selection_attempts = config.host_selection_retry_max_attempts
        if config.HasField("retry_back_off"):
            policy._compile_back_off(config.retry_back_off)
        return policy

    def _add_host_predicate(self, predicate: Any) -> None:
        type_name = predicate.typed_config.type_url.rpartition("/")[2]
        known = type_name or predicate.name
        if known in _PREVIOUS_HOSTS:
            self.avoids_previous_hosts = True
        elif known in _OMIT_CANARY_HOSTS:
            self.avoids_canaries = True
        else:
            raise ConfigError(
                f"Didn't find a registered implementation for '{predicate.name}' with type URL: '{type_name}'"
            )

    def _compile_back_off(self, config: Any) -> None:
        base = max(1, milliseconds(config.base_interval))
        longest = optional_milliseconds(config, "max_interval")
        if longest is not None:
            longest = max(1, longest)
            if longest < base:
                raise ConfigError("retry_policy.max_interval must greater than or equal to the base_interval")
        self.base_interval_ms = base
        self.max_interval_ms = longest


NO_RETRIES: Final = RetryPolicy()
