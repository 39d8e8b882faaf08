"""Rapid resets (CVE-2023-44487): a connection most of whose requests are given up at once is closed.

Envoy: ``ConnectionManagerImpl::maybeDrainDueToPrematureResets``, with the runtime keys of the overload manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.network.stream_info import StreamInfo

TOTAL_STREAM_COUNT: Final = "overload.premature_reset_total_stream_count"
MIN_STREAM_LIFETIME_SECONDS: Final = "overload.premature_reset_min_stream_lifetime_seconds"

DEFAULT_TOTAL_STREAM_COUNT: Final = 500
DEFAULT_MIN_STREAM_LIFETIME_SECONDS: Final = 1

NANOSECONDS: Final = 1_000_000_000


class PrematureResets:
    """The counts of one connection."""

    __slots__ = ("_premature", "_runtime")

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._premature = 0

    def are_too_many(self, info: StreamInfo, closed: int) -> bool:
        """Count a stream that ended without an answer: were there too many that ended early, of all ``closed`` ones?"""
        if not self._is_premature(info):
            return False
        self._premature += 1
        limit = self._limit(TOTAL_STREAM_COUNT, DEFAULT_TOTAL_STREAM_COUNT)
        # Below the limit: whether the share would still be too large there if all that follow were good.
        return 2 * self._premature >= max(limit, closed)

    def _is_premature(self, info: StreamInfo) -> bool:
        least = self._limit(MIN_STREAM_LIFETIME_SECONDS, DEFAULT_MIN_STREAM_LIFETIME_SECONDS)
        return (info.end_ns - info.start_ns) // NANOSECONDS <= least

    def _limit(self, key: str, default: int) -> int:
        return default if self._runtime is None else int(self._runtime.get_integer(key, default))
