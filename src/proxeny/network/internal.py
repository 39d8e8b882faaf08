"""Connections inside a worker: from an upstream to an internal listener, without the network.

A connection is a pair of unix stream sockets. One end is the upstream's client connection, the other one is accepted by
the internal listener of the same worker; so buffers, watermarks, filters and splice work as with any other.
"""

from __future__ import annotations

import logging
import os
import socket
from errno import EINVAL
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.kernel.sockets import close_descriptor
from proxeny.network.address import InternalAddress
from proxeny.network.connection import CONNECTED, REMOTE_CLOSE, ClientConnection, immediate_error

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.address import Address
    from proxeny.network.filter_state import Sharing

log = logging.getLogger("proxeny.connection")

CLIENT_ADDRESS: Final = InternalAddress("internal_client_address")
"""Where all internal connections come from, as in Envoy."""
MOST_NESTED: Final = 32
"""Listeners that one connect may lead through at once: a loop of them ends here."""


class Passthrough:
    """What an upstream connection brings its internal listener besides bytes."""

    __slots__ = ("filter_state", "metadata")

    def __init__(self, metadata: dict[str, Any], filter_state: dict[str, tuple[Any, Sharing]]) -> None:
        self.metadata = metadata
        """Dynamic metadata by namespace."""
        self.filter_state = filter_state
        """Objects by name, and how they are shared on the other side."""


class InternalAcceptor(Protocol):
    """An internal listener, as connections find it."""

    def on_internal_connection(self, fd: int, local: Address, passthrough: Passthrough | None) -> bool:
        """Take one end of a new connection; the descriptor is the listener's from now on. Whether it is still open."""


class InternalListeners:
    """The internal listeners of this worker by name."""

    __slots__ = ("_by_name", "buffer_size", "enabled", "nested")

    def __init__(self) -> None:
        self._by_name: dict[str, InternalAcceptor] = {}
        self.enabled = False
        """Whether the bootstrap has ``envoy.bootstrap.internal_listener``."""
        self.buffer_size = 0
        """Bytes that a connection may hold in each direction; 0: as many as the system allows."""
        self.nested = 0
        """How many listeners are accepting right now, one for the sake of the other."""

    def add(self, name: str, listener: InternalAcceptor) -> None:
        """Find ``listener`` from now on; the newest of a name counts."""
        self._by_name[name] = listener

    def remove(self, name: str, listener: InternalAcceptor) -> None:
        """Find it no more."""
        if self._by_name.get(name) is listener:
            del self._by_name[name]

    def find(self, name: str) -> InternalAcceptor | None:
        """The listener of this name."""
        return self._by_name.get(name) if self.enabled else None


class InternalClientConnection(ClientConnection):
    """An upstream connection whose other end is an internal listener's."""

    __slots__ = ("_listeners", "_passthrough")

    server_address: InternalAddress

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: InternalAddress,
        listeners: InternalListeners,
        passthrough: Passthrough | None = None,
    ) -> None:
        super().__init__(dispatcher, address)
        self._listeners = listeners
        self._passthrough = passthrough
        self.connection_info.local_address = self.connection_info.direct_local_address = CLIENT_ADDRESS

    def connect(self) -> None:
        """As ClientConnection.connect. The listener accepts at once; if it refuses, the connect has failed."""
        address = self.server_address
        listeners = self._listeners
        listener = listeners.find(address.listener_name)
        if listener is None or listeners.nested == MOST_NESTED:
            if listener is not None:
                log.warning("internal listeners lead to each other, at last to %s", address.as_string())
            self._fail_later(immediate_error(EINVAL, address), REMOTE_CLOSE)
            return
        try:
            ours, theirs = self._pair()
        except OSError as error:
            self._fail_later(f"immediate connect error: {os.strerror(error.errno or 0)}", REMOTE_CLOSE)
            return
        listeners.nested += 1
        try:
            accepted = listener.on_internal_connection(theirs, address, self._passthrough)
        finally:
            listeners.nested -= 1
        if accepted:
            self.open(self.dispatcher.poller, ours, connecting=True)
        else:
            close_descriptor(ours)
            self._fail_later(immediate_error(EINVAL, address), REMOTE_CLOSE)

    def _pair(self) -> tuple[int, int]:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        size = self._listeners.buffer_size
        for end in ends if size else ():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        return ends[0].detach(), ends[1].detach()

    def on_connected(self) -> None:
        """There is nothing that the socket would know of addresses."""
        self._raise_event(CONNECTED)
