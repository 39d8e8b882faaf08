"""``transport_socket_connect_timeout``: a connection whose handshake takes too long is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.listener import stats as s
from proxeny.network.filter import ConnectionCallbacks, ConnectionCloseType, ConnectionEvent

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.network.connection import ServerConnection


class HandshakeTimeout(ConnectionCallbacks):
    """The time of one connection; it ends with the handshake, or with the connection."""

    __slots__ = ("_connection", "_stats", "_timer")

    def __init__(self, connection: ServerConnection, timeout_ms: int, stats: Block) -> None:
        self._connection = connection
        self._stats = stats
        self._timer = connection.dispatcher.create_timer(self._timed_out)
        self._timer.enable(timeout_ms)
        connection.add_connection_callbacks(self)

    def on_event(self, event: ConnectionEvent) -> None:
        """The handshake is done, or the connection ended."""
        self._timer.close()

    def _timed_out(self) -> None:
        info = self._connection.connection_info
        info.termination_details = "transport socket timeout was reached"
        # Which logs do not show, in Envoy either.
        self._connection.transport_failure_reason = "connect timeout"
        self._connection.close(ConnectionCloseType.NO_FLUSH, "transport_socket_timeout")
        self._stats.inc(s.TRANSPORT_SOCKET_CONNECT_TIMEOUT)
