"""How many discovery requests may be sent (Envoy: ``RateLimitSettings``, ``TokenBucketImpl``)."""

from __future__ import annotations

import math
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.time_source import TimeSource

_DEFAULT_MAX_TOKENS: Final = 100
_DEFAULT_FILL_RATE: Final = 10.0
_LEAST_FILL_RATE: Final = 1 / (365 * 24 * 60 * 60)
"""Envoy's ``kMinFillRate``: a token a year."""


class TokenBucket:
    """Tokens that come back over time; full at first."""

    def __init__(self, max_tokens: int, fill_rate: float, time_source: TimeSource) -> None:
        """``fill_rate``: tokens per second."""
        self.max_tokens = max_tokens
        self.fill_rate = max(abs(fill_rate), _LEAST_FILL_RATE)
        self._time_source = time_source
        self._tokens = float(max_tokens)
        self._filled_ns = time_source.monotonic_ns()

    def take(self) -> bool:
        """Take one; False: there is none."""
        if self._tokens < self.max_tokens:
            now = self._time_source.monotonic_ns()
            self._tokens = min(self._tokens + (now - self._filled_ns) * self.fill_rate / 1e9, self.max_tokens)
            self._filled_ns = now
        else:
            self._filled_ns = self._time_source.monotonic_ns()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def next_token_ms(self) -> int:
        """How long until there is one, in milliseconds."""
        return 0 if self._tokens >= 1 else math.ceil((1 - self._tokens) / self.fill_rate * 1000)


def settings_of(source: Any) -> tuple[int, float] | None:
    """Most tokens, and tokens per second, of ``rate_limit_settings``; None: unlimited. ConfigError for no number."""
    if not source.HasField("rate_limit_settings"):
        return None
    settings = source.rate_limit_settings
    max_tokens = settings.max_tokens.value if settings.HasField("max_tokens") else _DEFAULT_MAX_TOKENS
    fill_rate = settings.fill_rate.value if settings.HasField("fill_rate") else _DEFAULT_FILL_RATE
    if not math.isfinite(fill_rate):
        raise ConfigError(f"The value of fill_rate in RateLimitSettings ({fill_rate}) must not be NaN nor Inf")
    return max_tokens, fill_rate


def from_api_config_source(source: Any, time_source: TimeSource) -> TokenBucket | None:
    """The bucket of ``rate_limit_settings``; None: unlimited. ConfigError."""
    settings = settings_of(source)
    return None if settings is None else TokenBucket(*settings, time_source)
