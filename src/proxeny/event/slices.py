"""Long work in slices, so that it never holds a loop up: a generator yields wherever it may be interrupted."""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

T = TypeVar("T")
Ordered = TypeVar("Ordered", bytes, int, str)
Steps = Generator[None, None, T]

BUDGET_S: Final = 0.001
"""How long one turn of the loop may be held up."""

_SORTED_AT_ONCE: Final = 1024
_DISCARDED_AT_ONCE: Final = 32


def finish(steps: Steps[T]) -> T:
    """Do the work at once; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def sort_steps(items: Iterable[Ordered]) -> Steps[list[Ordered]]:
    """``sorted`` in slices, of items that differ: shared out among samples, each share then sorted by itself."""
    rest = list(items)
    if len(rest) <= _SORTED_AT_ONCE:
        return sorted(rest)
    samples = sorted(rest[:: max(1, len(rest) * 4 // _SORTED_AT_ONCE)][:_SORTED_AT_ONCE])[::4]
    shares: list[list[Ordered]] = [[] for _ in range(len(samples) + 1)]
    for number, item in enumerate(rest):
        shares[bisect(samples, item)].append(item)
        if not number & 255:
            yield
    made: list[Ordered] = []
    for share in shares:
        share.sort()
        made += share
        yield
    return made


def discard_steps(parts: list[Any]) -> Steps[None]:
    """Let go of what only this list holds, from its end, a few at a time."""
    while parts:
        del parts[-_DISCARDED_AT_ONCE:]
        yield


class SlicedWork:
    """Work that runs slice by slice, one per turn; ``on_done`` hears of its end, with what it raised."""

    def __init__(
        self, dispatcher: Dispatcher, steps: Steps[Any], on_done: Callable[[Exception | None], object]
    ) -> None:
        self._dispatcher = dispatcher
        self._steps = steps
        self._on_done = on_done
        self._next = dispatcher.call_soon(self._run)

    def cancel(self) -> None:
        """Leave it; ``on_done`` is not called."""
        self._next.cancel()
        self._steps.close()

    def _run(self) -> None:
        end_of_slice = time.perf_counter() + BUDGET_S
        try:
            while time.perf_counter() < end_of_slice:
                next(self._steps)
        except StopIteration:
            self._on_done(None)
        except Exception as error:
            self._on_done(error)
        else:
            self._next = self._dispatcher.call_soon(self._run)


def discard(dispatcher: Dispatcher, parts: list[Any]) -> None:
    """``discard_steps`` over the next turns of the loop."""
    SlicedWork(dispatcher, discard_steps(parts), lambda error: None)
