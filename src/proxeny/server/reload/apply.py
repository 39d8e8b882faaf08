"""Carries out a plan: all of it, or, when any part fails, nothing.

Order: contents of secrets and runtime layers, then new clusters (which warm), then listeners, and what nobody needs any
more last. Each step leaves behind how to take it back; a failure takes back all steps, the newest first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.server.reload.plan import ADD, CHANGE, CLUSTER, LAYER, LISTENER, REMOVE, SECRET, Change, Plan

if TYPE_CHECKING:
    from proxeny.runtime.loader import RuntimeLoader
    from proxeny.secret.manager import SecretManager
    from proxeny.server.listener_manager import ListenerManager
    from proxeny.upstream.main_cluster_manager import MainClusterManager

log = logging.getLogger("proxeny.config")

Undo = Callable[[], Awaitable[None]]


class NotApplied(Exception):
    """A part of a plan failed; the text says which and why."""


class Applier:
    """Applies one plan to what runs."""

    def __init__(
        self,
        plan: Plan,
        secrets: SecretManager,
        runtime: RuntimeLoader,
        clusters: MainClusterManager,
        listeners: ListenerManager,
        patience_s: float,
    ) -> None:
        """``patience_s``: how long a cluster or a listener may take to become ready."""
        self._plan = plan
        self._secrets = secrets
        self._runtime = runtime
        self._clusters = clusters
        self._listeners = listeners
        self._patience_s = patience_s
        self._undo: list[Undo] = []

    async def run(self) -> None:
        """All of it; raises NotApplied when it is as if nothing had happened."""
        try:
            await self._apply()
        except Exception:
            await self._roll_back()
            raise
        self._drop()

    async def _apply(self) -> None:
        plan = self._plan
        for change in plan.of(SECRET, ADD, CHANGE):
            self._put_secret(change)
        layers = plan.of(LAYER, CHANGE)
        if layers:
            self._put_layers(layers)
        changes = plan.of(CLUSTER, ADD, CHANGE)
        for change in changes:
            self._put_cluster(change)
        for change in changes:
            await self._wait_for_cluster(change.name)
        for change in self._in_the_way():
            self._remove_listener(change)
        listeners = plan.of(LISTENER, ADD, CHANGE)
        for change in listeners:
            self._put_listener(change)
        for change in listeners:
            await self._wait_for_listener(change.after)

    def _drop(self) -> None:
        """What nobody needs any more."""
        for change in self._plan.of(LISTENER, REMOVE):
            self._listeners.remove(change.name, is_static=True)
        for change in self._plan.of(CLUSTER, REMOVE):
            self._clusters.remove(change.name)
        for change in self._plan.of(SECRET, REMOVE):
            self._secrets.remove_static(change.before.WhichOneof("type"), change.before.name)

    async def _roll_back(self) -> None:
        while self._undo:
            try:
                await self._undo.pop()()
            except Exception as error:
                # The other parts are brought back all the same.
                log.critical("a part of the configuration that was there before cannot be brought back: %s", error)

    # -- secrets and runtime -----------------------------------------------------------------------------------

    def _put_secret(self, change: Change) -> None:
        try:
            self._secrets.put_static(change.after)
        except (ConfigError, OSError) as error:
            raise NotApplied(f"secret '{change.name}': {error}") from None

        async def undo() -> None:
            if change.before is None:
                self._secrets.remove_static(change.after.WhichOneof("type"), change.after.name)
            else:
                self._secrets.put_static(change.before)

        self._undo.append(undo)

    def _put_layers(self, changes: list[Change]) -> None:
        try:
            self._runtime.replace_static_layers([change.after for change in changes])
        except ConfigError as error:
            raise NotApplied(f"layered_runtime: {error}") from None

        async def undo() -> None:
            self._runtime.replace_static_layers([change.before for change in changes])

        self._undo.append(undo)

    # -- clusters ----------------------------------------------------------------------------------------------

    def _put_cluster(self, change: Change) -> None:
        name = change.name
        try:
            if not self._clusters.add_or_update(change.after, added_via_api=False):
                raise ConfigError("there is one of that name from CDS")
        except ConfigError as error:
            raise NotApplied(f"cluster '{name}': {error}") from None

        async def undo() -> None:
            if self._clusters.stop_warming(name):
                return
            if change.before is None:
                self._clusters.remove(name)
            else:
                self._clusters.add_or_update(change.before, added_via_api=False)
                await self._wait_for_cluster(name)

        self._undo.append(undo)

    async def _wait_for_cluster(self, name: str) -> None:
        ready = asyncio.Event()

        def on_active(which: str) -> None:
            if which == name:
                ready.set()

        self._clusters.active_callbacks.append(on_active)
        try:
            if self._clusters.is_warming(name):
                await self._within(ready, f"cluster '{name}'")
        finally:
            self._clusters.active_callbacks.remove(on_active)

    async def _within(self, event: asyncio.Event, what: str) -> None:
        try:
            await asyncio.wait_for(event.wait(), self._patience_s)
        except TimeoutError:
            raise NotApplied(f"{what} did not become ready within {self._patience_s:g} s") from None

    # -- listeners ---------------------------------------------------------------------------------------------

    def _in_the_way(self) -> list[Change]:
        """Listeners that go and have the address of one that comes: they go first, and hand on their sockets."""
        wanted = [change.after.address for change in self._plan.of(LISTENER, ADD, CHANGE)]
        return [change for change in self._plan.of(LISTENER, REMOVE) if change.before.address in wanted]

    def _remove_listener(self, change: Change) -> None:
        self._listeners.remove(change.name, is_static=True)

        async def undo() -> None:
            self._bring(change.before)
            await self._wait_for_listener(change.before)

        self._undo.append(undo)

    def _put_listener(self, change: Change) -> None:
        before = self._listeners.newest(change.name)
        self._bring(change.after)

        async def undo() -> None:
            name = change.after.name
            newest = self._listeners.newest(name)
            if change.before is None:
                self._listeners.remove(name, is_static=True)
            elif newest is not before:
                self._bring(change.before)
                await self._wait_for_listener(change.before)

        self._undo.append(undo)

    def _bring(self, proto: Any) -> None:
        try:
            if not self._listeners.add_or_update(proto, is_static=True):
                raise ConfigError("there is one of that name from LDS, or its traffic direction is stopped")
        except ConfigError as error:
            raise NotApplied(f"listener '{proto.name}': {error}") from None

    async def _wait_for_listener(self, proto: Any) -> None:
        what = f"listener '{proto.name}'"
        listener = self._listeners.newest(proto.name)
        if listener is None:
            raise NotApplied(f"{what} is gone")
        await self._within(listener.settled, what)
        if listener.failure:
            raise NotApplied(f"{what}: {listener.failure}")
