"""Responses, one after the other, each in slices that do not hold up main's loop."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxeny.event.slices import BUDGET_S, Steps, finish

if TYPE_CHECKING:
    import asyncio

_SMALL: Final = 1 << 14
"""Bytes of a response up to which it is not worth slicing."""
MOST_WAITING: Final = 16
"""How much work may wait for slices."""

log = logging.getLogger("proxeny.config")


class Inbox:
    """Work is begun at once unless other work is under way, and then after it: nothing overtakes.

    Envoy does all of it where it comes; here what takes long is left off for others to have a turn. A flood is done
    where it comes too, once ``MOST_WAITING`` wait: then nothing more is read meanwhile.
    """

    def __init__(self, dispatcher: asyncio.AbstractEventLoop) -> None:
        self._dispatcher = dispatcher
        self._waiting: deque[Callable[[], Steps[None] | None]] = deque()
        self._steps: Steps[None] | None = None
        self._running = False
        self._is_scheduled = False
        self._closed = False

    def put(self, work: Callable[[], Steps[None] | None]) -> None:
        """Do ``work``; if it returns steps, those are the work."""
        if self._closed:
            return
        self._waiting.append(work)
        if not self._running and (self._steps is None or len(self._waiting) > MOST_WAITING):
            self._run()

    def _run_later(self) -> None:
        self._is_scheduled = False
        self._run()

    def _run(self) -> None:
        if self._closed or self._running:
            return
        end_of_slice = time.perf_counter() + BUDGET_S
        self._running = True
        try:
            while self._advance():
                if time.perf_counter() >= end_of_slice and len(self._waiting) <= MOST_WAITING:
                    self._schedule()
                    return
        finally:
            self._running = False

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._dispatcher.call_soon(self._run_later)

    def _advance(self) -> bool:
        """One step; False: there are none."""
        try:
            if self._steps is None:
                if not self._waiting:
                    return False
                self._steps = self._waiting.popleft()()
            else:
                next(self._steps)
        except StopIteration:
            self._steps = None
        except Exception:
            log.exception("a discovery response could not be handled")
            self._steps = None
        return True

    def close(self) -> None:
        """Let go of what is left."""
        self._closed = True
        self._waiting.clear()
        if self._steps is not None and not self._running:
            self._steps.close()
        self._steps = None


def unless_small(steps: Steps[None], size: int) -> Steps[None] | None:
    """``steps``, by which a response of ``size`` bytes is taken; what a small one needs is done at once."""
    if size > _SMALL:
        return steps
    finish(steps)
    return None
