"""Counts Python-level calls of a worker (PROXENY_COUNT_CALLS=1), for the benchmark's calls per request."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block

INTERVAL_MS: Final = 200


class CallCounter:
    """Counts through ``sys.setprofile`` and publishes the total as the gauge ``server.python_calls``."""

    def __init__(self, dispatcher: Dispatcher, block: Block) -> None:
        self._block = block
        self._calls = 0
        self._timer = dispatcher.create_timer(self._publish)
        self._timer.enable(INTERVAL_MS)
        sys.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._calls += 1

    def _publish(self) -> None:
        self._block.set(0, self._calls)
        self._timer.enable(INTERVAL_MS)
