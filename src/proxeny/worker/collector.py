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
FREEZE_DELAY_MS: Final = 20
YOUNG: Final = 10_000
"""How many more containers must be alive before the youngest are looked through. With Python's 700, requests that run
at the same time are traversed again and again: 3 % of a small HTTP/2 request."""
_NEVER: Final = 1_000_000_000


class Collector:
    """Runs full collections of one process."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        _, second, _ = gc.get_threshold()
        gc.set_threshold(YOUNG, second, _NEVER)
        self._interval_ms = INTERVAL_MS
        self._timer = dispatcher.create_timer(self._collect)
        self._timer.enable(self._interval_ms)

        self._freeze_timer = dispatcher.create_timer(self._freeze_young)

    def freeze(self) -> None:
        """All was compiled: collect what that left, and keep the rest out of every collection."""
        gc.collect()
        gc.freeze()

    def freeze_soon(self) -> None:
        """Something was compiled while the process serves: the same for the young generations, once for a burst.

        A full collection would be a pause. One collection for each of thousands would be quadratic, as dictionaries of
        untracked tuples are looked through every time.
        """
        if not self._freeze_timer.enabled:
            self._freeze_timer.enable(FREEZE_DELAY_MS)

    def _freeze_young(self) -> None:
        gc.collect(1)
        gc.freeze()

    def _collect(self) -> None:
        began = time.perf_counter()
        gc.collect()
        if time.perf_counter() - began > BUDGET_S:
            self._interval_ms = min(self._interval_ms * 2, LONGEST_INTERVAL_MS)
        self._timer.enable(self._interval_ms)
