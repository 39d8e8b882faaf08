"""The watchdog (Envoy: ``GuardDogImpl``): counts how often a process was late, and looks where it is stuck.

A worker sets the heartbeat of its stat segment from a timer; main compares it with the clock. Main is late when its own
timer is; that is counted when it runs again.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.loader import duration_seconds
from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.stats import Block
from proxeny.server.server_stats import WATCHDOG, WATCHDOG_MEGA_MISS, WATCHDOG_MISS
from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.main")

TRACEBACK_SIGNAL: Final = signal.SIGUSR2
_CHECKS_PER_TIMEOUT: Final = 2


@dataclass(slots=True)
class WatchdogConfig:
    """``bootstrap.watchdogs.*`` in milliseconds; 0 = never kill. The defaults are Envoy's."""

    miss_ms: int = 200
    megamiss_ms: int = 1000
    kill_ms: int = 0

    @classmethod
    def of(cls, message: Any) -> WatchdogConfig:
        """The config of an ``envoy.config.bootstrap.v3.Watchdog``."""
        config = cls()
        if message.HasField("miss_timeout"):
            config.miss_ms = max(1, int(duration_seconds(message.miss_timeout) * 1000))
        if message.HasField("megamiss_timeout"):
            config.megamiss_ms = max(1, int(duration_seconds(message.megamiss_timeout) * 1000))
        kill = duration_seconds(message.kill_timeout)
        if kill > 0:
            jitter = duration_seconds(message.max_kill_timeout_jitter)
            config.kill_ms = int((kill + random.uniform(0, jitter)) * 1000)
        return config

    @property
    def beat_ms(self) -> int:
        """How often a heart beats, and is looked at."""
        return max(1, min(self.miss_ms, self.megamiss_ms) // _CHECKS_PER_TIMEOUT)


def configs(bootstrap: Any) -> tuple[WatchdogConfig, WatchdogConfig]:
    """(main's, workers') watchdog."""
    if bootstrap.HasField("watchdogs"):
        both = bootstrap.watchdogs
        return WatchdogConfig.of(both.main_thread_watchdog), WatchdogConfig.of(both.worker_watchdog)
    if bootstrap.HasField("watchdog"):
        return WatchdogConfig.of(bootstrap.watchdog), WatchdogConfig.of(bootstrap.watchdog)
    return WatchdogConfig(), WatchdogConfig()


def now_ms() -> int:
    """The clock of heartbeats: the same in every process."""
    return time.monotonic_ns() // 1_000_000


class Watched:
    """One process under watch; ``own`` and ``shared`` are the blocks that its misses are counted in."""

    __slots__ = ("_config", "_mega_missed", "_missed", "_own", "_shared", "name", "pid")

    def __init__(self, name: str, pid: int, config: WatchdogConfig, own: Block, shared: Block) -> None:
        self.name = name
        self.pid = pid
        self._config = config
        self._own = own
        self._shared = shared
        self._missed = False
        self._mega_missed = False

    def check(self, silent_ms: int) -> None:
        """Count a silence of ``silent_ms`` once per threshold until the heart beats again."""
        config = self._config
        if silent_ms < config.miss_ms:
            self._missed = self._mega_missed = False
            return
        if not self._missed:
            self._missed = True
            self._count(WATCHDOG_MISS)
        if silent_ms < config.megamiss_ms:
            return
        if not self._mega_missed:
            self._mega_missed = True
            self._count(WATCHDOG_MEGA_MISS)
            self.on_mega_miss(silent_ms)
        if config.kill_ms and silent_ms >= config.kill_ms:
            self.kill(silent_ms)

    def _count(self, slot: int) -> None:
        self._own.inc(slot)
        self._shared.inc(slot)

    def on_mega_miss(self, silent_ms: int) -> None:
        """Say where it is stuck."""
        log.warning("%s (pid %d) has not responded for %d ms; its traceback follows", self.name, self.pid, silent_ms)
        _signal(self.pid, TRACEBACK_SIGNAL)

    def kill(self, silent_ms: int) -> None:
        """``kill_timeout``: end a stuck worker; the supervisor replaces it."""
        log.critical("%s (pid %d) has not responded for %d ms: killing it", self.name, self.pid, silent_ms)
        _signal(self.pid, signal.SIGKILL)


class WatchedMain(Watched):
    """Main itself: its lateness is only seen afterwards."""

    __slots__ = ()

    def on_mega_miss(self, silent_ms: int) -> None:
        log.warning("the main process did not respond for %d ms", silent_ms)

    def kill(self, silent_ms: int) -> None:
        """Too late: it runs again."""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


class Watchdog:
    """Looks at all hearts from a timer of main's."""

    def __init__(self, dispatcher: Dispatcher, store: MainStore, bootstrap: Any, concurrency: int) -> None:
        main_config, self.worker_config = configs(bootstrap)
        self._store = store
        self._workers_shared = store.block(WATCHDOG, "workers.")
        self._own = [store.block(WATCHDOG, f"server.worker_{index}.") for index in range(concurrency)]
        self._main = WatchedMain(
            "main_thread",
            os.getpid(),
            main_config,
            store.block(WATCHDOG, "server.main_thread."),
            store.block(WATCHDOG, "main_thread."),
        )
        self._watched: dict[int, Watched] = {}
        self._beat_ms = min(main_config.beat_ms, self.worker_config.beat_ms)
        self._timer = dispatcher.create_timer(self._check)
        self._last_ms = now_ms()

    def start(self) -> None:
        """Begin to look."""
        self._last_ms = now_ms()
        self._timer.enable(self._beat_ms)

    def stop(self) -> None:
        """Look no more."""
        self._timer.disable()

    def watch(self, index: int, pid: int) -> None:
        """Worker ``index`` runs as ``pid`` and has beaten once."""
        self._watched[index] = Watched(
            f"worker_{index}", pid, self.worker_config, self._own[index], self._workers_shared
        )

    def forget(self, index: int) -> None:
        """Worker ``index`` ended."""
        self._watched.pop(index, None)

    def _check(self) -> None:
        now = now_ms()
        # What was between two looks includes the wait itself.
        self._main.check(max(0, now - self._last_ms - self._beat_ms))
        self._last_ms = now
        for index, watched in list(self._watched.items()):
            watched.check(now - self._store.workers[index].heartbeat)
        self._timer.enable(self._beat_ms)
