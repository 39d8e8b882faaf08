"""A worker's side of a listener: accepts, finds the filter chain, keeps connections (Envoy: ``ActiveTcpListener``)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from proxeny.kernel.epoll import EPOLLIN, Watcher
from proxeny.kernel.sockets import accept_many, close_descriptor, local_sockaddr
from proxeny.listener import stats as s
from proxeny.network.address import from_sockaddr
from proxeny.network.connection import UNNAMED, ServerConnection
from proxeny.network.filter import ConnectionCallbacks, ConnectionCloseType, ConnectionEvent, ConnectionState
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.timer import Timer
    from proxeny.listener.config import FilterChain, ListenerConfig
    from proxeny.network.address import Address

log = logging.getLogger("proxeny.conn_handler")

ACCEPT_RETRY_MS = 100
"""How long a socket rests after accept failed for want of resources."""
NO_FLUSH = ConnectionCloseType.NO_FLUSH
OPEN = ConnectionState.OPEN


class ActiveConnection(ConnectionCallbacks):
    """Keeps a listener's books about one of its connections."""

    __slots__ = ("connection", "listener", "start_ns")

    def __init__(self, listener: ActiveTcpListener, connection: ServerConnection) -> None:
        self.listener = listener
        self.connection = connection
        self.start_ns = listener.dispatcher.monotonic_ns()

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection ended: count it out."""
        if event is not ConnectionEvent.CONNECTED:
            self.listener.connection_closed(self)


class ListenSocket(Watcher):
    """One listening descriptor. Level-triggered: what one event does not accept, the next turn does."""

    def __init__(self, listener: ActiveTcpListener, fd: int, address: Address | None) -> None:
        self.listener = listener
        self.address = address
        """The bound address; None where connections have different local addresses (a wildcard)."""
        self._retry: Timer | None = None
        listener.dispatcher.poller.add(self, fd, EPOLLIN)

    def on_event(self, mask: int) -> None:
        """Connections wait."""
        listener = self.listener
        try:
            accepted = accept_many(self.fd, listener.config.most_accepts)
        except OSError as error:
            self._pause(error)
            return
        if accepted:
            listener.config.stats.record(s.ACCEPTED_PER_EVENT, len(accepted))
        for fd, sockaddr in accepted:
            listener.on_accept(fd, sockaddr, self.address)

    def on_handler_error(self, error: Exception) -> None:
        """Whatever went wrong with one connection, the next one is accepted."""

    def _pause(self, error: OSError) -> None:
        """No descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): spinning would not help, the queue can wait."""
        dispatcher = self.listener.dispatcher
        if self._retry is None:
            self._retry = dispatcher.create_timer(self._resume)
            log.warning("%r cannot accept: %s", self.listener, os.strerror(error.errno or 0))
        dispatcher.poller.modify(self, 0)
        self._retry.enable(ACCEPT_RETRY_MS)

    def _resume(self) -> None:
        if self.fd >= 0:
            self.listener.dispatcher.poller.modify(self, EPOLLIN)

    def close(self) -> None:
        """Stop accepting here."""
        if self._retry is not None:
            self._retry.close()
            self._retry = None
        fd = self.fd
        if fd >= 0:
            poller = self.listener.dispatcher.poller
            poller.remove(self)
            poller.close_fd_after_batch(fd)


class ActiveTcpListener:
    """One listener in one worker."""

    def __init__(self, dispatcher: Dispatcher, config: ListenerConfig, fds: list[int]) -> None:
        self.dispatcher = dispatcher
        self.config = config
        self.connections: dict[ActiveConnection, None] = {}
        self._addresses = [_fixed_address(fd) for fd in fds]
        self._sockets = [ListenSocket(self, fd, address) for fd, address in zip(fds, self._addresses, strict=True)]
        self._adopted: dict[int, list[ListenSocket]] = {}

    def __repr__(self) -> str:
        return f"<ActiveTcpListener {self.config.name} connections={len(self.connections)}>"

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages."""
        return {
            "name": self.config.name,
            "sockets": len(self._sockets),
            "adopted_from": sorted(self._adopted),
            "connections": len(self.connections),
            "draining": self.config.drain.started,
        }

    def on_accept(self, fd: int, sockaddr: bytes, address: Address | None) -> None:
        """A socket was accepted: find its filter chain and start its filters."""
        config = self.config
        remote = from_sockaddr(sockaddr) if len(sockaddr) > 2 else UNNAMED
        local = address if address is not None else from_sockaddr(local_sockaddr(fd))
        chain: FilterChain | None = config.matcher.only
        if chain is None:
            info = ConnectionInfo(local, remote, 0)
            chain = config.matcher.find(info)
            if chain is None:
                config.stats.inc(s.NO_FILTER_CHAIN_MATCH)
                self._log_refused(info)
                close_descriptor(fd)
                return
        connection = ServerConnection(self.dispatcher, fd, local, remote)
        try:
            self._start(connection, chain)
        except Exception:
            # A filter (perhaps a user's) failed: that is the end of this connection and of no other.
            log.exception("%r could not be started", connection)
            connection.close(NO_FLUSH, "internal_error")

    def _start(self, connection: ServerConnection, chain: FilterChain) -> None:
        config = self.config
        config.stats.inc2(s.CX_TOTAL, s.CX_ACTIVE)
        config.worker_stats.inc2(s.WORKER_CX_TOTAL, s.WORKER_CX_ACTIVE)
        active = ActiveConnection(self, connection)
        self.connections[active] = None
        connection.add_connection_callbacks(active)
        connection.connection_info.filter_chain_name = chain.name
        connection.set_buffer_limits(config.buffer_limit)
        for factory in chain.factories:
            connection.add_filter(factory.create())
        if connection.state is OPEN and not connection.initialize_read_filters():
            connection.close(NO_FLUSH)

    def _log_refused(self, info: ConnectionInfo) -> None:
        if not self.config.access_logs:
            return
        refused = StreamInfo(info, self.dispatcher.system_time(), self.dispatcher.monotonic_ns())
        refused.set_flag(ResponseFlag.NO_ROUTE_FOUND)
        refused.response_code_details = "filter_chain_not_found"
        refused.end_ns = refused.start_ns
        for access_log in self.config.access_logs:
            access_log.log(None, None, None, refused)

    def connection_closed(self, active: ActiveConnection) -> None:
        """Called once per connection when it ends."""
        config = self.config
        self.connections.pop(active, None)
        config.stats.inc(s.CX_DESTROY)
        config.stats.dec(s.CX_ACTIVE)
        config.worker_stats.dec(s.WORKER_CX_ACTIVE)
        now = self.dispatcher.monotonic_ns()
        config.stats.record(s.CX_LENGTH_MS, (now - active.start_ns) // 1_000_000)
        if config.access_logs:
            info = active.connection.stream_info
            info.end_ns = now
            for access_log in config.access_logs:
                access_log.log(None, None, None, info)

    def adopt(self, dead_worker: int, fds: list[int]) -> None:
        """Accept for a dead worker, from main's duplicates of its sockets."""
        made = [ListenSocket(self, fd, address) for fd, address in zip(fds, self._addresses, strict=True)]
        self._adopted.setdefault(dead_worker, []).extend(made)

    def release_adopted(self, dead_worker: int) -> None:
        """Its replacement accepts again."""
        for listening in self._adopted.pop(dead_worker, ()):
            listening.close()

    def stop(self) -> None:
        """Accept no more; connections live on and are told to drain."""
        self.config.drain.start()
        for listening in self._sockets:
            listening.close()
        self._sockets = []
        for dead_worker in list(self._adopted):
            self.release_adopted(dead_worker)

    def remove(self) -> None:
        """Stop, and close what is left of the connections."""
        self.stop()
        for active in list(self.connections):
            active.connection.close(NO_FLUSH)


def _fixed_address(fd: int) -> Address | None:
    """The local address of all connections that ``fd`` accepts; None when it listens on a wildcard."""
    bound = from_sockaddr(local_sockaddr(fd))
    return None if bound.is_any else bound
