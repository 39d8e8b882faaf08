"""Garbage collection of a process that must not pause: what lives long is frozen out, the rest collected in idle time.

Generations 0 and 1 stay automatic. Full collections run from a timer, and less often when one took longer than its
budget.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

INTERVAL_MS: Final = 30_000
LONGEST_INTERVAL_MS: Final = 3_600_000
BUDGET_S: Final = 0.005
_NEVER: Final = 1_000_000_000


class Collector:
    """Runs full collections of one process."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        first, second, _ = gc.get_threshold()
        gc.set_threshold(first, second, _NEVER)
        self._interval_ms = INTERVAL_MS
        self._timer = dispatcher.create_timer(self._collect)
        self._timer.enable(self._interval_ms)

    def freeze(self, *, serving: bool = False) -> None:
        """A configuration was compiled: collect what its compile left, and keep the rest out of every collection.

        While a process serves, only the young generations are collected: a full collection would be a pause.
        """
        gc.collect(1 if serving else 2)
        gc.freeze()

    def _collect(self) -> None:
        began = time.perf_counter()
        gc.collect()
        if time.perf_counter() - began > BUDGET_S:
            self._interval_ms = min(self._interval_ms * 2, LONGEST_INTERVAL_MS)
        self._timer.enable(self._interval_ms)
