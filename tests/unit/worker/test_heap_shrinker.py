"""Memory is given back every 10 s while the action is saturated, and not otherwise."""

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.overload_state import SHRINK_HEAP, OverloadState
from proxeny.testing import SimulatedTimeSource
from proxeny.worker.heap_shrinker import INTERVAL_MS, HeapShrinker, trim


def test_while_saturated() -> None:
    time = SimulatedTimeSource()
    dispatcher = Dispatcher(time_source=time)
    overload = OverloadState()
    shrunk: list[bool] = []
    shrinker = HeapShrinker(dispatcher, overload, lambda: shrunk.append(True))

    def after(intervals: int) -> int:
        for _ in range(intervals):
            time.advance_ms(INTERVAL_MS)
            dispatcher.run_once()
        return len(shrunk)

    try:
        assert after(2) == 0
        overload.update({SHRINK_HEAP: 0.9})
        assert after(2) == 0
        overload.update({SHRINK_HEAP: 1.0})
        assert after(3) == 3
        overload.update({})
        assert after(3) == 3
    finally:
        del shrinker
        dispatcher.close()


def test_trimming() -> None:
    trim()
