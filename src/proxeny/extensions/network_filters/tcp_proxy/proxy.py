"""TcpProxy: one client connection and its upstream (Envoy: ``TcpProxy::Filter``).

The client is read-disabled until an upstream connection is there (or its early bytes are kept, when configured). Then
both directions are handed to pumps in the kernel, unless other network filters or a transport socket stand in between;
in that case bytes pass through ``on_data`` and ``on_upstream_data``. Ends of stream always do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import TCP_CONNECTION_END, TCP_PERIODIC, TCP_UPSTREAM_CONNECTED
from proxeny.extensions.network_filters.tcp_proxy.stats import (
    DOWNSTREAM_BYTES,
    DOWNSTREAM_CX_NO_ROUTE,
    DOWNSTREAM_CX_TOTAL,
    DOWNSTREAM_PAUSED_READING,
    DOWNSTREAM_RESUMED_READING,
    EARLY_DATA_RECEIVED,
    IDLE_TIMEOUT,
    MAX_DOWNSTREAM_CONNECTION_DURATION,
)
from proxeny.extensions.network_filters.tcp_proxy.tunnel import TunnelUpstream
from proxeny.extensions.network_filters.tcp_proxy.upstream import TcpUpstream
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.outlier import (
    LOCAL_ORIGIN_CONNECT_FAILED,
    LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL,
    LOCAL_ORIGIN_TIMEOUT,
    HostMonitor,
)
from proxeny.kernel.splice import SplicePump
from proxeny.network.filter import (
    ConnectionCallbacks,
    ConnectionCloseType,
    ConnectionEvent,
    ConnectionState,
    FilterStatus,
    NetworkFilter,
)
from proxeny.network.proxy_protocol import PROXY_PROTOCOL_OPTIONS, ProxyProtocolData
from proxeny.network.stream_info import ResponseFlag
from proxeny.pool.cluster_stats import (
    UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED,
    UPSTREAM_CX_OVERFLOW,
)
from proxeny.pool.failure import Cancellable, CancelPolicy, PoolFailureReason
from proxeny.upstream.metadata_criteria import with_dynamic

if TYPE_CHECKING:
    from proxeny.extensions.network_filters.tcp_proxy.config import TcpProxyConfig
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import ClientConnection, Connection
    from proxeny.network.stream_info import StreamInfo
    from proxeny.upstream.host import Host
    from proxeny.upstream.metadata_criteria import MetadataCriteria

CONNECTED = ConnectionEvent.CONNECTED
OPEN = ConnectionState.OPEN
FLUSH_WRITE = ConnectionCloseType.FLUSH_WRITE
ABORT_RESET = ConnectionCloseType.ABORT_RESET
NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONTINUE = FilterStatus.CONTINUE
STOP_ITERATION = FilterStatus.STOP_ITERATION
DEFAULT_PRIORITY = 0
# Numbers of Envoy's UpstreamFailureReason, by the flag it sets.
FAILURE_NUMBERS = {
    ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED: 0,
    ResponseFlag.NO_HEALTHY_UPSTREAM: 1,
    ResponseFlag.UPSTREAM_OVERFLOW: 2,
    ResponseFlag.NO_CLUSTER_FOUND: 3,
}


class TcpProxy(NetworkFilter, ConnectionCallbacks):
    """The terminal filter of a TCP session."""

    __slots__ = (
        "_attempts",
        "_closed",
        "_criteria",
        "_duration_timer",
        "_early_data",
        "_early_end",
        "_flush_timer",
        "_idle_timer",
        "_pending",
        "_pumps",
        "_retry_timer",
        "config",
        "upstream",
    )

    connection: Connection

    def __init__(self, config: TcpProxyConfig) -> None:
        self.config = config
        self.upstream: TcpUpstream | TunnelUpstream | None = None
        self._attempts = 0
        self._criteria: MetadataCriteria | None = None
        self._closed = False
        self._pending: Cancellable | None = None
        self._pumps: tuple[SplicePump, ...] = ()
        self._early_data: Buffer | None = None
        self._early_end = False
        self._idle_timer: Timer | None = None
        self._duration_timer: Timer | None = None
        self._flush_timer: Timer | None = None
        self._retry_timer: Timer | None = None

    # Set-up

    def initialize(self, connection: Connection) -> None:
        """Take the connection over."""
        self.connection = connection
        config = self.config
        connection.add_connection_callbacks(self)
        connection.enable_half_close(True)
        if config.max_early_data_bytes is None:
            # Nothing is read that there may be no upstream for.
            connection.read_disable(True)
        else:
            self._early_data = Buffer()
        config.stats.inc(DOWNSTREAM_CX_TOTAL)
        connection.set_stats(config.stats, *DOWNSTREAM_BYTES)

    def on_new_connection(self) -> FilterStatus:
        """Start the session's timers and find an upstream."""
        config = self.config
        if config.proxy_protocol_tlvs:
            self._set_proxy_protocol_tlvs()
        create_timer = self.connection.dispatcher.create_timer
        if config.max_duration_ms:
            self._duration_timer = create_timer(self._on_max_duration)
            self._duration_timer.enable(config.max_duration_with_jitter_ms())
        if config.flush_interval_ms and config.access_logs:
            self._flush_timer = create_timer(self._on_flush_interval)
            self._flush_timer.enable(config.flush_interval_ms)
        if config.connect_on_data:
            return CONTINUE
        self._connect_upstream()
        return STOP_ITERATION

    def _set_proxy_protocol_tlvs(self) -> None:
        """What a header of the client's own said goes before the configuration."""
        info = self.connection.stream_info
        state = info.filter_state
        if PROXY_PROTOCOL_OPTIONS not in state:
            here = self.connection.connection_info
            tlvs = tuple([(tlv.kind, tlv.value(info)) for tlv in self.config.proxy_protocol_tlvs])
            state[PROXY_PROTOCOL_OPTIONS] = ProxyProtocolData(here.remote_address, here.local_address, tlvs)

    # What a load balancer may ask (``LbContext``)

    def hash_key(self) -> int | None:
        """For hashing load balancers: what the hash policy makes of the connection."""
        method = self.config.hash_method
        return None if method is None else method.evaluate(None, self.connection.stream_info, None)

    @property
    def metadata_match(self) -> MetadataCriteria | None:
        """The endpoint metadata that is asked for: by the configuration, and by the connection's dynamic metadata."""
        return with_dynamic(self._criteria, self.connection.stream_info.dynamic_metadata_map)

    @property
    def downstream_connection(self) -> Connection:
        """The client's connection."""
        return self.connection

    @property
    def request_stream_info(self) -> StreamInfo:
        """The session's facts are the connection's."""
        return self.connection.stream_info

    @property
    def downstream_headers(self) -> None:
        """A connection has no request headers."""
        return None

    @property
    def host_selection_attempt(self) -> int:
        """No host is declined here."""
        return 0

    @property
    def response_cookies(self) -> None:
        """A connection has no response."""
        return None

    # Finding an upstream

    def _connect_upstream(self) -> None:
        """Try once more to get a connection, or give the session up."""
        config = self.config
        info = self.connection.stream_info
        name, self._criteria = config.pick()
        state = info.filter_state_map
        if state is not None and "envoy.tcp_proxy.cluster" in state:
            name = str(state["envoy.tcp_proxy.cluster"])
        cluster = config.context.cluster_manager.get(name)
        if cluster is None:
            config.stats.inc(DOWNSTREAM_CX_NO_ROUTE)
            self._give_up(ResponseFlag.NO_CLUSTER_FOUND)
            return
        info.upstream_cluster = cluster.info
        stats = cluster.info.stats
        connections = cluster.info.resource_manager(DEFAULT_PRIORITY).connections
        if not connections.try_acquire():
            stats.inc(UPSTREAM_CX_OVERFLOW)
            self._give_up(ResponseFlag.UPSTREAM_OVERFLOW)
        elif self._attempts >= config.max_connect_attempts:
            connections.dec()
            stats.inc(UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED)
            self._give_up(ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED)
        else:
            host = cluster.choose_host(self)
            if host is None:
                connections.dec()
                # The load balancer has counted upstream_cx_none_healthy.
                self._give_up(ResponseFlag.NO_HEALTHY_UPSTREAM)
                return
            self._attempts += 1
            info.attempt_count = self._attempts
            if info.attempted_hosts is None:
                info.attempted_hosts = []
            info.attempted_hosts.append(host)
            info.upstream_asked_ns = self.connection.dispatcher.monotonic_ns()
            if config.tunneling is not None:
                # As in Envoy the limit is only looked at here: a tunnel's connection is the pool's to count.
                connections.dec()
                tunnel = self._pending = TunnelUpstream(self, config.tunneling, host)
                tunnel.start(cluster.http_pool(host, DEFAULT_PRIORITY, None, self.connection.upstream_options, self))
                return
            pool = cluster.tcp_pool(host, DEFAULT_PRIORITY, self.connection.upstream_options, self)
            pending = pool.new_reserved_connection(self)
            if pending is not None:
                self._pending = pending

    def _give_up(self, flag: ResponseFlag) -> None:
        self.connection.stream_info.set_flag(flag)
        self.connection.close(NO_FLUSH, f"tcp_initializion_failure:{FAILURE_NUMBERS[flag]}")

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Host | None) -> None:
        """No connection to this host: try again as often as configured."""
        self._pending = None
        info = self.connection.stream_info
        info.upstream_host = host
        info.upstream_failed_ns = self.connection.dispatcher.monotonic_ns()
        if details:
            info.upstream_transport_failure_reason = details
        if reason is PoolFailureReason.OVERFLOW:
            info.set_flag(ResponseFlag.UPSTREAM_OVERFLOW)
        elif reason is not PoolFailureReason.LOCAL_CONNECTION_FAILURE:
            info.set_flag(ResponseFlag.UPSTREAM_CONNECTION_FAILURE)
        config = self.config
        if host is not None and host.outlier is not None:
            _note_failure(host.outlier, reason)
        if self._closed:
            return
        if config.backoff is None or self._attempts >= config.max_connect_attempts:
            self._connect_upstream()
            return
        if self._retry_timer is None:
            self._retry_timer = self.connection.dispatcher.create_timer(self._connect_upstream)
        self._retry_timer.enable(config.backoff.delay_ms(self._attempts, config.random()))

    def on_pool_ready(self, connection: ClientConnection, host: Host) -> None:
        """The upstream connection is there."""
        downstream = self.connection
        self._on_upstream_ready(connection, host)
        self.upstream = TcpUpstream(self, connection, host, self._idle_timer)
        self._begin()
        if connection.state is OPEN and downstream.state is OPEN:
            self._start_relay(connection)

    def on_tunnel_open(self, tunnel: TunnelUpstream) -> None:
        """The upstream opened the tunnel."""
        self._on_upstream_ready(tunnel.connection, tunnel.host)
        self.upstream = tunnel
        if self._idle_timer is not None:
            self.connection.add_bytes_sent_callback(self._on_progress)
        self._begin()

    def _on_upstream_ready(self, connection: ClientConnection, host: Host) -> None:
        self._pending = None
        if host.outlier is not None:
            host.outlier.put_result(LOCAL_ORIGIN_CONNECT_SUCCESS_FINAL)
        downstream = self.connection
        config = self.config
        info = downstream.stream_info
        info.upstream_host = host
        info.upstream_connection = connection
        info.first_upstream_tx_ns = downstream.dispatcher.monotonic_ns()
        if config.idle_timeout_ms:
            self._idle_timer = downstream.dispatcher.create_timer(self._on_idle_timeout)
            self._idle_timer.enable(config.idle_timeout_ms)

    def _begin(self) -> None:
        """Bytes flow from now on."""
        if self.config.flush_on_connected:
            self._log(TCP_UPSTREAM_CONNECTED)
        if self._early_data is not None:
            self._send_early_data()
        else:
            self.connection.read_disable(False)

    def _start_relay(self, upstream: ClientConnection) -> None:
        """Let the kernel move the bytes, unless somebody wants to see them on the way."""
        downstream = self.connection
        for connection in (downstream, upstream):
            manager = connection.filter_manager
            if len(manager.read_filters) > 1 or manager.write_filters:
                self._watch_progress(upstream)
                return
        pool = downstream.dispatcher.pipe_pool
        timer, idle_ms = self._idle_timer, self.config.idle_timeout_ms
        self._pumps = (
            SplicePump(downstream, upstream, pool, timer, idle_ms, upstream.buffer_limit),
            SplicePump(upstream, downstream, pool, timer, idle_ms, downstream.buffer_limit),
        )
        for pump in self._pumps:
            pump.attach()

    def _watch_progress(self, upstream: ClientConnection) -> None:
        if self._idle_timer is not None:
            self.connection.add_bytes_sent_callback(self._on_progress)
            upstream.add_bytes_sent_callback(self._on_progress)

    def _on_progress(self, _sent: int) -> None:
        if self._idle_timer is not None:
            self._idle_timer.enable(self.config.idle_timeout_ms)

    # Bytes

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes, or the end of the stream, from the client."""
        upstream = self.upstream
        if upstream is not None:
            upstream.send(data, end_stream)
            self._on_progress(0)
        elif self._early_data is not None:
            self._keep_early_data(data, end_stream)
        return STOP_ITERATION

    def on_upstream_data(self, data: Buffer, end_stream: bool) -> None:
        """Bytes, or the end of the stream, from the upstream."""
        self.connection.write(data, end_stream)
        self._on_progress(0)

    def _keep_early_data(self, data: Buffer, end_stream: bool) -> None:
        """The client speaks before there is an upstream (``max_early_data_bytes``)."""
        kept = self._early_data
        assert kept is not None
        if not kept and data:
            self.config.stats.inc(EARLY_DATA_RECEIVED)
        starts = self.config.connect_on_data and not kept and self._attempts == 0
        before = kept.length
        kept.move_all(data)
        self._early_end = self._early_end or end_stream
        limit = self.config.max_early_data_bytes or 0
        if before <= limit < kept.length:
            self.connection.read_disable(True)
        if starts:
            self._connect_upstream()

    def _send_early_data(self) -> None:
        kept, self._early_data = self._early_data, None
        assert kept is not None and self.upstream is not None
        if kept.length > (self.config.max_early_data_bytes or 0):
            self.connection.read_disable(False)
        if kept or self._early_end:
            self.upstream.send(kept, self._early_end)

    def read_disable_downstream(self, disable: bool) -> None:
        """The upstream's write buffer is full, or no longer is."""
        if self.connection.state is not OPEN:
            return
        self.connection.read_disable(disable)
        self.config.stats.inc(DOWNSTREAM_PAUSED_READING if disable else DOWNSTREAM_RESUMED_READING)

    def on_above_write_buffer_high_watermark(self) -> None:
        """The client takes less than the upstream sends."""
        if self.upstream is not None:
            self.upstream.read_disable(True)

    def on_below_write_buffer_low_watermark(self) -> None:
        """The client has caught up."""
        if self.upstream is not None:
            self.upstream.read_disable(False)

    # Timers

    def _on_idle_timeout(self) -> None:
        self.config.stats.inc(IDLE_TIMEOUT)
        self.connection.close(NO_FLUSH, "tcp_session_idle_timeout")

    def _on_max_duration(self) -> None:
        self.config.stats.inc(MAX_DOWNSTREAM_CONNECTION_DURATION)
        self.connection.stream_info.set_flag(ResponseFlag.DURATION_TIMEOUT)
        self.connection.close(NO_FLUSH, "max_connection_duration_reached")

    def _on_flush_interval(self) -> None:
        self._log(TCP_PERIODIC)
        if self._flush_timer is not None:
            self._flush_timer.enable(self.config.flush_interval_ms)

    def _stop_timers(self) -> None:
        for timer in (self._idle_timer, self._duration_timer, self._flush_timer, self._retry_timer):
            if timer is not None:
                timer.close()
        self._idle_timer = self._duration_timer = self._flush_timer = self._retry_timer = None

    # Ends

    def on_upstream_closed(self, event: ConnectionEvent) -> None:
        """The upstream is gone: the client gets what came, then the end; a reset is passed on as one."""
        upstream, self.upstream = self.upstream, None
        was_reset = upstream is not None and upstream.remote_reset
        if was_reset:
            self.connection.stream_info.set_flag(ResponseFlag.UPSTREAM_REMOTE_RESET)
        if self._idle_timer is not None:
            self._idle_timer.disable()
        if self.connection.state is OPEN:
            self.connection.close(ABORT_RESET if was_reset else FLUSH_WRITE)

    def on_event(self, event: ConnectionEvent) -> None:
        """The client's connection closed."""
        if event is CONNECTED or self._closed:
            return
        self._closed = True
        self._stop_timers()
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.on_downstream_closed(event, self.connection.remote_reset)
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel(CancelPolicy.CLOSE_EXCESS)
        self._log(TCP_CONNECTION_END)
        self._pumps = ()
        self.connection.dispatcher.defer(self._let_go)

    def _let_go(self) -> None:
        """The logs are written: the two connections no longer know each other."""
        self.connection.stream_info.upstream_connection = None

    def _log(self, log_type: bytes) -> None:
        config = self.config
        if not config.access_logs:
            return
        connection = self.connection
        info = connection.stream_info
        if log_type is TCP_CONNECTION_END:
            info.end_ns = connection.dispatcher.monotonic_ns()
        self.complete_stream_info()
        for log in config.access_logs:
            log.log(None, None, None, info, log_type)

    def complete_stream_info(self) -> None:
        """Note for a log how many bytes went by."""
        connection = self.connection
        info = connection.stream_info
        info.bytes_received = info.wire_bytes_received = connection.bytes_received
        info.bytes_sent = info.wire_bytes_sent = connection.bytes_sent
        # A tunnel's connection may carry others.
        upstream = info.upstream_stream or info.upstream_connection
        if upstream is not None:
            info.upstream_wire_bytes_received = upstream.bytes_received
            info.upstream_wire_bytes_sent = upstream.bytes_sent

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages."""
        return {
            "attempts": self._attempts,
            "upstream": repr(self.upstream),
            "moved": [pump.moved for pump in self._pumps],
            "spliced": [pump.spliced for pump in self._pumps],
        }

    def __repr__(self) -> str:
        return f"<TcpProxy {self.connection!r} -> {self.upstream!r}>"


def _note_failure(monitor: HostMonitor, reason: PoolFailureReason) -> None:
    """What outlier detection is told of a connect that failed; nothing where it was us who gave up."""
    if reason is PoolFailureReason.TIMEOUT:
        monitor.put_result(LOCAL_ORIGIN_TIMEOUT)
    elif reason is PoolFailureReason.REMOTE_CONNECTION_FAILURE:
        monitor.put_result(LOCAL_ORIGIN_CONNECT_FAILED)
