"""The main process (Envoy: ``Server::InstanceImpl``): starts everything in Envoy's order, and stops it."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import sys
import time
from typing import Final

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.server import base_id, messages, process, zygote
from proxeny.server import log as log_set_up
from proxeny.server.options import Mode, Options
from proxeny.server.preload import preload, worker_main
from proxeny.server.server_stats import (
    DYNAMIC_UNKNOWN_FIELDS,
    INITIALIZATION_TIME_MS,
    LIVE,
    STATIC_UNKNOWN_FIELDS,
    WIP_PROTOS,
    ServerStats,
)
from proxeny.server.supervisor import Supervisor, WorkerDied
from proxeny.server.validation import load
from proxeny.server.version import HOT_RESTART_DISABLED
from proxeny.server.watchdog import Watchdog
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.worker.collector import Collector

log = logging.getLogger("proxeny.main")

STOP_TIMEOUT_S: Final = 5.0
FEW_FILES: Final = 4096
"""Below this limit of open files the start warns: a proxied connection takes two."""

STATE_LIVE, STATE_DRAINING, STATE_PRE_INITIALIZING, STATE_INITIALIZING = range(4)
"""``envoy.admin.v3.ServerInfo.State``."""


def serve(options: Options) -> int:
    """Serve until a signal or the admin interface stops it; the exit status."""
    if options.enable_core_dump:
        process.allow_core_dumps()
    log.info(
        "initializing epoch %d (base id=%d, hot restart version=%s)",
        options.restart_epoch,
        options.base_id,
        HOT_RESTART_DISABLED,
    )
    limit = process.raise_file_limit()
    try:
        claim = base_id.claim(options)
        preload(options)
    except ConfigError as error:
        _report(options, error)
        return _end(1, error)
    if limit < FEW_FILES:
        log.warning(
            "only %d files may be open at once: that is enough for about %d proxied connections per worker; "
            "raise the hard limit of open files (ulimit -Hn) for more",
            limit,
            max(0, limit - 100) // 2,
        )
    zygote.freeze()
    the_zygote = zygote.start(functools.partial(worker_main, options))
    server = Server(options, the_zygote)
    try:
        return server.run()
    finally:
        if claim is not None:
            claim.close()


def _report(options: Options, error: ConfigError) -> None:
    log.critical("error `%s` initializing config '%s'", error, options.config_path)


def _end(status: int, error: ConfigError | None = None) -> int:
    """The last words, as Envoy's: the log's, then the error by itself."""
    log.info("exiting")
    if error is not None:
        sys.stderr.write(f"{error}\n")
    return status


class Server:
    """The main process once the zygote is forked."""

    def __init__(self, options: Options, the_zygote: zygote.Zygote) -> None:
        self.options = options
        self.began = time.monotonic()
        self.dispatcher = Dispatcher(name="main_thread")
        self.store = MainStore()
        self.stats = ServerStats(self.store, options.concurrency)
        self.supervisor = Supervisor(
            self.dispatcher,
            self.store,
            self.stats.block,
            the_zygote,
            functools.partial(worker_main, options),
            options.concurrency,
        )
        self.state = STATE_PRE_INITIALIZING
        self._failed = False
        self._failure: ConfigError | None = None
        self._flush_timer = self.dispatcher.create_timer(self._flush_stats)
        self._stopping = False
        self._start_task: asyncio.Task[None] | None = None
        self._stop_task: asyncio.Task[None] | None = None

    # -- start -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Load, start, serve, stop."""
        asyncio.set_event_loop(self.dispatcher)
        self._handle_signals()
        self.supervisor.start()
        try:
            self._initialize()
        except ConfigError as error:
            self._fail(error)
        except Exception:
            log.critical("start failed", exc_info=True)
            self._fail(None)
        else:
            self._start_task = self.dispatcher.create_task(self._start())
        self.dispatcher.run()
        return _end(1 if self._failed else 0, self._failure)

    def _handle_signals(self) -> None:
        loop = self.dispatcher
        loop.add_signal_handler(signal.SIGTERM, self._on_stop_signal, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self._on_stop_signal, "SIGINT")
        loop.add_signal_handler(signal.SIGUSR1, self._on_reopen_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_hup)

    def _initialize(self) -> None:
        loaded = load(self.options)
        # Imported late: the parts of main that the workers do not share.
        from proxeny.server.bootstrap import Bootstrapped
        from proxeny.server.reload.reloader import Reloader

        self.stats.block.add(STATIC_UNKNOWN_FIELDS, loaded.unknown_fields)
        self.stats.block.add(WIP_PROTOS, loaded.wip_uses)
        self.stats.block.add(DYNAMIC_UNKNOWN_FIELDS, 0)
        self.parts = Bootstrapped(self, loaded)
        self.reloader = Reloader(self, self.parts)
        if self.options.watch:
            self.reloader.watch()
        self.stats_view = StatsView(self.store, self.parts.configuration.stats_settings)
        self.supervisor.feeder = self.parts
        self.watchdog = self.supervisor.watchdog = Watchdog(
            self.dispatcher, self.store, loaded.bootstrap, self.options.concurrency
        )
        self.state = STATE_INITIALIZING

    async def _start(self) -> None:
        try:
            await self.parts.start()
        except ConfigError as error:
            self._fail(error)
            return
        except WorkerDied:
            self._fail(ConfigError("a worker ended while it was being started"))
            return
        except Exception:
            log.critical("start failed", exc_info=True)
            self._fail(None)
            return
        self.collector = Collector(self.dispatcher)
        self.collector.freeze()
        self.stats.block.record(INITIALIZATION_TIME_MS, int((time.monotonic() - self.began) * 1000))
        self.watchdog.start()
        if self.options.mode is Mode.INIT_ONLY:
            self._begin_stop()
            return
        self.state = STATE_LIVE
        self.stats.block.set(LIVE, 1)
        self.push_server_state()
        self._flush_stats()
        log.info("starting main dispatch loop")

    def _fail(self, error: ConfigError | None) -> None:
        """The start failed: end with status 1."""
        self._failed, self._failure = True, error
        if error is not None:
            _report(self.options, error)
        self._begin_stop()

    # -- while it runs -----------------------------------------------------------------------------------------

    def _flush_stats(self) -> None:
        self.refresh_stats()
        self.stats_view.flush()
        self._flush_timer.enable(self.stats_view.settings.flush_interval_ms)

    def refresh_stats(self) -> None:
        """Set the gauges of ``server.`` that nobody counts."""
        self.stats.refresh(self.pids(), self.state)
        certificates = self.parts.secrets.certificates
        self.stats.show_certificates(
            certificates.days_until_first_expires(), certificates.seconds_until_first_staple_expires()
        )

    @property
    def has_started(self) -> bool:
        """Whether everything of the first configuration serves."""
        return self.state in (STATE_LIVE, STATE_DRAINING)

    def pids(self) -> list[int]:
        """All processes of this server."""
        return [os.getpid(), *self.supervisor.pids()]

    def push_server_state(self) -> None:
        """Tell the workers of drains and failed health checks."""
        state = self.parts.configuration.server_state
        state.live = self.state == STATE_LIVE
        self.supervisor.broadcast(messages.SetServerState(state.live, state.draining, state.health_check_failed))

    def fail_health_check(self, failed: bool) -> None:
        """/healthcheck/fail and /healthcheck/ok."""
        self.parts.configuration.server_state.health_check_failed = failed
        self.stats.block.set(LIVE, 0 if failed else 1)
        self.state = STATE_DRAINING if failed else STATE_LIVE
        self.push_server_state()
        self.refresh_stats()

    def set_log_level(self, component: str, level: str) -> None:
        """/logging: one component, or all when it is empty; KeyError when there is no such component or level."""
        if component:
            log_set_up.LOG_LEVELS.set(component, level)
        else:
            log_set_up.LOG_LEVELS.set_all(level)
        self.supervisor.broadcast(messages.SetLogLevel(component, level))

    def reopen_logs(self) -> None:
        """SIGUSR1 and /reopen_logs."""
        log_set_up.reopen()
        self.parts.reopen_logs()
        self.supervisor.broadcast(messages.ReopenLogs())

    # -- stop --------------------------------------------------------------------------------------------------

    def _on_stop_signal(self, name: str) -> None:
        log.warning("caught ENVOY_%s", name)
        self.shutdown()

    def _on_reopen_signal(self) -> None:
        log.info("caught SIGUSR1. Reopening access logs.")
        if hasattr(self, "parts"):
            self.reopen_logs()

    def _on_hup(self) -> None:
        log.warning("caught and eating SIGHUP. See documentation for how to hot restart.")

    def shutdown(self) -> None:
        """Stop serving and end with status 0 (Envoy: ``shutdown``)."""
        if not self._stopping:
            log.info("shutting down server instance")
            self._begin_stop()

    def _begin_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._stop_task = self.dispatcher.create_task(self._stop())

    async def _stop(self) -> None:
        start = self._start_task
        if start is not None and not start.done() and start is not asyncio.current_task():
            start.cancel()
        self._flush_timer.disable()
        if hasattr(self, "watchdog"):
            self.watchdog.stop()
        if hasattr(self, "reloader"):
            self.reloader.close()
        if hasattr(self, "parts"):
            self.parts.close()
        await self.supervisor.stop(STOP_TIMEOUT_S)
        log.info("main dispatch loop exited")
        self.dispatcher.stop()
