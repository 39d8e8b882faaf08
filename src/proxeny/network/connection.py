"""Connection: a stream with filters, watermarks and Envoy's ways of closing (``Network::ConnectionImpl``).

State only moves forward: OPEN, then CLOSING while bytes are flushed or the peer is given time to read them, then
CLOSED. ``close`` and the socket's own end are the two ways into ``_close_socket``, the one place that raises the close
event. What refers back to a closed connection is let go at the end of the turn, when no handler is on the stack.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from errno import ECONNRESET
from typing import TYPE_CHECKING, Any

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.sockets import bind_to, close_descriptor, connect_to, local_sockaddr, open_socket, set_no_delay
from proxeny.kernel.stream import Stream, Transport
from proxeny.kernel.timer import Timer
from proxeny.kernel.transports import StartTls
from proxeny.network.address import Address, from_sockaddr
from proxeny.network.filter import (
    ConnectionCallbacks,
    ConnectionCloseType,
    ConnectionEvent,
    ConnectionState,
    FilterStatus,
    NetworkFilter,
)
from proxeny.network.filter_manager import FilterManager
from proxeny.network.socket_options import SocketOption, SocketOptionError, SocketState, apply_options
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.filter_state import FilterState

OPEN = ConnectionState.OPEN
CLOSING = ConnectionState.CLOSING
CLOSED = ConnectionState.CLOSED
REMOTE_CLOSE = ConnectionEvent.REMOTE_CLOSE
LOCAL_CLOSE = ConnectionEvent.LOCAL_CLOSE
CONNECTED = ConnectionEvent.CONNECTED
FLUSH_WRITE = ConnectionCloseType.FLUSH_WRITE
NO_FLUSH = ConnectionCloseType.NO_FLUSH
FLUSH_WRITE_AND_DELAY = ConnectionCloseType.FLUSH_WRITE_AND_DELAY
ABORT_RESET = ConnectionCloseType.ABORT_RESET
STOP_ITERATION = FilterStatus.STOP_ITERATION

UNNAMED = Address(1, b"\x01\x00")
"""A unix socket without a name; also what is known of an address before the socket has one."""


class Connection(Stream):
    """One connection; owners hear of it through ConnectionCallbacks, bytes go through its NetworkFilters."""

    __slots__ = (
        "_buffer_limit",
        "_bytes_sent_callbacks",
        "_callbacks",
        "_close_waits_for_peer",
        "_delayed_close_ms",
        "_delayed_close_timer",
        "_detect_early_close",
        "_end_stream_raised",
        "_half_close_enabled",
        "_start_ns",
        "_stream_info",
        "connection_info",
        "dispatcher",
        "filter_manager",
        "id",
        "on_delayed_close_timeout",
        "remote_reset",
        "state",
        "transport_failure_reason",
        "upstream_options",
    )

    def __init__(self, dispatcher: Dispatcher, local_address: Address, remote_address: Address) -> None:
        self.dispatcher = dispatcher
        self.id = dispatcher.next_connection_id()
        self.state = OPEN
        self.connection_info = ConnectionInfo(local_address, remote_address, self.id)
        self.filter_manager = FilterManager(self)
        self.transport_failure_reason = ""
        self.upstream_options: tuple[SocketOption, ...] = ()
        """Options for the sockets of upstream connections that are opened on behalf of this one."""
        self.remote_reset = False
        """Whether the peer ended the connection with a RST."""
        self.on_delayed_close_timeout: Callable[[], object] | None = None
        self.notify_drained = False
        self._callbacks: list[ConnectionCallbacks] = []
        self._bytes_sent_callbacks: list[Callable[[int], object]] = []
        self._stream_info: StreamInfo | None = None
        self._start_ns = dispatcher.monotonic_ns()
        self._half_close_enabled = False
        self._detect_early_close = True
        self._end_stream_raised = False
        self._close_waits_for_peer = False
        self._delayed_close_ms = 0
        self._delayed_close_timer: Timer | None = None
        self._buffer_limit = 0
        self.detect_early_close_now = True

    # Facts

    @property
    def stream_info(self) -> StreamInfo:
        """Facts of the connection as a whole; made at the first use, with the connection's start times."""
        info = self._stream_info
        if info is None:
            age_ns = self.dispatcher.monotonic_ns() - self._start_ns
            start_time = self.dispatcher.system_time() - age_ns / 1e9
            info = self._stream_info = StreamInfo(self.connection_info, start_time, self._start_ns)
        return info

    @property
    def filter_state_map(self) -> FilterState | None:
        """The connection's filter state, which each of its requests begins with; None where nothing was set."""
        info = self._stream_info
        return None if info is None else info.filter_state_map

    @property
    def above_high_watermark(self) -> bool:
        """Whether the write buffer is above its high watermark."""
        return self.write_buffer.high_watermark_triggered

    @property
    def buffer_limit(self) -> int:
        """``per_connection_buffer_limit_bytes``; 0 = none."""
        return self._buffer_limit

    @property
    def half_close_enabled(self) -> bool:
        """Whether the peer's end of stream is data for the filters and not the end of the connection."""
        return self._half_close_enabled

    @property
    def write_half_closed(self) -> bool:
        """Whether we have sent, or will send behind what is buffered, our end of stream."""
        return self.write_ended

    # Set-up

    def add_connection_callbacks(self, callbacks: ConnectionCallbacks) -> None:
        """Tell ``callbacks`` of events and watermarks."""
        self._callbacks.append(callbacks)

    def remove_connection_callbacks(self, callbacks: ConnectionCallbacks) -> None:
        """Tell it nothing more, not even in the event that is being raised."""
        if callbacks in self._callbacks:
            self._callbacks = [other for other in self._callbacks if other is not callbacks]

    def add_bytes_sent_callback(self, callback: Callable[[int], object]) -> None:
        """Tell ``callback`` how many bytes the socket took, each time."""
        self._bytes_sent_callbacks.append(callback)
        self.notify_sent = True

    def add_filter(self, network_filter: NetworkFilter) -> None:
        """Add a read and/or write filter behind the others."""
        manager = self.filter_manager
        manager.add(network_filter)
        self.filters_writes = bool(manager.write_filters)
        self._choose_reader()

    def initialize_read_filters(self) -> bool:
        """Announce the connection to its filters; False when it has none."""
        if not self.filter_manager.initialize_read_filters():
            return False
        self._choose_reader()
        return True

    def _choose_reader(self) -> None:
        """A single read filter is called by the kernel itself."""
        only = self.filter_manager.only_read_filter if self.state is OPEN else None
        self.direct_reader = None if only is None else only.on_data

    def enable_half_close(self, enabled: bool) -> None:
        """With half-close, the peer's end of stream reaches the filters as ``end_stream`` and writing goes on."""
        self._half_close_enabled = enabled
        self.detect_early_close_now = self._detect_early_close and not enabled

    def detect_early_close(self, enabled: bool) -> None:
        """Whether a peer's hang-up closes the connection while reads are disabled (off for upstreams)."""
        self._detect_early_close = enabled
        self.detect_early_close_now = enabled and not self._half_close_enabled

    def set_delayed_close_timeout_ms(self, ms: int) -> None:
        """How long a flushing or delayed close may take without progress; 0 = for ever (``delayed_close_timeout``)."""
        self._delayed_close_ms = ms

    def set_buffer_limits(self, limit: int) -> None:
        """High watermark of both buffers in bytes, the low one is half of it; 0 = no limit."""
        self._buffer_limit = limit
        self.write_buffer.set_watermarks(limit, limit // 2, self._write_above, self._write_below)
        self.read_buffer.set_watermarks(limit, limit // 2, self._read_above, self._read_below)

    def start_secure_transport(self) -> bool:
        """Go on in TLS, where the transport socket waits to be told so (``starttls``); whether it does."""
        transport = self.transport
        if not isinstance(transport, StartTls):
            return False
        transport.start_secure(self)
        return True

    def set_no_delay(self) -> None:
        """TCP_NODELAY, where it is TCP."""
        if self.fd >= 0:
            set_no_delay(self.fd)

    # Watermarks

    def _write_above(self) -> None:
        for callbacks in self._callbacks:
            if callbacks in self._callbacks:
                callbacks.on_above_write_buffer_high_watermark()

    def _write_below(self) -> None:
        for callbacks in self._callbacks:
            if callbacks in self._callbacks:
                callbacks.on_below_write_buffer_low_watermark()

    def _read_above(self) -> None:
        if self.state is OPEN:
            self.read_disable(True)

    def _read_below(self) -> None:
        if self.state is OPEN:
            self.read_disable(False)

    # Writing

    def write_filtered(self, data: bytes | Buffer, end_stream: bool) -> None:
        """``write`` is the kernel's; it comes here when there are write filters."""
        if self.write_ended or self.state is CLOSED:
            return
        buffer = data if isinstance(data, Buffer) else Buffer(data)
        if self.filter_manager.on_write(buffer, end_stream) is not STOP_ITERATION:
            self.write_unfiltered(buffer, end_stream)

    def inject_write_data(self, network_filter: NetworkFilter, data: Buffer, end_stream: bool = False) -> None:
        """Write bytes of a write filter's own, through the write filters behind it."""
        if self.state is CLOSED or self.write_ended:
            return
        if self.filter_manager.on_write(data, end_stream, network_filter) is not STOP_ITERATION:
            self.write_unfiltered(data, end_stream)

    def on_writable_drained(self) -> None:
        """All is sent: a flushing close is done, or the second half of the connection."""
        if self.state is CLOSING:
            if not self._close_waits_for_peer:
                self._close_socket(LOCAL_CLOSE)
            elif self._delayed_close_timer is not None:
                self._delayed_close_timer.enable(self._delayed_close_ms)
        elif self.write_ended and self.half_closed_remote:
            self._close_socket(LOCAL_CLOSE)

    def on_bytes_sent(self, n: int) -> None:
        """The socket took bytes."""
        if self._delayed_close_timer is not None:
            self._delayed_close_timer.enable(self._delayed_close_ms)
        for callback in self._bytes_sent_callbacks:
            callback(n)

    # Reading

    def on_readable(self, eof: bool) -> None:
        """Bytes or the end of the stream arrived: the filters first, then the end of the connection if it is that.

        Plain bytes for a single filter do not come here: the kernel calls ``direct_reader``.
        """
        end_stream = self.half_closed_remote and self._half_close_enabled
        if self.state is OPEN and (self.read_buffer.length or (end_stream and not self._end_stream_raised)):
            if end_stream:
                self._end_stream_raised = True
            self.filter_manager.on_read(end_stream)
        if eof and self.fd >= 0:
            if not self._half_close_enabled:
                self._close_socket(REMOTE_CLOSE)
            elif self.write_ended:
                # Both halves are closed, or will be when the rest is sent.
                if self.unsent:
                    self.notify_drained = True
                else:
                    self._close_socket(REMOTE_CLOSE)

    def continue_reading(self, network_filter: NetworkFilter) -> None:
        """Go on with the filters behind one that returned STOP_ITERATION."""
        if self.state is OPEN:
            self.filter_manager.continue_reading(network_filter)

    def inject_read_data(self, network_filter: NetworkFilter, data: Buffer, end_stream: bool = False) -> None:
        """Give bytes of a filter's own to the filters behind it."""
        if self.state is OPEN:
            self.filter_manager.inject_read_data(network_filter, data, end_stream)

    def on_early_close(self) -> None:
        """The peer hung up while nobody reads."""
        self._close_socket(REMOTE_CLOSE)

    # Ending

    def on_transport_error(self, error: int) -> None:
        """The socket failed."""
        if self.transport is not None:
            if self.transport.failure_reason is not None:
                self._set_failure_reason(self.transport.failure_reason)
            elif self.connecting:
                self._set_failure_reason(f"delayed connect error: {os.strerror(error)}")
        elif self.connecting:
            self._set_failure_reason(f"delayed connect error: {os.strerror(error)}")
        elif error == ECONNRESET:
            # Within the process (unix sockets) it only means that not all was read.
            self.remote_reset = not self.connection_info.direct_remote_address.is_internal
            if self.remote_reset:
                self.connection_info.detected_close_type = "RemoteReset"
        self._close_socket(REMOTE_CLOSE)

    def on_handler_error(self, error: Exception) -> None:
        """An exception escaped from a handler of this connection; the dispatcher has logged it."""
        self.close(NO_FLUSH, "internal_error")

    def _set_failure_reason(self, reason: str) -> None:
        self.transport_failure_reason = reason
        self.connection_info.transport_failure_reason = reason

    def close(self, close_type: ConnectionCloseType = FLUSH_WRITE, details: str = "") -> None:
        """Close as ``close_type`` says; LOCAL_CLOSE is raised when it is done, which may be now."""
        if self.fd < 0:
            return
        if details:
            self.connection_info.local_close_reason = details
        if close_type is ABORT_RESET:
            self.connection_info.detected_close_type = "LocalReset"
            self._close_socket(LOCAL_CLOSE, rst=True)
            return
        waits = close_type is FLUSH_WRITE_AND_DELAY and self._delayed_close_ms > 0
        if self.unsent:
            if close_type is not NO_FLUSH:
                self._start_delayed_close(waits)
                return
            # What the socket takes at once is sent even now, as in Envoy.
            self._flush_for_close()
        if not waits or close_type is NO_FLUSH:
            self._close_socket(LOCAL_CLOSE)
        else:
            self._start_delayed_close(True)

    def _stop_reading(self) -> None:
        self.state = CLOSING
        self.direct_reader = None

    def _flush_for_close(self) -> None:
        self._stop_reading()
        self.notify_drained = False
        self.flush()

    def _start_delayed_close(self, waits_for_peer: bool) -> None:
        """Send what is buffered; then close, or wait for the peer to hang up."""
        self._close_waits_for_peer = waits_for_peer
        if self.state is CLOSING:
            return
        self._stop_reading()
        self.notify_drained = True
        self.read_disable(True)
        if self._delayed_close_ms:
            self._delayed_close_timer = self.dispatcher.create_timer(self._delayed_close_timed_out)
            self._delayed_close_timer.enable(self._delayed_close_ms)
            self.notify_sent = True
        if self.poller is not None:
            self.poller.mark_dirty(self)

    def _delayed_close_timed_out(self) -> None:
        if self.on_delayed_close_timeout is not None:
            self.on_delayed_close_timeout()
        self.connection_info.local_close_reason = "triggered_delayed_close_timeout"
        self._close_socket(LOCAL_CLOSE)

    def _close_socket(self, event: ConnectionEvent, rst: bool = False) -> None:
        if self.fd < 0:
            return
        if self._delayed_close_timer is not None:
            self._delayed_close_timer.close()
            self._delayed_close_timer = None
        self.state = CLOSED
        self.connection_info.fd = -1
        self.close_stream(rst)
        self._raise_event(event)
        self.dispatcher.defer(self._let_go)

    def _raise_event(self, event: ConnectionEvent) -> None:
        # The list is replaced, not changed, when callbacks are removed: iterating is safe, but ask before each call.
        for callbacks in self._callbacks:
            if event is CONNECTED and self.state is not OPEN:
                return
            if callbacks in self._callbacks:
                callbacks.on_event(event)

    def _let_go(self) -> None:
        """Break the cycles between the connection, its filters and its owners."""
        self._callbacks = []
        self._bytes_sent_callbacks = []
        self.filter_manager.clear()
        self.on_delayed_close_timeout = None

    # For people

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} C{self.id} {self.state.name} fd={self.fd} "
            f"local={self.connection_info.local_address.as_string()} "
            f"remote={self.connection_info.remote_address.as_string()}>"
        )

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages."""
        return {
            "id": self.id,
            "state": self.state.name,
            "local": self.connection_info.local_address.as_string(),
            "remote": self.connection_info.remote_address.as_string(),
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
            "read_buffer": self.read_buffer.length,
            "write_buffer": self.write_buffer.length,
            "read_disabled": self.read_disable_count,
        }


class ServerConnection(Connection):
    """An accepted connection."""

    __slots__ = ()

    def __init__(
        self,
        dispatcher: Dispatcher,
        fd: int,
        local_address: Address,
        remote_address: Address,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(dispatcher, local_address, remote_address)
        if transport is not None:
            self.set_transport(transport)
        self.connection_info.fd = fd
        self.open(dispatcher.poller, fd)

    def continue_from(self, info: ConnectionInfo, stream_info: StreamInfo | None) -> None:
        """Go on with what is known of the socket since it was accepted; before anybody looks at this connection."""
        info.connection_id = self.id
        info.fd = self.fd
        self.connection_info = info
        if stream_info is not None:
            self._stream_info = stream_info
            self._start_ns = stream_info.start_ns

    def on_connected(self) -> None:
        """The transport socket's handshake is done."""
        self._raise_event(CONNECTED)


def immediate_error(number: int, address: Address) -> str:
    """Why a connect failed at once, as Envoy says it."""
    return f"immediate connect error: {os.strerror(number)}|remote address:{address.as_string()}"


class ClientConnection(Connection):
    """A connection to ``address``; the socket is made by ``connect``."""

    __slots__ = ("_options", "_source_address", "bind_failed", "connected_ns", "on_connect_started", "server_address")

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: Address,
        source_address: Address | None = None,
        options: Iterable[SocketOption] = (),
        transport: Transport | None = None,
    ) -> None:
        super().__init__(dispatcher, UNNAMED, address)
        self.server_address = address
        self.connected_ns = 0
        """When the socket was connected."""
        self.bind_failed = False
        """Whether there was no connection because the source address is none of ours."""
        self._source_address = source_address
        self._options = options
        # An upstream's last bytes are processed before its FIN.
        self.detect_early_close(False)
        if transport is not None:
            self.set_transport(transport)

    def connect(self) -> None:
        """Start to connect, once. CONNECTED or a close event follows, never from inside this call."""
        fd, event, reason = self._start(self.server_address)
        if fd < 0:
            self._fail_later(reason, event)
        else:
            self.open(self.dispatcher.poller, fd, connecting=True)

    def _start(self, address: Address) -> tuple[int, ConnectionEvent, str]:
        """A socket that is connecting to ``address``; -1, and the event and the reason of its failure."""
        try:
            fd = open_socket(address.family)
        except OSError as error:
            return -1, REMOTE_CLOSE, f"immediate connect error: {os.strerror(error.errno or 0)}"
        if not address.is_pipe:
            set_no_delay(fd)
        event, reason = self._prepare(fd)
        if not reason:
            error_number = connect_to(fd, address.sockaddr)
            if error_number == 0:
                return fd, event, ""
            event, reason = REMOTE_CLOSE, immediate_error(error_number, address)
        close_descriptor(fd)
        return -1, event, reason

    def _prepare(self, fd: int) -> tuple[ConnectionEvent, str]:
        """Options and source address; the reason is empty when all went well."""
        try:
            apply_options(fd, self._options, SocketState.PREBIND)
            source = self._source_address
            if source is not None:
                error = bind_to(fd, source.sockaddr)
                if error:
                    self.bind_failed = True
                    return LOCAL_CLOSE, f"failed to bind to {source.as_string()}: {os.strerror(error)}"
            apply_options(fd, self._options, SocketState.BOUND)
        except SocketOptionError as error:
            return LOCAL_CLOSE, f"failed to apply socket options: {error}"
        return REMOTE_CLOSE, ""

    def _fail_later(self, reason: str, event: ConnectionEvent) -> None:
        """Report a failure of connect() when its caller has returned; the connection counts as open until then."""
        self._set_failure_reason(reason)
        self.dispatcher.defer(lambda: self._immediate_failure(event))

    def _immediate_failure(self, event: ConnectionEvent) -> None:
        if self.state is not CLOSED:
            self.state = CLOSED
            self._raise_event(event)
            self._let_go()

    def close(self, close_type: ConnectionCloseType = FLUSH_WRITE, details: str = "") -> None:
        """As Connection.close; also before connect() got a socket."""
        if self.fd < 0 and self.state is OPEN:
            self.state = CLOSED
            self._raise_event(LOCAL_CLOSE)
            self.dispatcher.defer(self._let_go)
            return
        super().close(close_type, details)

    def on_connected(self) -> None:
        """The connect, and the transport socket's handshake, succeeded."""
        self.connected_ns = self.dispatcher.monotonic_ns()
        self.connection_info.local_address = from_sockaddr(local_sockaddr(self.fd))
        self.connection_info.direct_local_address = self.connection_info.local_address
        self._raise_event(CONNECTED)
