"""An accepted socket on its way through the listener filters (Envoy: ``ActiveTcpSocket``).

The filters run in order. One that wants bytes is shown what the socket holds by MSG_PEEK, edge-triggered, so that the
bytes stay where they are: whoever serves the connection reads them again. Behind the last filter the socket is handed
to the listener of its original destination, when it was restored and the configuration says so, or becomes a connection
here. A socket that does not get there in time is closed, or goes on as it is, as configured.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxeny.kernel.epoll import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLRDHUP, Watcher
from proxeny.kernel.sockets import discard, peek
from proxeny.listener import stats as s
from proxeny.network.filter import FilterStatus
from proxeny.network.stream_info import StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.timer import Timer
    from proxeny.listener.active_tcp_listener import ActiveTcpListener
    from proxeny.listener.filter import ListenerFilter
    from proxeny.network.address import Address
    from proxeny.network.socket_options import SocketOption
    from proxeny.network.stream_info import ConnectionInfo

log = logging.getLogger("proxeny.conn_handler")

STOP_ITERATION = FilterStatus.STOP_ITERATION
HUNG_UP = EPOLLRDHUP | EPOLLHUP | EPOLLERR


class Peeker(Watcher):
    """Tells a socket of what arrives while a filter waits."""

    def __init__(self, waiting: ActiveTcpSocket, fd: int, mask: int) -> None:
        self.waiting = waiting
        self.mask = mask
        waiting.dispatcher.poller.add(self, fd, mask)

    def on_event(self, mask: int) -> None:
        """Bytes, or the end of the stream."""
        self.waiting.on_socket_event(mask)

    def on_handler_error(self, error: Exception) -> None:
        """A filter failed (the dispatcher has logged it): that is the end of this socket and of no other."""
        self.waiting.abort()


class ActiveTcpSocket:
    """One socket between accept and connection; fulfils ``listener.filter.AcceptedSocket``."""

    __slots__ = (
        "_at",
        "_current",
        "_hands_off",
        "_peeker",
        "_peer_ended",
        "_start_ns",
        "_stream_info",
        "_timer",
        "connection_info",
        "dispatcher",
        "fd",
        "listener",
        "upstream_options",
    )

    def __init__(
        self,
        listener: ActiveTcpListener,
        fd: int,
        info: ConnectionInfo,
        hands_off: bool,
        options: Iterable[SocketOption] = (),
    ) -> None:
        """``options`` is what filters of the listener that handed it off left for upstream sockets."""
        self.listener = listener
        self.dispatcher = listener.dispatcher
        self.fd = fd
        self.connection_info = info
        self.upstream_options: list[SocketOption] = list(options)
        self._hands_off = hands_off
        self._peer_ended = False
        self._at = 0
        self._current: ListenerFilter | None = None
        self._peeker: Peeker | None = None
        self._timer: Timer | None = None
        self._stream_info: StreamInfo | None = None
        self._start_ns = self.dispatcher.monotonic_ns()

    def __repr__(self) -> str:
        info = self.connection_info
        return f"<ActiveTcpSocket fd={self.fd} {info.remote_address.as_string()} to {info.local_address.as_string()}>"

    @property
    def stream_info(self) -> StreamInfo:
        """Made at the first use, with the time of the accept."""
        info = self._stream_info
        if info is None:
            age_ns = self.dispatcher.monotonic_ns() - self._start_ns
            start_time = self.dispatcher.system_time() - age_ns / 1e9
            info = self._stream_info = StreamInfo(self.connection_info, start_time, self._start_ns)
        return info

    # What filters do

    def restore_local_address(self, address: Address) -> None:
        """The socket was going to ``address`` before it was redirected here."""
        self.connection_info.local_address = address
        self.connection_info.local_address_restored = True

    def drain(self, size: int) -> None:
        """Take ``size`` peeked bytes off the socket for good; it is closed when they went with a reset."""
        try:
            discard(self.fd, size)
        except OSError:
            self.listener.config.stats.inc(s.LISTENER_FILTER_ERROR)
            self.close()

    def continue_filter_chain(self, success: bool) -> None:
        """A filter that had stopped the iteration is done."""
        if self.fd < 0:
            return
        if not success:
            self.close()
            self._ended()
            return
        self._at += 1
        self._run()

    def close(self, details: str = "") -> None:
        """Close the socket; whoever runs the filters finds it closed."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        if details and not self.connection_info.termination_details:
            self.connection_info.termination_details = details
        self._stop_peeking()
        self.dispatcher.poller.close_fd_after_batch(fd)

    # The run

    def start(self) -> None:
        """Run the filters as far as they go now."""
        config = self.listener.config
        config.stats.inc(s.PRE_CX_ACTIVE)
        if config.discovered_filters and any(filter_.current is None for filter_ in config.discovered_filters):
            config.stats.inc(s.EXTENSION_CONFIG_MISSING)
            self.close()
            self._ended()
            return
        self._run()
        if self.fd >= 0:
            self.listener.sockets[self] = None
            timeout_ms = config.listener_filters_timeout_ms
            if timeout_ms:
                self._timer = self.dispatcher.create_timer(self._timed_out)
                self._timer.enable(timeout_ms)

    def _run(self) -> None:
        entries = self.listener.config.listener_filters
        while self._at < len(entries):
            factory, disabled = entries[self._at]
            if disabled is None or not disabled.matches(self.connection_info):
                current = self._current = factory.create()
                current.socket = self
                if current.on_accept() is STOP_ITERATION:
                    if self.fd < 0:
                        self._ended()
                        return
                    if not self._wait(current):
                        return
            self._at += 1
        self._current = None
        self._succeeded()

    def _wait(self, current: ListenerFilter) -> bool:
        """Watch the socket for a filter that stopped the iteration; True when it got all it wanted already."""
        mask = EPOLLIN | EPOLLRDHUP | EPOLLET if current.max_read_bytes else EPOLLRDHUP | EPOLLET
        if current.max_read_bytes and self._show(current):
            return True
        if self.fd < 0:
            return False
        if self._peeker is None:
            self._peeker = Peeker(self, self.fd, mask)
        elif self._peeker.mask != mask:
            self._peeker.mask = mask
            self.dispatcher.poller.modify(self._peeker, mask)
        self._check_end(current)
        return False

    def _show(self, current: ListenerFilter) -> bool:
        """Show a filter what the socket holds; True when it is done. The socket may be closed afterwards."""
        while True:
            most = current.max_read_bytes
            try:
                data = peek(self.fd, most)
            except OSError:
                self._hung_up(current, s.LISTENER_FILTER_ERROR)
                return False
            if data is None:
                return False
            if not data:
                self._hung_up(current, s.LISTENER_FILTER_REMOTE_CLOSE)
                return False
            done = current.on_data(data) is not STOP_ITERATION
            if self.fd < 0:
                self._ended()
                return False
            if done:
                return True
            if len(data) < most or current.max_read_bytes <= most:
                return False

    def on_socket_event(self, mask: int) -> None:
        """Something arrived for the filter that waits."""
        current = self._current
        if current is None or self.fd < 0:
            return
        self._peer_ended = self._peer_ended or bool(mask & HUNG_UP)
        if not current.max_read_bytes:
            if mask & HUNG_UP:
                self._hung_up(current, s.LISTENER_FILTER_REMOTE_CLOSE)
        elif self._show(current):
            self._at += 1
            self._run()
        else:
            self._check_end(current)

    def _check_end(self, current: ListenerFilter) -> None:
        """A filter waits for more; when the peer has sent its last byte, there is none. (A peek cannot show the end
        behind bytes, and the event of the end comes once.)"""
        if self._peer_ended and self.fd >= 0:
            self._hung_up(current, s.LISTENER_FILTER_REMOTE_CLOSE)

    # Ends

    def _hung_up(self, current: ListenerFilter, slot: int) -> None:
        current.on_close()
        self.close()
        self.listener.config.stats.inc(slot)
        self._ended()

    def _timed_out(self) -> None:
        config = self.listener.config
        config.stats.inc(s.PRE_CX_TIMEOUT)
        if config.continue_on_listener_filters_timeout:
            self._succeeded()
        else:
            self.close()
            self._ended()

    def abort(self) -> None:
        """A filter raised an exception, or the listener is removed."""
        if self.fd >= 0:
            self.close("internal_error")
            self._ended()

    def _stop_peeking(self) -> None:
        peeker, self._peeker = self._peeker, None
        if peeker is not None:
            self.dispatcher.poller.remove(peeker)

    def _let_go(self) -> None:
        """Off the listener's books as a socket; filters and socket refer to each other no more."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._stop_peeking()
        self._current = None
        if self._stream_info is not None:
            # A filter may have found out who the client is after it was made.
            self._stream_info.downstream_remote_address = self.connection_info.remote_address
        self.listener.sockets.pop(self, None)
        self.listener.config.stats.dec(s.PRE_CX_ACTIVE)

    def _ended(self) -> None:
        """It never became a connection."""
        listener = self.listener
        info = self.stream_info
        self._let_go()
        listener.socket_ended()
        listener.log_unconnected(info)

    def _succeeded(self) -> None:
        """All filters are done: to the listener of the original destination, or a connection here."""
        listener, fd = self.listener, self.fd
        info = self.connection_info
        self._let_go()
        self.fd = -1
        if self._hands_off and info.local_address_restored:
            other = listener.handler.lookup.find(info.local_address, listener.network_namespace)
            if other is not None:
                listener.pass_to(other, fd, info, self.upstream_options)
                return
        listener.new_connection(fd, info, self._stream_info, self.upstream_options)
