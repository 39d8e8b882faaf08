"""The reloads of one server: by command, or when its files are saved; one at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.event.file_watcher import FileWatcher, Watch
from proxeny.secret.file_set import places_of
from proxeny.server.configuration import local_info
from proxeny.server.reload.apply import Applier, NotApplied
from proxeny.server.reload.check import check
from proxeny.server.reload.plan import Plan, make_plan
from proxeny.server.validation import load
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.server.bootstrap import Bootstrapped
    from proxeny.server.server import Server

log = logging.getLogger("proxeny.config")

RELOAD: Final = Schema(
    "reload",
    counters=("applied", "attempt", "refused", "rolled_back", "unchanged"),
    gauges=("last_applied_time_seconds",),
)
"""``reload.*``"""

PLANNED, UNCHANGED, APPLIED, REFUSED, ROLLED_BACK = "planned", "unchanged", "applied", "refused", "rolled_back"
RUNNING: Final = "running"

CHECK_TIMEOUT_S: Final = 60.0
DEFAULT_PATIENCE_S: Final = 30.0
SETTLE_MS: Final = 100
"""Editors write in several steps: so long after the last of them the files are read."""


@dataclass(slots=True)
class Reload:
    """One reload and what became of it."""

    number: int
    started_at: float
    state: str = RUNNING
    reason: str = ""
    plan: Plan | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For /reload/status."""
        return {
            "number": self.number,
            "state": self.state,
            "reason": self.reason,
            "started_at": self.started_at,
            "seconds": round(self.seconds, 3),
            "plan": "" if self.plan is None else self.plan.as_text(),
            "changes": [] if self.plan is None else self.plan.as_json(),
        }


class Reloader:
    """Loads the configuration anew, with the flags of the start."""

    def __init__(self, server: Server, parts: Bootstrapped) -> None:
        self._server = server
        self._parts = parts
        self._stats = server.store.block(RELOAD, "reload.")
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._given: set[str] | None = None
        """Names that listeners were given which have none of their own."""
        self._watcher: FileWatcher | None = None
        self._watches: list[Watch] = []
        self._timer = server.dispatcher.create_timer(self._on_saved)
        self.last: Reload | None = None

    # -- commands ----------------------------------------------------------------------------------------------

    def begin(
        self, *, plan_only: bool = False, partial: bool = False, patience_s: float = DEFAULT_PATIENCE_S
    ) -> Reload:
        """Start a reload; ConfigError while the server starts, or another reload runs.

        ``plan_only``: find out what would change. ``partial``: apply the rest when some of it needs a restart.
        """
        if self._task is not None and not self._task.done():
            raise ConfigError("a reload is under way")
        if not self._server.has_started:
            raise ConfigError("the server is still starting")
        self._number += 1
        self.last = reload = Reload(self._number, time.time())
        self._task = self._server.dispatcher.create_task(self._run(reload, plan_only, partial, patience_s))
        return reload

    async def _run(self, reload: Reload, plan_only: bool, partial: bool, patience_s: float) -> None:
        began = time.monotonic()
        self._count("attempt", not plan_only)
        try:
            state = await self._reload(reload, plan_only, partial, patience_s)
        except ConfigError as error:
            state, reload.reason = REFUSED, str(error)
        except NotApplied as error:
            state, reload.reason = ROLLED_BACK, str(error)
        except Exception as error:
            log.error("a reload failed", exc_info=True)
            state, reload.reason = ROLLED_BACK, f"{type(error).__name__}: {error}"
        reload.seconds = time.monotonic() - began
        reload.state = state
        self._count(state, state != PLANNED)
        self._tell(reload)
        if self._again and self._watcher is not None:
            self._again = False
            self._server.dispatcher.call_soon(self._on_saved)

    def _count(self, what: str, counts: bool) -> None:
        if counts:
            self._stats.inc(RELOAD.slot(what))
        if what == APPLIED:
            self._stats.set(RELOAD.slot("last_applied_time_seconds"), int(time.time()))

    async def _reload(self, reload: Reload, plan_only: bool, partial: bool, patience_s: float) -> str:
        options, parts = self._server.options, self._parts
        fresh = load(options)
        local_info(fresh.bootstrap, options)
        plan = reload.plan = self._plan(fresh.bootstrap)
        if plan.is_empty:
            parts.secrets.reread_files()
            return PLANNED if plan_only else UNCHANGED
        await check(fresh.bootstrap, options, CHECK_TIMEOUT_S)
        if plan_only:
            return PLANNED
        if plan.restart and not partial:
            names = ", ".join(change.name for change in plan.restart)
            raise ConfigError(f"only a restart applies what changed in: {names}")
        configuration = parts.configuration
        applier = Applier(plan, parts.secrets, configuration.runtime, parts.clusters, parts.listeners, patience_s)
        # While both are there, sources may go through the clusters of either.
        configuration.xds.reach_through(configuration.bootstrap, fresh.bootstrap)
        try:
            await applier.run()
            configuration.take_resources(fresh.bootstrap)
        finally:
            configuration.xds.reach_through(configuration.bootstrap)
        parts.secrets.reread_files()
        return APPLIED

    def _plan(self, fresh: Any) -> Plan:
        if self._given is None:
            listeners = self._parts.listeners.listeners()
            self._given = {one.name for one in listeners if not one.compiled.has_own_name}
        nameless = [listener for listener in fresh.static_resources.listeners if not listener.name]
        plan = make_plan(self._parts.loaded.bootstrap, fresh, frozenset(self._given))
        self._given.update([listener.name for listener in nameless])
        return plan

    def _tell(self, reload: Reload) -> None:
        plan = "" if reload.plan is None else reload.plan.as_text()
        if reload.state in (REFUSED, ROLLED_BACK):
            words = {REFUSED: "refused", ROLLED_BACK: "rolled back"}[reload.state]
            log.error("reload %d of the configuration is %s: %s", reload.number, words, reload.reason)
        elif reload.state == APPLIED:
            log.info("reload %d of the configuration is applied in %.2f s:\n%s", reload.number, reload.seconds, plan)

    # -- --watch -----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Reload whenever a file of the configuration is saved; ConfigError."""
        if not self._paths():
            raise ConfigError("--watch needs --config-path")
        try:
            self._watcher = FileWatcher(self._server.dispatcher, written=True)
            self._watch_files()
        except OSError as error:
            raise ConfigError(f"unable to watch the configuration: {error.strerror}") from None

    def _paths(self) -> list[str]:
        options = self._server.options
        return [path for path in (options.config_path, *options.patch) if path]

    def _watch_files(self) -> None:
        assert self._watcher is not None
        places = {place for path in self._paths() for place in places_of(path)}
        watches = [self._watcher.add(place, lambda: self._timer.enable(SETTLE_MS)) for place in sorted(places)]
        for watch in self._watches:
            watch.close()
        self._watches = watches

    def _on_saved(self) -> None:
        if not self._server.has_started:
            self._timer.enable(SETTLE_MS)
            return
        if self._task is not None and not self._task.done():
            self._again = True
            return
        try:
            self._watch_files()  # links may lead elsewhere now
        except OSError as error:
            log.error("the configuration cannot be watched any more: %s", error.strerror)
        self.begin()

    def close(self) -> None:
        """The server ends."""
        if self._task is not None:
            self._task.cancel()
        self._timer.close()
        if self._watcher is not None:
            self._watcher.close()
