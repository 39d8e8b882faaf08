"""A detector with its hosts, a clock, and dice that the test throws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.outlier import HostMonitor, OutlierTable
from proxeny.stats.store import MainStore
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.host_health import HostHealth
from proxeny.upstream.merge_window import DEFAULT_MERGE_WINDOW_MS, MergeWindow
from proxeny.upstream.outlier.config import THRESHOLDS, EjectionType, OutlierConfig, OutlierSettings
from proxeny.upstream.outlier.detector import OutlierDetector
from proxeny.upstream.outlier.event_log import OutlierEventLog
from proxeny.upstream.outlier.stats import OUTLIER
from proxeny.upstream.stats import CLUSTER_MANAGER


class Bench:
    """Hosts ``127.0.0.1:1000`` and up, whose stat blocks begin at 100, 200 ..."""

    def __init__(self, hosts: int, runtime: Any, values: dict[str, Any]) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        store = MainStore()
        self.stats = store.block(OUTLIER, "cluster.c.outlier_detection.")
        self.entries = [HostEntry("127.0.0.1", 1000 + i, stat_index=i) for i in range(hosts)]
        hub = HostHealth(self.dispatcher, store.block(CLUSTER_MANAGER, "cluster_manager."))
        window = MergeWindow(self.dispatcher, hub.stats, DEFAULT_MERGE_WINDOW_MS, lambda: None)
        self.health = hub.make("c", self.entries, window)
        self.table = OutlierTable.create()
        self.settings = OutlierSettings(OutlierConfig(**values), runtime)
        self.dice = 0
        self.lines: list[bytes] = []
        self.detector = OutlierDetector(
            "c", self.settings, self.stats, self.table, self.health, self.dispatcher, lambda: self.dice,
            OutlierEventLog(self, self.dispatcher, lambda: 1_700_000_000_000),
        )  # fmt: skip
        self.set_hosts(*range(hosts))

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def set_hosts(self, *numbers: int) -> None:
        self.detector.set_hosts([(self.entries[i], 100 + 100 * i) for i in numbers])
        self.monitors = {i: HostMonitor(self.table, 100 + 100 * i, self, False, False) for i in numbers}

    # What a worker does.
    def threshold(self, kind: int) -> int:
        return self.settings.integer(THRESHOLDS[EjectionType(kind)])

    def report(self, base: int, kind: int) -> None:
        self.detector.on_reported(base, kind)

    def put(self, host: int, *codes: int) -> None:
        for code in codes:
            self.monitors[host].put_result(0 if code >= 500 else 1, code)

    # What comes of it.
    def flags(self) -> list[int]:
        return [entry.health_flags for entry in self.entries]

    def counts(self) -> dict[str, int]:
        """The statistics that are not 0, without their common beginning."""
        values = {name: self.stats.get(slot) for slot, name in enumerate(OUTLIER.names)}
        return {name.removeprefix("ejections_"): value for name, value in values.items() if value}

    def after(self, ms: int) -> None:
        """An interval ends so much later."""
        self.time.advance_ms(ms)
        self.dispatcher.wheel.advance(self.time.monotonic_ns() // 1_000_000)
        self.detector.on_interval()


@pytest.fixture
def bench() -> Iterator[Any]:
    """``bench(hosts, runtime=None, **OutlierConfig)``."""
    made: list[Bench] = []

    def make(hosts: int = 1, runtime: Any = None, **values: Any) -> Bench:
        made.append(Bench(hosts, runtime, values))
        return made[-1]

    yield make
    for one in made:
        one.detector.close()
        one.dispatcher.close()
