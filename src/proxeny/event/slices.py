"""Long work in slices, so that it never holds a loop up: a generator yields wherever it may be interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

T = TypeVar("T")
Steps = Generator[None, None, T]

BUDGET_S: Final = 0.002
"""How long one turn of the loop may be held up."""


def finish(steps: Steps[T]) -> T:
    """Do the work at once; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class SlicedWork:
    """Work that runs slice by slice, one per turn; ``on_done`` hears of its end, with what it raised."""

    def __init__(
        self, dispatcher: Dispatcher, steps: Steps[Any], on_done: Callable[[Exception | None], object]
    ) -> None:
        self._dispatcher = dispatcher
        self._steps = steps
        self._on_done = on_done
        dispatcher.call_soon(self._run)

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
            self._dispatcher.call_soon(self._run)
