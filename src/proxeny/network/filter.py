"""The network filter contract (Envoy: ``envoy/network/filter.h``) and the events of a connection."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.connection import Connection


class FilterStatus(IntEnum):
    """What a network filter wants of the filters behind it."""

    CONTINUE = 0
    STOP_ITERATION = 1


class ConnectionEvent(IntEnum):
    """What a connection reports to its callbacks (Envoy: ``Network::ConnectionEvent``)."""

    REMOTE_CLOSE = 0
    LOCAL_CLOSE = 1
    CONNECTED = 2


class ConnectionCloseType(IntEnum):
    """How to close (Envoy: ``Network::ConnectionCloseType``)."""

    FLUSH_WRITE = 0
    """Send what is buffered, then close."""
    NO_FLUSH = 1
    """Close now; what is buffered is lost."""
    FLUSH_WRITE_AND_DELAY = 2
    """Send what is buffered, half-close, wait for the peer or the delayed-close timeout."""
    ABORT_RESET = 3
    """Close with a TCP RST."""


class ConnectionState(IntEnum):
    """The life of a connection; it only ever moves forward."""

    OPEN = 0
    CLOSING = 1
    CLOSED = 2


class ConnectionCallbacks:
    """What one wants to hear of a connection; subclasses override what they need."""

    __slots__ = ()

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection connected or closed."""

    def on_above_write_buffer_high_watermark(self) -> None:
        """The write buffer went above its high watermark: stop producing."""

    def on_below_write_buffer_low_watermark(self) -> None:
        """The write buffer fell below its low watermark: produce again."""


class NetworkFilter(ConnectionCallbacks):
    """A read and/or write filter on one connection; one instance per connection. It may hear of its connection's events
    too, when it adds itself to the connection's callbacks."""

    __slots__ = ("connection",)

    connection: Connection

    def initialize(self, connection: Connection) -> None:
        """Called once, before any other method."""
        self.connection = connection

    def on_new_connection(self) -> FilterStatus:
        """The connection is established (before the first byte)."""
        return FilterStatus.CONTINUE

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes from the peer; what stays in ``data`` is seen by the next filter, or again here."""
        return FilterStatus.CONTINUE

    def on_write(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes on their way to the peer."""
        return FilterStatus.CONTINUE

    def complete_stream_info(self) -> None:
        """The connection closed: put what only this filter knows into its stream info, for the listener's log."""


class NetworkFilterFactory(Protocol):
    """Makes one connection's filter; compiled once per configuration."""

    name: str

    def create(self) -> NetworkFilter:
        """A fresh filter."""
