"""All listeners of one worker (Envoy: ``ConnectionHandlerImpl``); a tag tells generations of a listener apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.listener.active_tcp_listener import ActiveTcpListener

if TYPE_CHECKING:
    from proxeny.listener.config import ListenerConfig
    from proxeny.network.factory_context import FactoryContext


class ConnectionHandler:
    """Adds, stops and removes listeners on this process's dispatcher."""

    def __init__(self, context: FactoryContext) -> None:
        assert context.dispatcher is not None
        self._dispatcher = context.dispatcher
        self._listeners: dict[int, ActiveTcpListener] = {}

    def add_listener(self, tag: int, config: ListenerConfig, fds: list[int]) -> ActiveTcpListener:
        """Accept from ``fds`` (one per address; ours from now on) for the listener ``tag``."""
        listener = self._listeners[tag] = ActiveTcpListener(self._dispatcher, config, fds)
        return listener

    def drain_listener(self, tag: int) -> None:
        """Tell its connections to go; it accepts on."""
        listener = self._listeners.get(tag)
        if listener is not None:
            listener.config.drain.start()

    def stop_listener(self, tag: int) -> None:
        """Accept no more from it."""
        listener = self._listeners.get(tag)
        if listener is not None:
            listener.stop()

    def remove_listener(self, tag: int) -> None:
        """Close it and its connections."""
        listener = self._listeners.pop(tag, None)
        if listener is not None:
            listener.remove()

    def adopt(self, tag: int, dead_worker: int, fds: list[int]) -> None:
        """Accept for a dead worker meanwhile."""
        self._listeners[tag].adopt(dead_worker, fds)

    def release_adopted(self, dead_worker: int) -> None:
        """The dead worker's replacement accepts again."""
        for listener in self._listeners.values():
            listener.release_adopted(dead_worker)

    @property
    def connection_count(self) -> int:
        """Connections of all listeners."""
        return sum(len(listener.connections) for listener in self._listeners.values())

    def statistics(self) -> list[dict[str, Any]]:
        """Facts of every listener."""
        return [listener.statistics() for listener in self._listeners.values()]

    def close(self) -> None:
        """Close all listeners and connections."""
        for tag in list(self._listeners):
            self.remove_listener(tag)
