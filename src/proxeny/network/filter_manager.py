"""FilterManager: the network filters of one connection (Envoy: ``Network::FilterManagerImpl``).

Read filters run in the order they were added, write filters in reverse. A filter that returns STOP_ITERATION keeps the
ones behind it from being called until it calls ``continue_reading``; data it leaves in the buffer is seen again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.network.filter import ConnectionState, FilterStatus, NetworkFilter

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.connection import Connection

OPEN = ConnectionState.OPEN
CONTINUE = FilterStatus.CONTINUE
STOP_ITERATION = FilterStatus.STOP_ITERATION


class FilterManager:
    """The read and write filters of a connection and where their iteration stands."""

    __slots__ = ("_announced", "connection", "read_filters", "write_filters")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.read_filters: list[NetworkFilter] = []
        self.write_filters: list[NetworkFilter] = []
        self._announced = 0
        """How many read filters have seen on_new_connection."""

    def add(self, network_filter: NetworkFilter) -> None:
        """Add a filter to the chains whose hooks it overrides; a filter that overrides none is a read filter."""
        kind = type(network_filter)
        writes = kind.on_write is not NetworkFilter.on_write
        reads = kind.on_data is not NetworkFilter.on_data
        if reads or not writes or kind.on_new_connection is not NetworkFilter.on_new_connection:
            self.read_filters.append(network_filter)
        if writes:
            self.write_filters.insert(0, network_filter)
        network_filter.initialize(self.connection)

    def initialize_read_filters(self) -> bool:
        """Announce the connection to the filters; False when there are none, which a listener takes as a refusal."""
        if not self.read_filters:
            return False
        self.resume(0, self.connection.read_buffer, self.connection.half_closed_remote)
        return True

    @property
    def only_read_filter(self) -> NetworkFilter | None:
        """The read filter, when there is exactly one and it has been announced: it may be called directly."""
        return self.read_filters[0] if len(self.read_filters) == 1 and self._announced else None

    def on_read(self, end_stream: bool) -> None:
        """New bytes, or the end of the stream."""
        self.resume(0, self.connection.read_buffer, end_stream)

    def continue_reading(self, network_filter: NetworkFilter) -> None:
        """Go on behind a filter that stopped the iteration."""
        connection = self.connection
        after = self.read_filters.index(network_filter) + 1
        self.resume(after, connection.read_buffer, connection.half_closed_remote)

    def inject_read_data(self, network_filter: NetworkFilter, data: Buffer, end_stream: bool) -> None:
        """Give bytes of a filter's own to the filters behind it."""
        self.resume(self.read_filters.index(network_filter) + 1, data, end_stream)

    def resume(self, start: int, data: Buffer, end_stream: bool) -> None:
        """Run the read filters from ``start`` on."""
        connection = self.connection
        if connection.state is not OPEN:
            return
        filters = self.read_filters
        index = start
        while index < len(filters):
            network_filter = filters[index]
            if index >= self._announced:
                self._announced = index + 1
                if network_filter.on_new_connection() is STOP_ITERATION or connection.state is not OPEN:
                    return
            if data.length or end_stream:
                status = network_filter.on_data(data, end_stream)
                if status is STOP_ITERATION or connection.state is not OPEN:
                    return
            index += 1

    def on_write(self, data: Buffer, end_stream: bool, after: NetworkFilter | None = None) -> FilterStatus:
        """Run the write filters, or those behind ``after``; STOP_ITERATION keeps the bytes from being written."""
        filters = self.write_filters
        index = 0 if after is None else filters.index(after) + 1
        while index < len(filters):
            if filters[index].on_write(data, end_stream) is STOP_ITERATION:
                return STOP_ITERATION
            if self.connection.state is not OPEN:
                return STOP_ITERATION
            index += 1
        return CONTINUE

    def clear(self) -> None:
        """Let the filters and the connection go, which refer to each other; nothing may be called afterwards."""
        self.read_filters.clear()
        self.write_filters.clear()
        del self.connection
