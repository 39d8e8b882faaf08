"""The upstream side of one TCP session (Envoy: ``TcpProxy::TcpUpstream``, ``UpstreamCallbacks`` and ``Drainer``).

It outlives the session when the client went away while bytes for the upstream were still waiting: then it drains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.extensions.network_filters.tcp_proxy.stats import (
    IDLE_TIMEOUT,
    UPSTREAM_FLUSH_ACTIVE,
    UPSTREAM_FLUSH_TOTAL,
)
from proxeny.network.filter import (
    ConnectionCallbacks,
    ConnectionCloseType,
    ConnectionEvent,
    ConnectionState,
    FilterStatus,
    NetworkFilter,
)
from proxeny.pool.cluster_stats import (
    UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL,
    UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL,
)

if TYPE_CHECKING:
    from proxeny.extensions.network_filters.tcp_proxy.config import TcpProxyConfig
    from proxeny.extensions.network_filters.tcp_proxy.proxy import TcpProxy
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import ClientConnection
    from proxeny.upstream.host import Host

CONNECTED = ConnectionEvent.CONNECTED
REMOTE_CLOSE = ConnectionEvent.REMOTE_CLOSE
CLOSED = ConnectionState.CLOSED
FLUSH_WRITE = ConnectionCloseType.FLUSH_WRITE
ABORT_RESET = ConnectionCloseType.ABORT_RESET
NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONTINUE = FilterStatus.CONTINUE


class TcpUpstream(NetworkFilter, ConnectionCallbacks):
    """An upstream connection, as long as somebody cares for it."""

    __slots__ = ("_config", "_draining", "_idle_timer", "host", "proxy")

    connection: ClientConnection

    def __init__(self, proxy: TcpProxy, connection: ClientConnection, host: Host, idle_timer: Timer | None) -> None:
        self.proxy: TcpProxy | None = proxy
        """None once the client is gone and only the draining is left."""
        self.host = host
        self._config: TcpProxyConfig = proxy.config
        self._idle_timer = idle_timer
        self._draining = False
        connection.enable_half_close(True)
        connection.add_connection_callbacks(self)
        connection.add_filter(self)
        connection.initialize_read_filters()

    # Bytes

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes from the upstream: on to the client."""
        proxy = self.proxy
        if proxy is None:
            # There is nobody to send them to: as the kernel does for a closed socket.
            self.connection.close(NO_FLUSH)
        else:
            proxy.on_upstream_data(data, end_stream)
        return CONTINUE

    def send(self, data: Buffer, end_stream: bool) -> None:
        """Bytes, or the end of the stream, of the client."""
        self.connection.write(data, end_stream)

    @property
    def remote_reset(self) -> bool:
        """Whether the upstream closed with a RST."""
        return self.connection.remote_reset

    def read_disable(self, disable: bool) -> None:
        """The client's write buffer is full, or no longer is."""
        if self.connection.state is CLOSED:
            return
        self.connection.read_disable(disable)
        self.host.cluster.stats.inc(
            UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL if disable else UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL
        )

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes less than the client sends."""
        if self.proxy is not None:
            self.proxy.read_disable_downstream(True)

    def on_below_write_buffer_low_watermark(self) -> None:
        """The upstream has caught up."""
        if self.proxy is not None:
            self.proxy.read_disable_downstream(False)

    # Events

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection closed."""
        if event is CONNECTED:
            return
        proxy = self.proxy
        if proxy is not None:
            self.proxy = None
            proxy.on_upstream_closed(event)
        elif self._draining:
            self._draining = False
            self._stop_draining()

    def on_downstream_closed(self, event: ConnectionEvent, was_reset: bool) -> None:
        """The client is gone: what it sent still goes out if it was the client that left; a reset is passed on."""
        self.proxy = None
        connection = self.connection
        if was_reset:
            connection.close(ABORT_RESET)
            return
        connection.close(FLUSH_WRITE if event is REMOTE_CLOSE else NO_FLUSH)
        if connection.state is not CLOSED:
            self._draining = True
            self._config.stats.inc2(UPSTREAM_FLUSH_TOTAL, UPSTREAM_FLUSH_ACTIVE)
            timer = self._idle_timer
            if timer is not None:
                self._idle_timer = connection.dispatcher.create_timer(self._on_drain_idle)
                self._idle_timer.enable(self._config.idle_timeout_ms)
                connection.add_bytes_sent_callback(self._on_drain_progress)

    def _on_drain_progress(self, _sent: int) -> None:
        if self._idle_timer is not None:
            self._idle_timer.enable(self._config.idle_timeout_ms)

    def _on_drain_idle(self) -> None:
        self._config.stats.inc(IDLE_TIMEOUT)
        self.connection.close(NO_FLUSH)

    def _stop_draining(self) -> None:
        self._config.stats.dec(UPSTREAM_FLUSH_ACTIVE)
        if self._idle_timer is not None:
            self._idle_timer.close()
            self._idle_timer = None

    def __repr__(self) -> str:
        return f"<TcpUpstream {'draining ' if self.proxy is None else ''}{self.connection!r}>"
