"""What follows from pressure: triggers, and the actions and load shed points that have some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.listener.stats import LOAD_SHED_POINT, SHED_SCALE_PERCENT
from proxeny.network.overload_state import (
    DISABLE_HTTP_KEEPALIVE,
    REJECT_INCOMING_CONNECTIONS,
    SATURATED,
    SHRINK_HEAP,
    STOP_ACCEPTING_CONNECTIONS,
    STOP_ACCEPTING_REQUESTS,
    TCP_LISTENER_ACCEPT,
)
from proxeny.server.server_stats import ACTION_ACTIVE, ACTION_SCALE_PERCENT, OVERLOAD_ACTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.stats.store import Store

ACTIONS: Final = frozenset(
    {
        STOP_ACCEPTING_CONNECTIONS,
        REJECT_INCOMING_CONNECTIONS,
        STOP_ACCEPTING_REQUESTS,
        DISABLE_HTTP_KEEPALIVE,
        SHRINK_HEAP,
    }
)
UNSUPPORTED: Final = frozenset(
    {
        "envoy.overload_actions.reduce_timeouts",
        "envoy.overload_actions.reset_high_memory_stream",
        "envoy.overload_actions.close_idle_http_connections",
    }
)


class Trigger:
    """Pressure to state: up to ``low`` 0, from ``high`` 1, in proportion between them (a threshold: both are equal)."""

    __slots__ = ("_high", "_low")

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def state(self, pressure: float) -> float:
        """The state of an action that nothing else triggers."""
        if pressure >= self._high:
            return SATURATED
        return 0.0 if pressure <= self._low else (pressure - self._low) / (self._high - self._low)


def _trigger(message: Any) -> Trigger:
    if message.WhichOneof("trigger_oneof") == "threshold":
        return Trigger(message.threshold.value, message.threshold.value)
    low, high = message.scaled.scaling_threshold, message.scaled.saturation_threshold
    if low >= high:
        raise ConfigError("scaling_threshold must be less than saturation_threshold")
    return Trigger(low, high)


class Triggered:
    """An action or load shed point: its state is the highest that one of its triggers gives."""

    def __init__(self, message: Any, kind: str) -> None:
        self.name: str = message.name
        self.state = 0.0
        self._triggers: dict[str, Trigger] = {}
        self._states: dict[str, float] = {}
        for item in message.triggers:
            if item.name in self._triggers:
                raise ConfigError(f"Duplicate trigger resource for {kind} {self.name}")
            self._triggers[item.name] = _trigger(item)

    def resources(self) -> Iterable[str]:
        """The resources that trigger it."""
        return self._triggers

    def on_pressure(self, resource: str, pressure: float) -> bool:
        """A resource's pressure; whether the state changed."""
        self._states[resource] = self._triggers[resource].state(pressure)
        state = max(self._states.values())
        changed = state != self.state
        self.state = state
        self.show()
        return changed

    def show(self) -> None:
        """Set the gauges."""


class OverloadAction(Triggered):
    """``overload.<action>.active`` and ``.scale_percent``."""

    def __init__(self, message: Any, store: Store) -> None:
        super().__init__(message, "overload action")
        self._block = store.block(OVERLOAD_ACTION, f"overload.{self.name}.")
        self.show()

    def show(self) -> None:
        self._block.set(ACTION_ACTIVE, self.state >= SATURATED)
        self._block.set(ACTION_SCALE_PERCENT, int(self.state * 100))


class LoadShedPoint(Triggered):
    """``overload.<point>.scale_percent``; what it shed is counted by the workers."""

    def __init__(self, message: Any, store: Store) -> None:
        super().__init__(message, "LoadShedPoint")
        self._block = store.block(LOAD_SHED_POINT, f"overload.{self.name}.")
        self.show()

    def show(self) -> None:
        self._block.set(SHED_SCALE_PERCENT, int(self.state * 100))


def check_action(message: Any) -> None:
    """Refuse what is no action, or one that is not served; ConfigError in Envoy's words."""
    name = message.name
    if name in UNSUPPORTED:
        raise UnsupportedFieldError(f"overload action {name} is not supported")
    if name not in ACTIONS:
        raise ConfigError(f"Unknown Overload Manager Action {name}")
    if message.HasField("typed_config"):
        raise ConfigError(f'Overload action "{name}" has an unexpected value for the typed_config field')


def check_load_shed_point(message: Any) -> None:
    """Refuse points that are not served."""
    if message.name != TCP_LISTENER_ACCEPT:
        raise UnsupportedFieldError(f"load shed point {message.name} is not supported")
