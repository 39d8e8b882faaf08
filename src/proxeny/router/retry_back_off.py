"""How long to wait before a retry (Envoy: ``JitteredExponentialBackOffStrategy``, ``ResetHeaderParserImpl``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from proxeny.matcher.integer import parse_uint64
from proxeny.router.durations import milliseconds

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

DEFAULT_MAX_INTERVAL_MS: Final = 300_000
"""``rate_limited_retry_back_off.max_interval`` when unset."""
_UNIX_TIMESTAMP: Final = 1
"""``RetryPolicy.ResetHeaderFormat``."""


class RateLimitedBackOff:
    """``rate_limited_retry_back_off``: response headers in which the upstream says when to come again."""

    __slots__ = ("_headers", "_max_interval_ms")

    def __init__(self, config: Any) -> None:
        self._headers = tuple(
            [(header.name.lower().encode("utf-8"), header.format == _UNIX_TIMESTAMP) for header in config.reset_headers]
        )
        has_limit = config.HasField("max_interval")
        self._max_interval_ms = milliseconds(config.max_interval) if has_limit else DEFAULT_MAX_INTERVAL_MS

    def interval_ms(self, headers: HeaderMap) -> int | None:
        """The first of the intervals that is there and not too long; None: back off as usual."""
        for name, is_timestamp in self._headers:
            value = parse_uint64(headers.get(name) or b"")
            if value is None:
                continue
            seconds = value - int(time.time()) if is_timestamp else value
            if 0 <= seconds * 1000 <= self._max_interval_ms:
                return seconds * 1000 if seconds else None
        return None


class ExponentialBackOff:
    """Fully jittered: anything below an interval that doubles with every retry, up to its limit."""

    __slots__ = ("_interval_ms", "_max_interval_ms")

    def __init__(self, base_ms: int, max_ms: int | None) -> None:
        self._interval_ms = max(1, base_ms)
        self._max_interval_ms = max_ms or 10 * self._interval_ms

    def next_ms(self, random_value: int) -> int:
        """The wait before the next retry."""
        interval = self._interval_ms
        self._interval_ms = min(2 * interval, self._max_interval_ms)
        return random_value % interval

    def statistics(self) -> list[int]:
        """The interval and its limit."""
        return [self._interval_ms, self._max_interval_ms]


def beyond(interval_ms: int, random_value: int) -> int:
    """At least ``interval_ms``, at most half as much again (Envoy: ``JitteredLowerBoundBackOffStrategy``)."""
    return interval_ms + random_value % (interval_ms >> 1)
