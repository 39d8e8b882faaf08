"""Stats of one subscription (Envoy: ``ALL_SUBSCRIPTION_STATS``)."""

from __future__ import annotations

import time
from typing import Final, Protocol

from proxeny.matcher.xxhash import xxhash64
from proxeny.stats.schema import Schema
from proxeny.stats.store import MainStore, StatTable, Store

SUBSCRIPTION: Final = Schema(
    "subscription",
    counters=("init_fetch_timeout", "update_attempt", "update_failure", "update_rejected", "update_success"),
    gauges=("update_time",),
    histograms=("update_duration",),
)
"""``<owner>.*``, for example ``listener_manager.lds.*``; ``version`` and ``version_text`` stand beside them."""

_UPDATE_ATTEMPT: Final = SUBSCRIPTION.slot("update_attempt")
_UPDATE_FAILURE: Final = SUBSCRIPTION.slot("update_failure")
_UPDATE_REJECTED: Final = SUBSCRIPTION.slot("update_rejected")
_UPDATE_SUCCESS: Final = SUBSCRIPTION.slot("update_success")
_INIT_FETCH_TIMEOUT: Final = SUBSCRIPTION.slot("init_fetch_timeout")
_UPDATE_TIME: Final = SUBSCRIPTION.slot("update_time")
_UPDATE_DURATION: Final = SUBSCRIPTION.slot("update_duration")


class UpdateStats(Protocol):
    """Counts what a subscription does."""

    def attempt(self) -> None:
        """An update is looked at."""

    def failure(self) -> None:
        """It could not be read."""

    def rejected(self) -> None:
        """It was read and refused, as a whole or in part."""

    def success(self, version: str, duration_ms: int | None = None) -> None:
        """It was applied, in so many milliseconds where that is measured."""

    def timed_out(self) -> None:
        """Nothing came in time for the start."""

    @property
    def prefix(self) -> str:
        """What all of them, and those of a stream of its own, stand below."""


def release_stats(store: MainStore, table: StatTable, prefix: str, schema: Schema = SUBSCRIPTION) -> None:
    """A subscription has ended: let go of its blocks, and of its version if it was the last below ``prefix``.

    ``schema``: of a block that all subscriptions of its kind have there.
    """
    store.release(table)
    if (schema.name, prefix) not in store.entries:
        store.forget_version(prefix)


class SubscriptionStats:
    """Those of most subscriptions, below a prefix of their own."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._block = store.block(SUBSCRIPTION, prefix)
        store.text_readout(f"{prefix}version_text", "")
        store.wide_gauge(f"{prefix}version", None)

    def attempt(self) -> None:
        """An update is looked at."""
        self._block.inc(_UPDATE_ATTEMPT)

    def failure(self) -> None:
        """It could not be read."""
        self._block.inc(_UPDATE_FAILURE)

    def rejected(self) -> None:
        """It was read and refused, as a whole or in part."""
        self._block.inc(_UPDATE_REJECTED)

    def success(self, version: str, duration_ms: int | None = None) -> None:
        """It was applied."""
        self._block.inc(_UPDATE_SUCCESS)
        if duration_ms is not None:
            self._block.record(_UPDATE_DURATION, duration_ms)
        self._block.set(_UPDATE_TIME, int(time.time() * 1000))
        self._store.wide_gauge(f"{self._prefix}version", xxhash64(version.encode()))
        self._store.text_readout(f"{self._prefix}version_text", version)

    def timed_out(self) -> None:
        """Nothing came in time for the start."""
        self._block.inc(_INIT_FETCH_TIMEOUT)

    @property
    def prefix(self) -> str:
        """What they stand below."""
        return self._prefix
