"""Gives free memory back to the system under overload (Envoy: ``Memory::HeapShrinker``)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxeny.network.overload_state import SATURATED, SHRINK_HEAP

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.overload_state import OverloadState

INTERVAL_MS: Final = 10_000
"""Envoy's (``kTimerInterval``)."""


def trim() -> None:
    """Have the C library return what it keeps but does not use."""
    ctypes.CDLL(None).malloc_trim(0)


class HeapShrinker:
    """Trims this process's heap every 10 s while the overload action ``shrink_heap`` is saturated."""

    def __init__(self, dispatcher: Dispatcher, overload: OverloadState, shrink: Callable[[], None] = trim) -> None:
        self._overload = overload
        self._shrink = shrink
        self._timer = dispatcher.create_timer(self._tick)
        overload.on_change(self._follow)

    def _is_active(self) -> bool:
        return self._overload.values.get(SHRINK_HEAP, 0.0) >= SATURATED

    def _follow(self) -> None:
        if self._is_active() and not self._timer.enabled:
            self._timer.enable(INTERVAL_MS)

    def _tick(self) -> None:
        if self._is_active():
            self._shrink()
            self._timer.enable(INTERVAL_MS)
