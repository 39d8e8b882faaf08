"""The TCP pool (Envoy: ``Tcp::ConnPoolImpl``): connections for tcp_proxy, each used once.

A connection handed out belongs to its taker, who closes it; the pool only keeps the books until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.network.filter import ConnectionCloseType, ConnectionEvent
from proxeny.pool.base import READY, ActiveClient, ConnPoolBase
from proxeny.pool.failure import Cancellable, TcpPoolCallbacks

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.options import PoolOptions
    from proxeny.upstream.host import Host

NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONNECTED = ConnectionEvent.CONNECTED


class ActiveTcpClient(ActiveClient):
    """One connection; not read while it waits for a taker, so that what a server says first is not lost."""

    __slots__ = ("_parked",)

    def __init__(self, pool: TcpConnPool, connection: ClientConnection) -> None:
        super().__init__(pool, connection, pool.cluster.http.max_requests_per_connection)
        self._parked = False

    def on_event(self, event: ConnectionEvent) -> None:
        """Connected: mostly somebody waits for it; else it waits unread. Closed: settle the books."""
        super().on_event(event)
        if event is CONNECTED and self.state is READY:
            self._parked = True
            # A connection whose peer hangs up while it waits must not be handed out.
            self.connection.detect_early_close(True)
            self.connection.read_disable(True)

    def unpark(self) -> None:
        """A taker has it now."""
        if self._parked:
            self._parked = False
            self.connection.detect_early_close(False)
            self.connection.read_disable(False)

    def end_stream(self) -> None:
        """What its taker wanted is done: the close that follows cuts nothing short."""
        self.pool.end_stream(self)

    def close(self) -> None:
        """Close the connection now."""
        self.connection.close(NO_FLUSH)


class TcpConnPool(ConnPoolBase):
    """The TCP connections to one host at one priority."""

    __slots__ = ("_reserved",)

    def __init__(self, dispatcher: Dispatcher, host: Host, priority: int, options: PoolOptions | None = None) -> None:
        super().__init__(dispatcher, host, priority, options)
        self._reserved = 0

    def new_reserved_connection(self, callbacks: TcpPoolCallbacks) -> Cancellable | None:
        """As ``new_connection``, for a caller who has counted one more of the cluster's connections already."""
        self._reserved += 1
        pending = self._new_stream(callbacks, None)
        while self._reserved:
            # No connection was opened: one stood ready, or one that is on its way will do.
            self._reserved -= 1
            self.resources.connections.dec()
        return pending

    def _take_request(self) -> bool:
        # ``max_requests`` is for HTTP; sessions count, as in Envoy.
        self.requests.inc()
        return True

    def _acquire_of_cluster(self) -> bool:
        if self._reserved:
            self._reserved -= 1
            return True
        return super()._acquire_of_cluster()

    def new_connection(self, callbacks: TcpPoolCallbacks, taker: Any = None) -> Cancellable | None:
        """Ask for a connection: ``on_pool_ready(connection, host)`` now or later, or ``on_pool_failure``.

        None when a callback has been called already, else the handle to give up with. A ``taker`` is told the client
        in its attribute ``client``, whose request it may end before the connection does (``client.end_stream``).
        """
        return self._new_stream(callbacks, taker)

    def _instantiate_client(self) -> ActiveTcpClient:
        connection = self.host.create_connection(self.dispatcher, self.options)
        client = ActiveTcpClient(self, connection)
        connection.add_connection_callbacks(client)
        connection.connect()
        return client

    def _on_pool_ready(self, client: ActiveTcpClient, callbacks: Any, context: Any) -> None:
        # Nothing is read before this turn's handlers have returned: the taker's filters will see the first byte.
        client.unpark()
        if context is not None:
            context.client = client
        callbacks.on_pool_ready(client.connection, self.host)
