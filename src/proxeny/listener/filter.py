"""The listener filter contract (Envoy: ``envoy/network/filter.h``, ``Network::ListenerFilter``).

Listener filters see an accepted socket before it is a connection: they find out where it was going, what it speaks and
who is behind it, and write that into its ``connection_info`` and ``stream_info``. They run in their order; one that
returns STOP_ITERATION goes on through ``socket.continue_filter_chain()`` or, when it reads (``max_read_bytes``), by the
status of a later ``on_data``. What a filter looks at stays in the socket unless it drains it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxeny.network.filter import FilterStatus

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.address import Address
    from proxeny.network.socket_options import SocketOption
    from proxeny.network.stream_info import ConnectionInfo, StreamInfo


class AcceptedSocket(Protocol):
    """An accepted socket as its listener filters see it (Envoy: ``ListenerFilterCallbacks``, ``ConnectionSocket``)."""

    fd: int
    """The descriptor; -1 once the socket is closed."""
    dispatcher: Dispatcher
    connection_info: ConnectionInfo
    """Addresses and what was found so far; becomes the connection's own."""
    upstream_options: list[SocketOption]
    """Options for upstream sockets opened on behalf of this connection (``original_src``)."""

    @property
    def stream_info(self) -> StreamInfo:
        """Becomes the connection's: dynamic metadata and filter state set here are seen by everything behind."""

    def restore_local_address(self, address: Address) -> None:
        """Set the local address to the original destination; the listener may then be left for that address's own."""

    def drain(self, size: int) -> None:
        """Take ``size`` bytes, that ``on_data`` was shown, off the socket for good."""

    def continue_filter_chain(self, success: bool) -> None:
        """Go on behind the filter that stopped the iteration; False closes the socket (a listener filter error)."""

    def close(self, details: str = "") -> None:
        """Close the socket; the filter then returns STOP_ITERATION."""


class ListenerFilter:
    """One listener filter on one accepted socket; subclasses override what they need."""

    __slots__ = ("socket",)

    socket: AcceptedSocket
    max_read_bytes = 0
    """How many bytes ``on_data`` wants to see at most; 0 for a filter that reads nothing. May grow while it runs."""

    def on_accept(self) -> FilterStatus:
        """The socket was accepted, ``self.socket`` is set. A filter that wants to be shown data stops the iteration."""
        return FilterStatus.CONTINUE

    def on_data(self, data: bytes) -> FilterStatus:
        """All bytes that are there now, from the first undrained one on, at most ``max_read_bytes``; never empty.

        STOP_ITERATION asks to be called again when there are more; CONTINUE ends this filter's part.
        """
        return FilterStatus.CONTINUE

    def on_close(self) -> None:
        """The peer hung up, or the socket failed, while this filter was waiting."""


class ListenerFilterFactory(Protocol):
    """Makes one socket's filter; compiled once per configuration."""

    name: str

    def create(self) -> ListenerFilter:
        """A fresh filter."""
