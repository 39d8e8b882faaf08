"""Long work in slices."""

import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from proxeny.event import slices
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import SlicedWork, Steps, discard_steps, finish, sort_steps


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    made = Dispatcher()
    yield made
    made.close()


def work(events: list[str], steps: int, fails: bool = False) -> Steps[str]:
    for number in range(steps):
        events.append(f"step {number}")
        yield
    if fails:
        raise ValueError("no")
    return "result"


def test_at_once() -> None:
    events: list[str] = []
    assert finish(work(events, 3)) == "result"
    assert events == ["step 0", "step 1", "step 2"]


def test_the_loop_goes_on_between_slices(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += slices.BUDGET_S * 0.6  # a slice ends behind its second step
        return now[0]

    monkeypatch.setattr("proxeny.event.slices.time.perf_counter", clock)
    events: list[str] = []
    SlicedWork(dispatcher, work(events, 3), lambda error: events.append(f"done {error}"))
    assert events == []
    dispatcher.call_soon(lambda: events.append("other"))
    dispatcher.run_until(lambda: events[-1:] == ["done None"])
    assert events.index("other") < events.index("step 2")
    assert [one for one in events if one != "other"] == ["step 0", "step 1", "step 2", "done None"]


def test_what_it_raises_is_told(dispatcher: Dispatcher) -> None:
    heard: list[Exception | None] = []
    SlicedWork(dispatcher, work([], 1, fails=True), heard.append)
    dispatcher.run_until(lambda: heard)
    [error] = heard
    assert isinstance(error, ValueError)


def test_cancelled_work_is_closed_and_not_told_of(dispatcher: Dispatcher) -> None:
    events: list[str] = []

    def endless() -> Steps[None]:
        try:
            while True:
                yield
        finally:
            events.append("closed")

    one = SlicedWork(dispatcher, endless(), lambda error: events.append("done"))
    turns: list[None] = []
    dispatcher.call_later(0.001, turns.append, None)
    dispatcher.run_until(lambda: turns)
    one.cancel()
    dispatcher.call_later(0.001, turns.append, None)
    dispatcher.run_until(lambda: len(turns) == 2)
    assert events == ["closed"]


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 5000, 40_000])
def test_sorting(count: int) -> None:
    items = [b"%d" % number for number in range(count)]
    random.Random(count).shuffle(items)
    assert finish(sort_steps(items)) == sorted(items)
    assert finish(sort_steps(sorted(items))) == sorted(items)


def test_sorting_pauses_between_small_shares() -> None:
    items = [b"/%d/x" % number for number in range(20_000)]
    assert len(list(sort_steps(items))) > 50


def test_parts_go_a_few_at_a_time() -> None:
    class Part:
        pass

    parts: list[Any] = [Part() for _ in range(100)]
    alive = [weakref.ref(part) for part in parts]
    counts = [sum(ref() is not None for ref in alive) for _ in discard_steps(parts)]
    assert counts == [68, 36, 4, 0]
