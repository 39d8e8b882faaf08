"""A worker's side of a listener: accepts, finds the filter chain, keeps connections (Envoy: ``ActiveTcpListener``)."""

from __future__ import annotations

import logging
import os
from functools import partial
from select import EPOLLEXCLUSIVE
from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import NOT_SET
from proxeny.filter_config.provider import MissingFilterConfigError
from proxeny.kernel.epoll import EPOLLIN, Watcher
from proxeny.kernel.sockets import accept_many, close_descriptor, local_sockaddr
from proxeny.listener import stats as s
from proxeny.listener.active_tcp_socket import ActiveTcpSocket
from proxeny.listener.filter_chain_trace import why_none
from proxeny.listener.hand_over import HandedOver, connection_info_of, hand_over_of
from proxeny.listener.handshake_timeout import HandshakeTimeout
from proxeny.listener.limits import ConnectionLimits
from proxeny.network.address import from_sockaddr
from proxeny.network.connection import ServerConnection
from proxeny.network.filter import ConnectionCallbacks, ConnectionCloseType, ConnectionEvent, ConnectionState
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxeny.access_log.access_log import AccessLog
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.timer import Timer
    from proxeny.listener.config import ListenerConfig
    from proxeny.listener.connection_handler import ConnectionHandler
    from proxeny.listener.filter_chain import FilterChain
    from proxeny.listener.listen_address import ListenAddress
    from proxeny.network.address import Address
    from proxeny.network.socket_options import SocketOption

log = logging.getLogger("proxeny.conn_handler")

ACCEPT_RETRY_MS = 100
"""How long a socket rests after accept failed for want of resources."""
NO_FLUSH = ConnectionCloseType.NO_FLUSH
OPEN = ConnectionState.OPEN


def _log_connection(connection: ServerConnection, access_logs: Sequence[AccessLog]) -> None:
    info = connection.stream_info
    info.bytes_received = connection.bytes_received
    info.bytes_sent = connection.bytes_sent
    for network_filter in connection.filter_manager.read_filters:
        network_filter.complete_stream_info()
    for access_log in access_logs:
        access_log.log(None, None, None, info, NOT_SET)


class ActiveConnection(ConnectionCallbacks):
    """Keeps a listener's books about one of its connections."""

    __slots__ = ("chain", "connection", "listener", "start_ns")

    def __init__(self, listener: ActiveTcpListener, connection: ServerConnection, chain: FilterChain) -> None:
        self.listener = listener
        self.connection = connection
        self.chain = chain
        self.start_ns = listener.dispatcher.monotonic_ns()

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection ended: count it out."""
        if event is not ConnectionEvent.CONNECTED:
            self.listener.connection_closed(self)


class ListenSocket(Watcher):
    """One listening descriptor. Level-triggered: what one event does not accept, the next turn does.

    A socket that several workers share wakes one of them (EPOLLEXCLUSIVE), which accepts one connection and registers
    anew: that puts it behind the others in the socket's wait queue, so that all get their part (docs/listeners.md).
    """

    __slots__ = ("_mask", "_retry", "_shared", "_stopped", "address", "listener")

    def __init__(self, listener: ActiveTcpListener, fd: int, address: Address | None, shared: bool) -> None:
        self.listener = listener
        self.address = address
        """The bound address; None where connections have different local addresses (a wildcard)."""
        self._retry: Timer | None = None
        self._shared = shared
        self._stopped = False
        """Whether connections wait in the queue until an overload is over."""
        self._mask = EPOLLIN | EPOLLEXCLUSIVE if shared else EPOLLIN
        listener.dispatcher.poller.add(self, fd, self._mask)

    def on_event(self, mask: int) -> None:
        """Connections wait."""
        listener = self.listener
        try:
            accepted = accept_many(self.fd, 1 if self._shared else listener.config.most_accepts)
        except OSError as error:
            self._pause(error)
            return
        if accepted:
            listener.config.stats.record(s.ACCEPTED_PER_EVENT, len(accepted))
            if self._shared:
                self._register_anew()
        limits = listener.limits
        may_shed = limits.refresh()
        acquire = limits.counts.acquire
        for fd, sockaddr in accepted:
            refused = acquire(may_shed and limits.sheds())
            if refused:
                limits.refuse(refused, fd)
            else:
                try:
                    listener.on_accept(fd, sockaddr, self.address)
                except Exception:
                    # The others of this event must not be lost with it.
                    log.exception("%r could not take a connection", listener)

    def on_handler_error(self, error: Exception) -> None:
        """Whatever went wrong with one connection, the next one is accepted."""

    def _register_anew(self) -> None:
        # EPOLL_CTL_MOD would leave it where it is in the queue, and is refused for an exclusive one.
        poller = self.listener.dispatcher.poller
        poller.remove(self)
        poller.add(self, self.fd, self._mask)

    def _pause(self, error: OSError) -> None:
        """No descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): spinning would not help, the queue can wait."""
        dispatcher = self.listener.dispatcher
        if self._retry is None:
            self._retry = dispatcher.create_timer(self._resume)
            log.warning("%r cannot accept: %s", self.listener, os.strerror(error.errno or 0))
        dispatcher.poller.remove(self)
        self._retry.enable(ACCEPT_RETRY_MS)

    def _resume(self) -> None:
        if self.fd >= 0 and not self._stopped:
            self.listener.dispatcher.poller.add(self, self.fd, self._mask)

    def stop(self, stopped: bool) -> None:
        """Let connections wait in the socket's queue, or accept again (overload)."""
        if stopped is self._stopped or self.fd < 0:
            return
        self._stopped = stopped
        if self._retry is not None and self._retry.enabled:
            return
        if stopped:
            self.listener.dispatcher.poller.remove(self)
        else:
            self.listener.dispatcher.poller.add(self, self.fd, self._mask)

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

    __slots__ = (
        "_addresses",
        "_adopted",
        "_removed_chains",
        "_sockets",
        "config",
        "connections",
        "dispatcher",
        "handler",
        "limits",
        "row",
        "sockets",
        "tag",
    )

    def __init__(
        self, handler: ConnectionHandler, tag: int, config: ListenerConfig, fds: list[int], row: int = -1
    ) -> None:
        self.handler = handler
        self.dispatcher: Dispatcher = handler.dispatcher
        self.tag = tag
        self.config = config
        self.row = row
        """The row of the balance table, -1 without exact balance."""
        self.limits = ConnectionLimits(config.limits, config.stats, handler.context, handler.limit_table)
        self.connections: dict[ActiveConnection, None] = {}
        self.sockets: dict[ActiveTcpSocket, None] = {}
        """Accepted, and waiting for a listener filter."""
        self._addresses = [_fixed_address(fd) for fd in fds]
        self._sockets = self._listen(fds)
        self._adopted: dict[int, list[ListenSocket]] = {}
        self._removed_chains: dict[int, set[FilterChain]] = {}
        """By the version of the update that removed them: their connections drain."""
        if row >= 0 and handler.hand_over is not None:
            handler.hand_over.table.serve(row, True)

    def __repr__(self) -> str:
        return f"<ActiveTcpListener {self.config.name} connections={len(self.connections)}>"

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages."""
        return {
            "name": self.config.name,
            "sockets": len(self._sockets),
            "adopted_from": sorted(self._adopted),
            "connections": len(self.connections),
            "waiting": len(self.sockets),
            "draining": self.config.drain.started,
        }

    def bound_addresses(self) -> Iterable[tuple[ListenAddress, Address]]:
        """(as configured, as bound) pairs; the configured address where the listener does not bind."""
        listens = self.config.listen_addresses
        if not self._sockets:
            return [(listen, listen.address) for listen in listens]
        return [
            (listen, from_sockaddr(local_sockaddr(listening.fd)))
            for listen, listening in zip(listens, self._sockets, strict=True)
        ]

    @property
    def network_namespace(self) -> str:
        """The namespace that it listens in (that of its first address); empty: the process's own."""
        return self.config.listen_addresses[0].address.network_namespace

    def _listen(self, fds: list[int]) -> list[ListenSocket]:
        several = self.handler.concurrency > 1
        listens = self.config.listen_addresses
        return [
            ListenSocket(self, fd, address, several and not listen.reuse_port)
            for fd, address, listen in zip(fds, self._addresses, listens, strict=False)
        ]

    def follow_overload(self) -> None:
        """Stop accepting, or accept again, as the overload manager says; nobody accepts before the worker serves."""
        overloaded = bool(self.handler.context.overload.stop_accepting_connections)
        stopped = not self.handler.serving or (overloaded and not self.config.limits.bypasses_overload)
        for listening in self._sockets:
            listening.stop(stopped)
        for adopted in self._adopted.values():
            for listening in adopted:
                listening.stop(stopped)

    # Accepting

    def on_accept(self, fd: int, sockaddr: bytes, address: Address | None) -> None:
        """A socket was accepted: perhaps another worker's turn, else its listener filters or its connection."""
        local = address if address is not None else from_sockaddr(local_sockaddr(fd))
        # The client's end of a unix socket mostly has no name: then it goes by ours, as in Envoy.
        remote = from_sockaddr(sockaddr) if len(sockaddr) > 2 else local
        config = self.config
        if self.row < 0 and not config.listener_filters:
            # The common case without a record of what the filters found.
            chain = config.matcher.only
            if chain is not None:
                self._connect(fd, chain, ServerConnection(self.dispatcher, fd, local, remote))
                return
        self.on_accept_worker(fd, ConnectionInfo(local, remote, 0), config.hands_off_restored)

    def on_accept_worker(
        self, fd: int, info: ConnectionInfo, hands_off: bool, options: Sequence[SocketOption] = ()
    ) -> None:
        """A socket is this listener's, accepted here or handed off by another listener of this worker.

        ``options`` are for upstream sockets; a connection that has some is not handed over to another worker.
        """
        if self.row >= 0 and self._hands_over(fd, info, hands_off, bool(options)):
            return
        self._admit(fd, info, hands_off, options)

    def on_handed_over(self, message: HandedOver, fd: int) -> None:
        """Another worker's turn was ours. ``fd`` is -1 where the socket was lost on the way."""
        hand_over = self.handler.hand_over
        assert hand_over is not None
        counted = message.epoch == hand_over.epoch
        if not counted:
            # It was meant for a predecessor, whose counts are forgotten.
            self.limits.counts.started()
        elif message.tag != self.tag:
            self.limits.take_over(message.own_row, message.all_row)
        if self.row >= 0 and not (counted and message.tag == self.tag):
            hand_over.table.take(self.row)
        if fd < 0:
            self.socket_ended()
            return
        self._admit(fd, connection_info_of(message), message.hands_off)

    def _hands_over(self, fd: int, info: ConnectionInfo, hands_off: bool, stays: bool) -> bool:
        """Whether the socket went to the worker that has the fewest."""
        hand_over = self.handler.hand_over
        assert hand_over is not None
        target, epoch = hand_over.table.assign(self.row)
        if target == hand_over.me:
            return False
        if not stays and hand_over.send(target, hand_over_of(self.tag, epoch, hands_off, info, self.limits.rows), fd):
            self.limits.counts.hand_to(target)
            return True
        hand_over.table.keep(self.row, target)
        return False

    def _admit(self, fd: int, info: ConnectionInfo, hands_off: bool, options: Sequence[SocketOption] = ()) -> None:
        if not self.config.listener_filters:
            self.new_connection(fd, info, None, options)
            return
        accepted = ActiveTcpSocket(self, fd, info, hands_off, options)
        try:
            accepted.start()
        except Exception:
            # A filter (perhaps a user's) failed: that is the end of this socket and of no other.
            log.exception("the listener filters of %r failed", accepted)
            accepted.abort()

    def socket_ended(self) -> None:
        """A socket that counted as this listener's is closed."""
        self.limits.counts.ended()
        if self.row >= 0 and self.handler.hand_over is not None:
            self.handler.hand_over.table.end(self.row)

    def pass_to(self, other: ActiveTcpListener, fd: int, info: ConnectionInfo, options: Sequence[SocketOption]) -> None:
        """A socket that counted as this listener's is another's now."""
        self.limits.counts.pass_to(other.limits.counts)
        if self.row >= 0 and self.handler.hand_over is not None:
            self.handler.hand_over.table.end(self.row)
        other.on_accept_worker(fd, info, False, options)

    # Connections

    def new_connection(
        self, fd: int, info: ConnectionInfo, stream_info: StreamInfo | None, options: Iterable[SocketOption]
    ) -> None:
        """Find the filter chain of an accepted socket and start its network filters."""
        config = self.config
        try:
            chain: FilterChain | None = config.matcher.find(info, stream_info)
        except Exception:
            # What a matcher asks may be a user's code.
            log.exception("the filter chain matcher of %r failed", self)
            chain = None
        if chain is None:
            config.stats.inc(s.NO_FILTER_CHAIN_MATCH)
            self.socket_ended()
            close_descriptor(fd)
            self._log_refused(info, stream_info)
            return
        connection = ServerConnection(self.dispatcher, fd, info.local_address, info.remote_address)
        connection.continue_from(info, stream_info)
        connection.upstream_options = tuple(options)
        self._connect(fd, chain, connection)

    def _connect(self, fd: int, chain: FilterChain, connection: ServerConnection) -> None:
        try:
            self._start(connection, chain)
        except MissingFilterConfigError:
            self.config.stats.inc(s.NETWORK_EXTENSION_CONFIG_MISSING)
            connection.close(NO_FLUSH)
        except Exception:
            # A filter (perhaps a user's) failed: that is the end of this connection and of no other.
            log.exception("%r could not be started", connection)
            connection.close(NO_FLUSH, "internal_error")

    def _start(self, connection: ServerConnection, chain: FilterChain) -> None:
        config = self.config
        config.stats.inc2(s.CX_TOTAL, s.CX_ACTIVE)
        config.worker_stats.inc2(s.WORKER_CX_TOTAL, s.WORKER_CX_ACTIVE)
        active = ActiveConnection(self, connection, chain)
        self.connections[active] = None
        connection.add_connection_callbacks(active)
        info = connection.connection_info
        info.listener = config
        info.filter_chain = chain
        connection.set_buffer_limits(config.buffer_limit)
        if chain.transport_socket is not None:
            transport = chain.transport_socket.create(connection)
            connection.set_transport(transport)
            if chain.transport_socket_connect_timeout_ms and transport is not None:
                HandshakeTimeout(connection, chain.transport_socket_connect_timeout_ms, config.stats)
        for factory in chain.factories:
            connection.add_filter(factory.create())
        if connection.state is OPEN and not connection.initialize_read_filters():
            connection.close(NO_FLUSH)

    def _log_refused(self, info: ConnectionInfo, stream_info: StreamInfo | None) -> None:
        if log.isEnabledFor(logging.DEBUG):
            why = why_none(self.config.matcher, info, stream_info)
            remote = info.remote_address.as_string()
            log.debug("closing connection from %s: no matching filter chain found: %s", remote, why)
        if not self.config.access_logs:
            return
        refused = stream_info or StreamInfo(info, self.dispatcher.system_time(), self.dispatcher.monotonic_ns())
        refused.set_flag(ResponseFlag.NO_ROUTE_FOUND)
        refused.response_code_details = "filter_chain_not_found"
        self.log_unconnected(refused)

    def log_unconnected(self, info: StreamInfo) -> None:
        """The listener's access log for a socket that never became a connection."""
        info.end_ns = self.dispatcher.monotonic_ns()
        info.connection.listener = self.config
        for access_log in self.config.access_logs:
            access_log.log(None, None, None, info, NOT_SET)

    def connection_closed(self, active: ActiveConnection) -> None:
        """Called once per connection when it ends."""
        config = self.config
        self.connections.pop(active, None)
        config.stats.inc(s.CX_DESTROY)
        config.stats.dec(s.CX_ACTIVE)
        config.worker_stats.dec(s.WORKER_CX_ACTIVE)
        self.socket_ended()
        now = self.dispatcher.monotonic_ns()
        config.stats.record(s.CX_LENGTH_MS, (now - active.start_ns) // 1_000_000)
        if config.access_logs:
            active.connection.stream_info.end_ns = now
            # Behind what the filters, which hear of the end after us, have to log.
            self.dispatcher.defer(partial(_log_connection, active.connection, config.access_logs))

    # Life cycle

    def update(self, config: ListenerConfig, version: int) -> None:
        """Go on with other filter chains; connections of chains that are gone are told to drain."""
        kept = set(config.chains.values())
        removed = {chain for chain in self.config.chains.values() if chain not in kept}
        for chain in removed:
            if chain.drain is not None:
                chain.drain.start()
        self._removed_chains[version] = removed
        self.config = config

    def remove_chains(self, version: int) -> None:
        """Close what is left of the connections of the chains that the update to ``version`` removed."""
        removed = self._removed_chains.pop(version, None)
        if removed:
            for active in [active for active in self.connections if active.chain in removed]:
                active.connection.close(NO_FLUSH, "filter_chain_is_being_removed")

    def adopt(self, dead_worker: int, fds: list[int]) -> None:
        """Accept for a dead worker, from main's duplicates of its own sockets; shared ones are served as ever."""
        for fd, address, listen in zip(fds, self._addresses, self.config.listen_addresses, strict=False):
            if listen.reuse_port:
                self._adopted.setdefault(dead_worker, []).append(ListenSocket(self, fd, address, False))
            else:
                close_descriptor(fd)
        self.follow_overload()

    def release_adopted(self, dead_worker: int) -> None:
        """Its replacement accepts again."""
        for listening in self._adopted.pop(dead_worker, ()):
            listening.close()

    def stop(self) -> None:
        """Accept no more; connections live on and are told to drain."""
        self.config.drain.start()
        self.handler.lookup.remove(self)
        if self.row >= 0 and self.handler.hand_over is not None:
            self.handler.hand_over.table.serve(self.row, False)
        for listening in self._sockets:
            listening.close()
        self._sockets = []
        for dead_worker in list(self._adopted):
            self.release_adopted(dead_worker)

    def remove(self) -> None:
        """Stop, and close what is left of the connections."""
        self.stop()
        for accepted in list(self.sockets):
            accepted.abort()
        for active in list(self.connections):
            active.connection.close(NO_FLUSH, "purging_socket_that_have_not_progressed_to_connections")


def _fixed_address(fd: int) -> Address | None:
    """The local address of all connections that ``fd`` accepts; None when it listens on a wildcard."""
    bound = from_sockaddr(local_sockaddr(fd))
    return None if bound.is_any else bound
