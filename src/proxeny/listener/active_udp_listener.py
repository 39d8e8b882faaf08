"""A worker's side of a UDP listener (Envoy: ``ActiveRawUdpListener``): receives, and shows datagrams to the filters.

Every worker has its own socket per address (SO_REUSEPORT); the kernel's hash of the peer chooses among them, and keeps
choosing the same while the group of sockets stays the same. Main holds a duplicate of each: when a worker dies, its
socket stays in the group, so no other worker's peers move. Meanwhile another worker receives from it; what it sends
goes out by its own socket of that address.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from proxeny.kernel.datagrams import DatagramArena, DatagramSocket
from proxeny.kernel.sockets import close_descriptor, local_sockaddr
from proxeny.listener.stats import DATAGRAMS_DROPPED
from proxeny.listener.udp_config import MESSAGES_AT_ONCE
from proxeny.network.filter import FilterStatus

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.listener.udp_config import UdpListenerConfig
    from proxeny.listener.udp_filter import UdpListenerFilter

log = logging.getLogger("proxeny.conn_handler")

CONTINUE: Final = FilterStatus.CONTINUE


class UdpListener:
    """One address of a UDP listener: its filters, and the socket by which they answer."""

    __slots__ = ("_filters", "config", "dispatcher", "socket")

    def __init__(self, dispatcher: Dispatcher, config: UdpListenerConfig) -> None:
        self.dispatcher = dispatcher
        self.config = config
        self.socket: ListenSocket | None = None
        self._filters: tuple[UdpListenerFilter, ...] = ()
        try:
            for factory in config.filters:
                self._filters = (*self._filters, factory.create(self))
        except BaseException:
            self.close()
            raise

    def on_data(self, flow: bytes, data: bytes) -> None:
        """A datagram: the filters in their order, up to one that keeps it."""
        for one in self._filters:
            if one.on_data(flow, data) is not CONTINUE:
                return

    def on_receive_error(self, error: int) -> None:
        """Reading failed."""
        for one in self._filters:
            if one.on_receive_error(error) is not CONTINUE:
                return

    def reply(self, flow: bytes, data: bytes) -> int:
        """Send a datagram to the peer of a flow, from the address that it wrote to; 0 or an errno."""
        assert self.socket is not None
        return self.socket.reply(flow, data)

    def close(self) -> None:
        """End the filters, then close the socket."""
        filters, self._filters = self._filters, ()
        for one in filters:
            one.close()
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class ListenSocket(DatagramSocket):
    """One listening descriptor: this worker's own, or one of a dead worker."""

    def __init__(self, listener: UdpListener, fd: int, arena: DatagramArena) -> None:
        self._listener = listener
        self.open(listener.dispatcher.poller, fd, arena, local_sockaddr(fd))

    def on_datagram(self, flow: Any, data: bytes) -> None:
        """A datagram."""
        self._listener.on_data(flow, data)

    def on_receive_error(self, error: int) -> None:
        """Reading failed."""
        self._listener.on_receive_error(error)

    def on_dropped(self, count: int) -> None:
        """Datagrams were lost."""
        self._listener.config.udp_stats.add(DATAGRAMS_DROPPED, count)


class ActiveUdpListener:
    """One UDP listener in one worker."""

    def __init__(self, dispatcher: Dispatcher, config: UdpListenerConfig, fds: list[int]) -> None:
        self.dispatcher = dispatcher
        self.config = config
        self.connections: tuple[()] = ()
        """There are none."""
        self._arena = DatagramArena(MESSAGES_AT_ONCE, config.socket_config.room)
        self._listeners = [UdpListener(dispatcher, config) for _ in fds]
        self._adopted: dict[int, list[ListenSocket]] = {}
        for listener, fd in zip(self._listeners, fds, strict=True):
            listener.socket = ListenSocket(listener, fd, self._arena)
        if not config.filters:
            log.warning("UDP listener has no filters. Packets will be dropped.")

    def __repr__(self) -> str:
        return f"<ActiveUdpListener {self.config.name}>"

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages."""
        return {
            "name": self.config.name,
            "sockets": len(self._listeners),
            "adopted_from": sorted(self._adopted),
            "connections": 0,
            "draining": self.config.drain.started,
        }

    def adopt(self, dead_worker: int, fds: list[int]) -> None:
        """Receive for a dead worker, from main's duplicates of its sockets."""
        if not self._listeners:  # stopped meanwhile
            for fd in fds:
                close_descriptor(fd)
            return
        made = [ListenSocket(one, fd, self._arena) for one, fd in zip(self._listeners, fds, strict=True)]
        self._adopted.setdefault(dead_worker, []).extend(made)

    def release_adopted(self, dead_worker: int) -> None:
        """Its replacement receives again."""
        for listening in self._adopted.pop(dead_worker, ()):
            listening.close()

    def stop(self) -> None:
        """Receive no more; what the filters keep ends with it, as in Envoy."""
        self.config.drain.start()
        for dead_worker in list(self._adopted):
            self.release_adopted(dead_worker)
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()

    def remove(self) -> None:
        """The same: there are no connections that could live on."""
        self.stop()
