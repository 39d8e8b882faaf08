"""The watchdog's counting, against a segment whose heartbeat the test sets."""

import os

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format

from proxeny.event.dispatcher import Dispatcher
from proxeny.server import watchdog
from proxeny.server.server_stats import WATCHDOG, WATCHDOG_MEGA_MISS, WATCHDOG_MISS
from proxeny.server.watchdog import WatchdogConfig, Watched, configs
from proxeny.stats.store import MainStore


def bootstrap(**fields: object) -> bootstrap_pb2.Bootstrap:
    return json_format.ParseDict(fields, bootstrap_pb2.Bootstrap())


def test_defaults_are_envoys() -> None:
    main, workers = configs(bootstrap())
    assert (main.miss_ms, main.megamiss_ms, main.kill_ms) == (200, 1000, 0)
    assert workers == main
    assert main.beat_ms == 100


def test_both_are_configured_apart() -> None:
    main, workers = configs(
        bootstrap(
            watchdogs={
                "main_thread_watchdog": {"miss_timeout": "0.4s"},
                "worker_watchdog": {"megamiss_timeout": "2s", "kill_timeout": "5s"},
            }
        )
    )
    assert (main.miss_ms, main.megamiss_ms) == (400, 1000)
    assert (workers.miss_ms, workers.megamiss_ms, workers.kill_ms) == (200, 2000, 5000)


def test_the_old_field_is_for_both() -> None:
    main, workers = configs(bootstrap(watchdog={"miss_timeout": "0.3s"}))
    assert main.miss_ms == workers.miss_ms == 300


class Recorder(Watched):
    """Writes down instead of signalling."""

    def __init__(self, config: WatchdogConfig, store: MainStore) -> None:
        super().__init__("worker_0", os.getpid(), config, store.block(WATCHDOG, "own."), store.block(WATCHDOG, "all."))
        self.seen: list[str] = []

    def on_mega_miss(self, silent_ms: int) -> None:
        self.seen.append(f"mega {silent_ms}")

    def kill(self, silent_ms: int) -> None:
        self.seen.append(f"kill {silent_ms}")


def test_a_silence_counts_once_until_the_heart_beats_again() -> None:
    store = MainStore()
    watched = Recorder(WatchdogConfig(kill_ms=3000), store)
    for silent_ms in (50, 199, 250, 700, 1100, 1500, 3000, 0, 300, 10):
        watched.check(silent_ms)
    for prefix in ("own.", "all."):
        block = store.block(WATCHDOG, prefix)
        assert block.get(WATCHDOG_MISS) == 2
        assert block.get(WATCHDOG_MEGA_MISS) == 1
    assert watched.seen == ["mega 1100", "kill 3000"]


def test_workers_are_looked_at_from_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = Dispatcher(name="test")
    store = MainStore()
    segment = store.create_worker_segment(0)
    now = 1_000_000
    monkeypatch.setattr(watchdog, "now_ms", lambda: now)
    dog = watchdog.Watchdog(dispatcher, store, bootstrap(), 1)
    dog.watch(0, os.getpid())
    segment.heartbeat = now
    dog._check()
    shared = store.block(WATCHDOG, "workers.")
    assert shared.get(WATCHDOG_MISS) == 0
    now += 500
    dog._check()
    assert shared.get(WATCHDOG_MISS) == 1
    assert store.block(WATCHDOG, "main_thread.").get(WATCHDOG_MISS) == 1
    dog.forget(0)
    now += 500
    dog._check()
    assert shared.get(WATCHDOG_MISS) == 1
    dog.stop()
    dispatcher.close()
