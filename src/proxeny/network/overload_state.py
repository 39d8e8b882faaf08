"""How overloaded the server is, as one process knows it (Envoy: ``ThreadLocalOverloadState``); main pushes changes.

An action's state is a number from 0 (inactive) to 1 (saturated). What asks per connection or per request reads a plain
attribute; who must act on a change registers a callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_ACCEPTING_CONNECTIONS: Final = "envoy.overload_actions.stop_accepting_connections"
REJECT_INCOMING_CONNECTIONS: Final = "envoy.overload_actions.reject_incoming_connections"
STOP_ACCEPTING_REQUESTS: Final = "envoy.overload_actions.stop_accepting_requests"
DISABLE_HTTP_KEEPALIVE: Final = "envoy.overload_actions.disable_http_keepalive"
SHRINK_HEAP: Final = "envoy.overload_actions.shrink_heap"
TCP_LISTENER_ACCEPT: Final = "envoy.load_shed_points.tcp_listener_accept"
GLOBAL_DOWNSTREAM_MAX_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"
SATURATED: Final = 1.0
_SCALE: Final = 1 << 32


def falls_within(random_value: int, fraction: float) -> bool:
    """Whether a random 64-bit number falls into ``fraction`` of all of them."""
    return (random_value % _SCALE) < fraction * _SCALE


class OverloadState:
    """The states of all actions and load shed points that have one."""

    __slots__ = (
        "_callbacks",
        "disable_http_keepalive",
        "reject_incoming_connections",
        "stop_accepting_connections",
        "stop_accepting_requests",
        "tcp_listener_accept",
        "values",
    )

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self.update({})

    def update(self, values: dict[str, float]) -> None:
        """Main evaluated its monitors: action or load shed point -> state."""
        self.values = values
        self.stop_accepting_connections: bool = values.get(STOP_ACCEPTING_CONNECTIONS, 0.0) >= SATURATED
        self.reject_incoming_connections: float = values.get(REJECT_INCOMING_CONNECTIONS, 0.0)
        self.stop_accepting_requests: float = values.get(STOP_ACCEPTING_REQUESTS, 0.0)
        self.disable_http_keepalive: float = values.get(DISABLE_HTTP_KEEPALIVE, 0.0)
        self.tcp_listener_accept: float = values.get(TCP_LISTENER_ACCEPT, 0.0)
        for callback in self._callbacks:
            callback()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called after every update."""
        self._callbacks.append(callback)
