"""A worker's side of an internal listener (Envoy: ``ActiveInternalListener``): connections come from its own upstreams.

It is found by its name, has no sockets and hands nothing off; otherwise it is as any listener.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from proxeny.listener.active_tcp_listener import ActiveTcpListener
from proxeny.listener.active_tcp_socket import ActiveTcpSocket
from proxeny.network.internal import CLIENT_ADDRESS
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from proxeny.listener.config import ListenerConfig
    from proxeny.listener.connection_handler import ConnectionHandler
    from proxeny.listener.filter_chain import FilterChain
    from proxeny.network.address import Address
    from proxeny.network.connection import ServerConnection
    from proxeny.network.internal import InternalListeners, Passthrough

log = logging.getLogger("proxeny.conn_handler")


class ActiveInternalListener(ActiveTcpListener):
    """One internal listener in one worker."""

    def __init__(
        self, handler: ConnectionHandler, tag: int, config: ListenerConfig, listeners: InternalListeners
    ) -> None:
        super().__init__(handler, tag, config, [])
        self._listeners = listeners
        self._refused = False
        """Whether the connection that is being accepted was closed at once."""
        listeners.add(config.name, self)

    def bound_addresses(self) -> tuple[()]:
        """None that a restored destination could be."""
        return ()

    def on_internal_connection(self, fd: int, local: Address, passthrough: Passthrough | None) -> bool:
        """One end of a new connection, and what the other one sends along. Whether it is still open afterwards."""
        self._refused = True
        self.limits.counts.started()
        info = ConnectionInfo(local, CLIENT_ADDRESS, 0)
        if not self.config.listener_filters:
            stream_info = None
            if passthrough is not None:
                stream_info = StreamInfo(info, self.dispatcher.system_time(), self.dispatcher.monotonic_ns())
                _take_over(passthrough, stream_info)
            self.new_connection(fd, info, stream_info, ())
            return not self._refused
        accepted = ActiveTcpSocket(self, fd, info, False)
        if passthrough is not None:
            _take_over(passthrough, accepted.stream_info)
        try:
            accepted.start()
        except Exception:
            # A filter (perhaps a user's) failed: that is the end of this socket and of no other.
            log.exception("the listener filters of %r failed", accepted)
            accepted.abort()
        return accepted.fd >= 0 or not self._refused

    def _connect(self, fd: int, chain: FilterChain, connection: ServerConnection) -> None:
        super()._connect(fd, chain, connection)
        self._refused = connection.fd < 0

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages."""
        return {**super().statistics(), "internal": True}

    def stop(self) -> None:
        """Not to be found any more; connections live on and are told to drain."""
        self._listeners.remove(self.config.name, self)
        super().stop()


def _take_over(passthrough: Passthrough, info: StreamInfo) -> None:
    if passthrough.metadata:
        info.dynamic_metadata.update(passthrough.metadata)
    for name, (value, sharing) in passthrough.filter_state.items():
        info.filter_state.share(name, value, sharing)
