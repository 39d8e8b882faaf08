"""The worker's timers: collector, heartbeat, call counter."""

import gc
import sys
from collections.abc import Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.balance import BalanceTable
from proxeny.kernel.stats import Segment
from proxeny.server.server_stats import PYTHON_CALLS
from proxeny.stats.store import MainStore
from proxeny.worker.call_counter import INTERVAL_MS, CallCounter
from proxeny.worker.collector import BUDGET_S, FREEZE_DELAY_MS, Collector
from proxeny.worker.collector import INTERVAL_MS as COLLECT_MS
from proxeny.worker.heartbeat import Heartbeat


@pytest.fixture
def clock() -> SimulatedTimeSource:
    return SimulatedTimeSource()


@pytest.fixture
def dispatcher(clock: SimulatedTimeSource) -> Iterator[Dispatcher]:
    made = Dispatcher(clock, "test")
    thresholds = gc.get_threshold()
    yield made
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    sys.setprofile(None)
    made.close()


def test_full_collections_run_from_a_timer_only(
    dispatcher: Dispatcher, clock: SimulatedTimeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    kept = Collector(dispatcher)
    assert gc.get_threshold()[2] >= 1_000_000
    monkeypatch.setattr("proxeny.worker.collector.gc.collect", lambda generation=2: calls.append(generation))
    clock.advance_ms(COLLECT_MS)
    dispatcher.run_once()
    assert calls == [2]
    kept.freeze()
    assert gc.get_freeze_count() > 0
    # Once there is traffic a full one would be a pause.
    kept.freeze_soon()
    kept.freeze_soon()
    assert calls == [2, 2]
    clock.advance_ms(FREEZE_DELAY_MS)
    dispatcher.run_once()
    assert calls == [2, 2, 1]


def test_slow_collections_become_rarer(
    dispatcher: Dispatcher, clock: SimulatedTimeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    calls: list[float] = []

    def collect() -> None:
        now[0] += BUDGET_S * 2
        calls.append(now[0])

    monkeypatch.setattr("proxeny.worker.collector.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("proxeny.worker.collector.gc.collect", collect)
    kept = Collector(dispatcher)
    for _ in range(4):
        clock.advance_ms(COLLECT_MS)
        dispatcher.run_once()
    assert len(calls) == 2
    assert kept


def test_heartbeat(dispatcher: Dispatcher, clock: SimulatedTimeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    beat = [5]
    monkeypatch.setattr("proxeny.worker.heartbeat.now_ms", lambda: beat[0])
    monkeypatch.setattr("proxeny.worker.heartbeat.register_traceback", lambda: None)
    segment = Segment.create()
    heart = Heartbeat(dispatcher, segment, BalanceTable(BalanceTable.create(1).fd, 1, 0))
    assert segment.heartbeat == 5
    heart.start(100)
    beat[0] = 77
    clock.advance_ms(100)
    dispatcher.run_once()
    assert segment.heartbeat == 77
    segment.close()


def test_python_calls_are_counted(dispatcher: Dispatcher, clock: SimulatedTimeSource) -> None:
    block = MainStore().block(PYTHON_CALLS, "server.")

    def called() -> None:
        return

    counter = CallCounter(dispatcher, block)
    for _ in range(50):
        called()
    sys.setprofile(None)
    clock.advance_ms(INTERVAL_MS)
    dispatcher.run_once()
    assert block.get(0) >= 50
    assert counter
