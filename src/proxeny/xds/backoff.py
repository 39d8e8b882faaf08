"""How long to wait before the next attempt (Envoy: ``BackOffStrategy``)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

from proxeny.config.errors import ConfigError

RETRY_INITIAL_DELAY_MS: Final = 500
RETRY_MAX_DELAY_MS: Final = 30_000
"""Envoy: ``SubscriptionFactory::RetryInitialDelayMs`` and ``RetryMaxDelayMs``."""
_MAX_OF_BASE: Final = 10
"""``max_interval`` is by default this often the ``base_interval``."""


class BackOff(Protocol):
    """A sequence of delays."""

    def next_ms(self) -> int:
        """The next delay, in milliseconds."""

    def reset(self) -> None:
        """Things went well: begin again with the shortest."""

    def is_over_time_limit(self, ms: float) -> bool:
        """Whether ``ms`` of failures are so long that they are no passing trouble."""


class JitteredExponentialBackOff:
    """A random part of an interval that doubles up to ``max_ms`` (Envoy: ``JitteredExponentialBackOffStrategy``)."""

    def __init__(self, base_ms: int, max_ms: int, below: Callable[[int], int] = secrets.randbelow) -> None:
        self._base_ms = base_ms
        self._max_ms = max_ms
        self._below = below
        self._interval_ms = base_ms

    def next_ms(self) -> int:
        """The next delay: below the interval, which doubles."""
        interval, self._interval_ms = self._interval_ms, min(self._interval_ms * 2, self._max_ms)
        return self._below(interval)

    def reset(self) -> None:
        """Begin again with the base interval."""
        self._interval_ms = self._base_ms

    def is_over_time_limit(self, ms: float) -> bool:
        """Longer than the longest interval."""
        return ms > self._max_ms


def from_api_config_source(source: Any) -> JitteredExponentialBackOff:
    """That of ``retry_policy.retry_back_off`` of the first ``envoy_grpc`` service, else the default; ConfigError."""
    services = source.grpc_services
    if not services or not services[0].HasField("envoy_grpc"):
        return JitteredExponentialBackOff(RETRY_INITIAL_DELAY_MS, RETRY_MAX_DELAY_MS)
    policy = services[0].envoy_grpc.retry_policy
    if not policy.HasField("retry_back_off"):
        return JitteredExponentialBackOff(RETRY_INITIAL_DELAY_MS, RETRY_MAX_DELAY_MS)
    back_off = policy.retry_back_off
    base_ms = back_off.base_interval.ToMilliseconds()
    max_ms = back_off.max_interval.ToMilliseconds() if back_off.HasField("max_interval") else base_ms * _MAX_OF_BASE
    if max_ms < base_ms:
        raise ConfigError("max_interval must be greater than or equal to the base_interval")
    return JitteredExponentialBackOff(base_ms, max_ms)
