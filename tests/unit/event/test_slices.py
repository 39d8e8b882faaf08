"""Long work in slices."""

from collections.abc import Iterator

import pytest

from proxeny.event import slices
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import SlicedWork, Steps, finish


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
