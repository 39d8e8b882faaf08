"""Asks the resource monitors and pushes the states of actions to the workers (Envoy: ``OverloadManagerImpl``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms, unpack_any
from proxeny.listener.stats import PROACTIVE_RESOURCE
from proxeny.network.overload_state import GLOBAL_DOWNSTREAM_MAX_CONNECTIONS, SATURATED, SHRINK_HEAP
from proxeny.network.resource_monitor import ResourceMonitor, ResourceMonitorError
from proxeny.registry import REGISTRY
from proxeny.server.overload.actions import (
    LoadShedPoint,
    OverloadAction,
    Triggered,
    check_action,
    check_load_shed_point,
)
from proxeny.server.server_stats import (
    OVERLOAD,
    OVERLOAD_RESOURCE,
    REFRESH_INTERVAL_DELAY,
    RESOURCE_FAILED_UPDATES,
    RESOURCE_PRESSURE,
    SHRINK,
)

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.kernel.timer import Timer
    from proxeny.stats.store import Store

log = logging.getLogger("proxeny.main")

DOWNSTREAM_CONNECTIONS: Final = (
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)
REFRESH_INTERVAL_MS: Final = 1000
"""``refresh_interval`` when unset."""


class Resource:
    """A monitored resource: ``overload.<name>.*``."""

    def __init__(self, name: str, monitor: ResourceMonitor, store: Store) -> None:
        self.name = name
        self._monitor = monitor
        self._block = store.block(OVERLOAD_RESOURCE, f"overload.{name}.")
        self._block.set(RESOURCE_PRESSURE, 0)

    def update(self) -> float | None:
        """The pressure now; None when it cannot be told: all stays as it was."""
        try:
            pressure = self._monitor.pressure()
        except ResourceMonitorError as error:
            log.info("Failed to update resource %s: %s", self.name, error)
            self._block.inc(RESOURCE_FAILED_UPDATES)
            return None
        self._block.set(RESOURCE_PRESSURE, int(pressure * 100))
        return pressure


class OverloadManager:
    """Everything of ``bootstrap.overload_manager``; ``on_change`` gets the states of all that is not at rest."""

    def __init__(self, message: Any, store: Store, used_memory: Callable[[], int]) -> None:
        self.on_change: Callable[[dict[str, float]], None] | None = None
        self.shrink_stats: Block | None = None
        """Where ``shrink_heap`` is counted; None without that action."""
        self._stats = store.block(OVERLOAD, "")
        self._interval_ms = duration_ms(message.refresh_interval) if message.HasField("refresh_interval") else 0
        self._interval_ms = self._interval_ms or REFRESH_INTERVAL_MS
        self._resources: dict[str, Resource | None] = {}
        """None: asked per use by the workers, never here."""
        self._triggered: dict[str, Triggered] = {}
        self._timer: Timer | None = None
        self._dispatcher: Dispatcher | None = None
        self._last_ns = 0
        for monitor in message.resource_monitors:
            self._add_resource(monitor, store, used_memory)
        for action in message.actions:
            check_action(action)
            if action.name == SHRINK_HEAP:
                self.shrink_stats = store.block(SHRINK, f"overload.{SHRINK_HEAP}.")
            self._add(OverloadAction(action, store), "overload action")
        for point in message.loadshed_points:
            check_load_shed_point(point)
            self._add(LoadShedPoint(point, store), "loadshed point")

    def _add_resource(self, message: Any, store: Store, used_memory: Callable[[], int]) -> None:
        name, any_config = message.name, message.typed_config
        config_type = any_config.type_url.rpartition("/")[2]
        if name in self._resources:
            raise ConfigError(f"Duplicate resource monitor {name}")
        if not config_type:
            raise ConfigError(f"Didn't find a registered implementation for '{name}' with type URL: ''")
        if name == GLOBAL_DOWNSTREAM_MAX_CONNECTIONS:
            if config_type != DOWNSTREAM_CONNECTIONS:
                raise ConfigError(
                    f"Didn't find a registered implementation for '{name}' with type URL: '{config_type}'"
                )
            unpack_any(any_config)
            store.block(PROACTIVE_RESOURCE, f"overload.{name}.")
            self._resources[name] = None
            return
        factory = REGISTRY.factory("resource_monitor", name, config_type)
        self._resources[name] = Resource(name, factory.create(unpack_any(any_config), used_memory), store)

    def _add(self, triggered: Triggered, kind: str) -> None:
        if triggered.name in self._triggered:
            raise ConfigError(f"Duplicate {kind} {triggered.name}")
        for resource in triggered.resources():
            if resource not in self._resources:
                raise ConfigError(f"Unknown trigger resource {resource} for {kind} {triggered.name}")
        self._triggered[triggered.name] = triggered

    def states(self) -> dict[str, float]:
        """Actions and load shed points that are not at rest."""
        return {name: one.state for name, one in self._triggered.items() if one.state}

    def start(self, dispatcher: Dispatcher) -> None:
        """Ask every ``refresh_interval`` from now on."""
        if not any(self._resources.values()):
            return
        self._dispatcher = dispatcher
        self._last_ns = dispatcher.monotonic_ns()
        self._timer = dispatcher.create_timer(self._tick)
        self._timer.enable(self._interval_ms)

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _tick(self) -> None:
        assert self._dispatcher is not None
        now = self._dispatcher.monotonic_ns()
        self._stats.record(REFRESH_INTERVAL_DELAY, (now - self._last_ns) // 1_000_000)
        self._last_ns = now
        self.refresh()
        if self._timer is not None:
            self._timer.enable(self._interval_ms)

    def refresh(self) -> None:
        """Ask all monitors once, and tell what changed."""
        changed = False
        for resource in self._resources.values():
            pressure = resource.update() if resource is not None else None
            if resource is None or pressure is None:
                continue
            for triggered in self._triggered.values():
                if resource.name in triggered.resources():
                    changed |= self._update(triggered, resource.name, pressure)
        if changed and self.on_change is not None:
            self.on_change(self.states())

    def _update(self, triggered: Triggered, resource: str, pressure: float) -> bool:
        was_active = triggered.state >= SATURATED
        changed = triggered.on_pressure(resource, pressure)
        active = triggered.state >= SATURATED
        if active is not was_active:
            log.info("Overload action %s became %s", triggered.name, "active" if active else "inactive")
        return changed
