"""Stats of the stream to a control plane (Envoy: ``ALL_CONTROL_PLANE_STATS``)."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema
from proxeny.stats.store import Store

CONTROL_PLANE: Final = Schema(
    "control_plane", counters=("rate_limit_enforced",), gauges=("connected_state", "pending_requests")
)
"""``<owner>.control_plane.*``; ``identifier`` stands beside them."""

_RATE_LIMIT_ENFORCED: Final = CONTROL_PLANE.slot("rate_limit_enforced")
_CONNECTED_STATE: Final = CONTROL_PLANE.slot("connected_state")
_PENDING_REQUESTS: Final = CONTROL_PLANE.slot("pending_requests")


class ControlPlaneStats:
    """Those of one stream, below the prefix of whoever opened it (none for ADS)."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}control_plane."
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
