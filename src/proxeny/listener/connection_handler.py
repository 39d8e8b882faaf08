"""All listeners of one worker (Envoy: ``ConnectionHandlerImpl``); a tag tells generations of a listener apart."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from proxeny.kernel.limits import ConnectionCounts, LimitTable
from proxeny.kernel.sockets import close_descriptor
from proxeny.listener.active_internal_listener import ActiveInternalListener
from proxeny.listener.active_tcp_listener import ActiveTcpListener
from proxeny.listener.active_udp_listener import ActiveUdpListener
from proxeny.listener.internal_config import InternalListenerConfig
from proxeny.listener.listener_lookup import ListenerLookup
from proxeny.listener.udp_config import UdpListenerConfig
from proxeny.network.address import from_sockaddr

if TYPE_CHECKING:
    from proxeny.listener.config import ListenerConfig
    from proxeny.listener.hand_over import HandedOver, HandOver
    from proxeny.network.factory_context import FactoryContext

    ActiveListener = ActiveTcpListener | ActiveUdpListener

log = logging.getLogger("proxeny.conn_handler")


class ConnectionHandler:
    """Adds, stops and removes listeners on this process's dispatcher."""

    def __init__(self, context: FactoryContext, hand_over: HandOver | None = None) -> None:
        assert context.dispatcher is not None
        self.context = context
        self.dispatcher = context.dispatcher
        self.limit_table = context.limits if context.limits is not None else LimitTable.create(1)
        context.overload.on_change(self._follow_overload)
        self.concurrency = context.concurrency if context.role == "worker" else 1
        self.hand_over = hand_over
        """This worker's part in exact balance; None in main."""
        self.serving = hand_over is None
        """Whether it accepts: a worker waits for its last listener, since one may lead to another."""
        self.lookup = ListenerLookup()
        self._internal = context.internal_listeners
        self._listeners: dict[int, ActiveListener] = {}

    def add_listener(self, tag: int, config: ListenerConfig, fds: list[int], row: int = -1) -> ActiveListener:
        """Accept from ``fds`` (one per address that is bound; ours from now on) for the listener ``tag``.

        ``row`` is its row in the balance table, -1 without exact balance.
        """
        if isinstance(config, UdpListenerConfig):
            datagrams = self._listeners[tag] = ActiveUdpListener(self.dispatcher, config, fds)
            return datagrams
        if isinstance(config, InternalListenerConfig):
            internal = self._listeners[tag] = ActiveInternalListener(self, tag, config, self._internal)
            return internal
        listener = self._listeners[tag] = ActiveTcpListener(self, tag, config, fds, row)
        self.lookup.add(listener, listener.bound_addresses())
        listener.follow_overload()
        return listener

    def _follow_overload(self) -> None:
        for listener in self._listeners.values():
            if isinstance(listener, ActiveTcpListener):
                listener.follow_overload()

    def serve(self) -> None:
        """All listeners are there: accept, and take what other workers hand over."""
        self.serving = True
        self._follow_overload()
        if self.hand_over is not None:
            self.hand_over.open(self._on_handed_over)

    def _on_handed_over(self, message: HandedOver, fd: int) -> None:
        listener = self._listeners.get(message.tag)
        if not isinstance(listener, ActiveTcpListener):
            # Its generation is gone; the one that took its place serves the same address.
            listener = self.lookup.find(from_sockaddr(message.local))
        if listener is None:
            log.debug("a connection was handed over to a listener that is gone")
            if fd >= 0:
                os.close(fd)
            if self.hand_over is not None and message.epoch == self.hand_over.epoch:
                ConnectionCounts(self.limit_table, -1, message.all_row).ended()
            return
        listener.on_handed_over(message, fd)

    def config_of(self, tag: int) -> ListenerConfig | None:
        """The configuration of a listener; None when there is no such one."""
        listener = self._listeners.get(tag)
        return listener.config if listener is not None else None

    def update_listener(self, tag: int, config: ListenerConfig, version: int) -> None:
        """Change a listener in place; ``config`` was compiled with its present one as the origin."""
        listener = self._listeners[tag]
        assert isinstance(listener, ActiveTcpListener)  # only they have filter chains
        listener.update(config, version)

    def remove_filter_chains(self, tag: int, version: int) -> None:
        """Close the connections of the chains that the update to ``version`` removed."""
        listener = self._listeners.get(tag)
        if isinstance(listener, ActiveTcpListener):
            listener.remove_chains(version)

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
        listener = self._listeners.get(tag)
        if listener is None:  # it was refused here, or is gone
            for fd in fds:
                close_descriptor(fd)
            return
        listener.adopt(dead_worker, fds)

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
        if self.hand_over is not None:
            self.hand_over.close()
