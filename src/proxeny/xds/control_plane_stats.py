"""Stats of the stream to a control plane (Envoy: ``ALL_CONTROL_PLANE_STATS``)."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema
from proxeny.stats.store import MainStore

CONTROL_PLANE: Final = Schema(
    "control_plane", counters=("rate_limit_enforced",), gauges=("connected_state", "pending_requests")
)
"""``<owner>.control_plane.*``; ``identifier`` stands beside them."""

_RATE_LIMIT_ENFORCED: Final = CONTROL_PLANE.slot("rate_limit_enforced")
_CONNECTED_STATE: Final = CONTROL_PLANE.slot("connected_state")
_PENDING_REQUESTS: Final = CONTROL_PLANE.slot("pending_requests")


class ControlPlaneStats:
    """Those of one stream, below the prefix of whoever opened it (none for ADS)."""

    def __init__(self, store: MainStore, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}control_plane."
        with store.recording() as self._table:
            self._block = store.block(CONTROL_PLANE, self._prefix)
        store.text_readout(f"{self._prefix}identifier", "")

    def connected(self, state: int) -> None:
        """1: to the first service, 2: to the one to fail over to, 0: to none."""
        self._block.set(_CONNECTED_STATE, state)

    def identifier(self, text: str) -> None:
        """Who answers."""
        self._store.text_readout(f"{self._prefix}identifier", text)

    def pending_requests(self, count: int) -> None:
        """How many requests wait for the rate limit."""
        self._block.set(_PENDING_REQUESTS, count)

    def rate_limit_enforced(self) -> None:
        """A request has to wait."""
        self._block.inc(_RATE_LIMIT_ENFORCED)

    def close(self) -> None:
        """The stream is gone for good."""
        self._store.release(self._table)
        if (CONTROL_PLANE.name, self._prefix) not in self._store.entries:
            self._store.text_readouts.pop(f"{self._prefix}identifier", None)
