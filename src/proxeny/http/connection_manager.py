"""The HTTP connection manager: a network filter that turns a connection's bytes into requests.

Envoy: ``source/common/http/conn_manager_impl.cc``. It owns the codec and the streams, decides when the connection
drains and closes, and answers for the bytes a codec refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.active_stream import ActiveStream
from proxeny.http.codec import StreamResetReason
from proxeny.http.connection_manager_config import HTTP1, HTTP2
from proxeny.http.http1.server_connection import Http1ServerConnection
from proxeny.http.http2.server_connection import HTTP_2, Http2ServerConnection, Http2ServerStream
from proxeny.http.premature_resets import PrematureResets
from proxeny.http.soft_drain import SoftDrain
from proxeny.http.stats import (
    CX_ACTIVE,
    CX_DELAYED_CLOSE_TIMEOUT,
    CX_DESTROY,
    CX_DESTROY_ACTIVE_RQ,
    CX_DESTROY_LOCAL,
    CX_DESTROY_LOCAL_ACTIVE_RQ,
    CX_DESTROY_REMOTE,
    CX_DESTROY_REMOTE_ACTIVE_RQ,
    CX_HTTP1_ACTIVE,
    CX_HTTP1_SOFT_DRAIN,
    CX_HTTP1_TOTAL,
    CX_HTTP2_ACTIVE,
    CX_HTTP2_TOTAL,
    CX_IDLE_TIMEOUT,
    CX_LENGTH_MS,
    CX_MAX_DURATION_REACHED,
    CX_MAX_REQUESTS_REACHED,
    CX_PROTOCOL_ERROR,
    CX_RX_BYTES_BUFFERED,
    CX_RX_BYTES_TOTAL,
    CX_SSL_ACTIVE,
    CX_SSL_TOTAL,
    CX_TOTAL,
    CX_TX_BYTES_BUFFERED,
    CX_TX_BYTES_TOTAL,
    RQ_HTTP1_TOTAL,
    RQ_HTTP2_TOTAL,
    RQ_TOO_MANY_PREMATURE_RESETS,
)
from proxeny.http.stream_manager import CLOSING, NOT_DRAINING, DrainState, StreamManager
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, ConnectionState, FilterStatus
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag

if TYPE_CHECKING:
    from proxeny.http.codec import CodecError, ResponseEncoder, ServerCodec
    from proxeny.http.connection_manager_config import ConnectionManagerConfig
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import Connection
    from proxeny.network.stream_info import StreamInfo

STOP_ITERATION = FilterStatus.STOP_ITERATION
OPEN = ConnectionState.OPEN
FLUSH_WRITE = ConnectionCloseType.FLUSH_WRITE
FLUSH_WRITE_AND_DELAY = ConnectionCloseType.FLUSH_WRITE_AND_DELAY
FLAG_DC = FLAG_BITS[ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION]
NO_FLUSH = ConnectionCloseType.NO_FLUSH
FLAG_DPE = FLAG_BITS[ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR]


class NeverDrain:
    """The drain decision where there is no listener to drain."""

    __slots__ = ()

    def drain_close(self) -> bool:
        """Never."""
        return False


NEVER_DRAIN = NeverDrain()

PREFACE = b"PRI * HTTP/2"
"""By which a client that speaks HTTP/2 at once is known (Envoy: ``Http2::CLIENT_MAGIC_PREFIX``)."""


class ConnectionManager(StreamManager):
    """One downstream connection's codec and streams."""

    __slots__ = (
        "closed_requests",
        "dispatching",
        "drain_timer",
        "duration_timer",
        "idle_timer",
        "premature_resets",
        "requests",
        "start_ns",
        "streams",
    )

    def __init__(self, config: ConnectionManagerConfig) -> None:
        self.config = config
        self.drain_state = DrainState.NOT_DRAINING
        self.drain_timer: Timer | None = None
        self.idle_timer: Timer | None = None
        self.duration_timer: Timer | None = None
        self.streams: list[ActiveStream] = []
        self.remote_closed = False
        self.codec = None
        self.requests = 0
        self.closed_requests = 0
        self.dispatching = False
        """Whether the codec is at work; what ends meanwhile is looked at after it."""
        self.protocol = "HTTP/1.1"
        self.multiplexed = False
        self.rq_total_slot = RQ_HTTP1_TOTAL
        self.premature_resets: PrematureResets | None = None
        self.has_rare_timers = bool(
            config.request_headers_timeout_ms
            or config.request_timeout_ms
            or config.max_stream_duration_ms
            or config.log_flush_interval_ms
        )
        self.drain_decision = config.context.drain_decision or NEVER_DRAIN

    def __repr__(self) -> str:
        return f"<ConnectionManager {self.config.stat_prefix} {self.drain_state.name} streams={self.streams!r}>"

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages and tests."""
        return {"streams": len(self.streams), "requests": self.requests, "drain_state": self.drain_state.name}

    # The network filter.

    def initialize(self, connection: Connection) -> None:
        """Take over a new connection."""
        config = self.config
        self.connection = connection
        self.dispatcher = connection.dispatcher
        self.wheel = self.dispatcher.wheel
        self.connection_info = connection.connection_info
        self.remote_address = self.connection_info.remote_address
        self.buffer_limit = connection.buffer_limit
        self.start_ns = self.dispatcher.monotonic_ns()
        config.stats.inc2(CX_TOTAL, CX_ACTIVE)
        self.secure = self.connection_info.ssl is not None
        if self.secure:
            config.stats.inc2(CX_SSL_TOTAL, CX_SSL_ACTIVE)
        connection.add_connection_callbacks(self)
        connection.set_stats(
            config.stats, CX_RX_BYTES_TOTAL, CX_RX_BYTES_BUFFERED, CX_TX_BYTES_TOTAL, CX_TX_BYTES_BUFFERED
        )
        connection.set_delayed_close_timeout_ms(config.delayed_close_timeout_ms)
        connection.on_delayed_close_timeout = self.on_delayed_close_timeout
        if config.connection_idle_timeout_ms:
            self.idle_timer = self.dispatcher.create_timer(self.on_idle_timeout)
            self.idle_timer.enable(config.connection_idle_timeout_ms)
        if config.max_connection_duration_ms:
            self.duration_timer = self.dispatcher.create_timer(self.on_connection_duration)
            self.duration_timer.enable(config.max_connection_duration_ms)

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes from the client: request after request, one at a time on HTTP/1."""
        codec = self.codec
        if codec is None:
            codec = self._create_codec(data)
        connection = self.connection
        while True:
            before = len(data)
            self.dispatching = True
            error = codec.dispatch(data, end_stream)
            self.dispatching = False
            if error is not None:
                self._on_codec_error(error)
                return STOP_ITERATION
            self.check_for_deferred_close(False)
            after = len(data)
            if not after or after == before or self.streams or connection.state is not OPEN:
                if self.connection_info.protocol is None:
                    self.connection_info.protocol = codec.protocol
                return STOP_ITERATION

    def _create_codec(self, data: Buffer) -> ServerCodec:
        config = self.config
        if config.codec_type != HTTP1 and (config.codec_type == HTTP2 or self._speaks_http2(data)):
            return self._create_http2_codec()
        config.stats.inc2(CX_HTTP1_TOTAL, CX_HTTP1_ACTIVE)
        self.codec = codec = Http1ServerConnection(self.connection, self, config.codec_settings, config.codec_stats)
        return codec

    def _speaks_http2(self, data: Buffer) -> bool:
        """By ALPN where there is one, else by the first bytes (which are taken to come at once, as in Envoy)."""
        ssl = self.connection_info.ssl
        alpn = "" if ssl is None else ssl.alpn
        return alpn == "h2" if alpn else data.peek(len(PREFACE)) == PREFACE

    def _create_http2_codec(self) -> ServerCodec:
        config = self.config
        settings = config.http2_settings
        config.stats.inc2(CX_HTTP2_TOTAL, CX_HTTP2_ACTIVE)
        self.multiplexed = True
        self.protocol = HTTP_2
        self.rq_total_slot = RQ_HTTP2_TOTAL
        self.buffer_limit = settings.stream_window
        self.premature_resets = PrematureResets(config.context.runtime)
        self.codec = codec = Http2ServerConnection(
            self.connection, settings.options, self, settings, config.http2_stats, config.random
        )
        return codec

    def _on_codec_error(self, error: CodecError) -> None:
        self.connection.stream_info.flags |= FLAG_DPE
        reason = "codec_error:" + error.message.replace(" ", "_")
        if error.status:
            self.config.stats.inc(CX_PROTOCOL_ERROR)
        if self.multiplexed:
            for stream in self.streams:
                stream.stream_info.response_code_details = stream.encoder.details or reason
        elif self.streams:
            self.streams[-1].on_codec_error(error)
        self.do_connection_close(FLUSH_WRITE_AND_DELAY, FLAG_DPE, reason)

    # The codec's callbacks.

    def new_stream(self, response_encoder: ResponseEncoder) -> ActiveStream:
        """A request begins."""
        if self.idle_timer is not None:
            self.idle_timer.disable()
        stream = ActiveStream(self, response_encoder)
        self.streams.append(stream)
        self.requests += 1
        limit = self.config.max_requests_per_connection
        if limit and self.requests >= limit and (self.multiplexed or self.drain_state is NOT_DRAINING):
            self.config.stats.inc(CX_MAX_REQUESTS_REACHED)
            if not self.multiplexed:
                stream.saw_connection_close = True
            elif self.drain_state is NOT_DRAINING:
                self.start_drain_sequence()
        return stream

    # The connection's callbacks.

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection closed, by the peer or by us."""
        if event is ConnectionEvent.CONNECTED:
            return
        stats = self.config.stats
        if event is ConnectionEvent.REMOTE_CLOSE:
            self.remote_closed = True
            stats.inc(CX_DESTROY_REMOTE)
        else:
            stats.inc(CX_DESTROY_LOCAL)
            for stream in self.streams:
                reason = self.connection_info.local_close_reason
                stream.stream_info.response_code_details = f"downstream_local_disconnect({reason})"
        self.do_connection_close(None, FLAG_DC)
        stats.dec(CX_ACTIVE)
        if self.secure:
            stats.dec(CX_SSL_ACTIVE)
        if self.codec is not None:
            self.codec.close()
            stats.dec(CX_HTTP2_ACTIVE if self.multiplexed else CX_HTTP1_ACTIVE)
        if isinstance(self.drain_decision, SoftDrain):
            stats.dec(CX_HTTP1_SOFT_DRAIN)
        stats.inc(CX_DESTROY)
        self.dispatcher.defer(self._let_go)
        stats.record(CX_LENGTH_MS, (self.dispatcher.monotonic_ns() - self.start_ns) // 1_000_000)

    def _let_go(self) -> None:
        """The connection is closed: break the cycle with the codec."""
        self.codec = None

    def on_delayed_close_timeout(self) -> None:
        """The peer did not close within the delayed-close timeout."""
        self.config.stats.inc(CX_DELAYED_CLOSE_TIMEOUT)

    def on_above_write_buffer_high_watermark(self) -> None:
        """The client does not read: tell the streams."""
        if self.codec is not None:
            self.codec.on_underlying_connection_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """The client reads again."""
        if self.codec is not None:
            self.codec.on_underlying_connection_below_write_buffer_low_watermark()

    # Ends of streams.

    def end_stream(self, stream: ActiveStream) -> None:
        """A stream is over for us: complete, or given up (then HTTP/1 must close)."""
        active = stream
        if active.destroyed:
            return
        if active.remote_complete and active.codec_complete:
            if self.multiplexed and self._await_codec(active, active.encoder):
                return
            self.destroy_stream(active)
        else:
            active.local_complete = active.codec_complete = True
            if not self.multiplexed:
                self.drain_state = DrainState.CLOSING
            active.encoder.stream.reset_stream(StreamResetReason.LOCAL_RESET)
        if not self.dispatching:
            # What the client is still sending could reset the connection under the answer; a complete request cannot.
            # (When a request is answered at once ``on_data`` looks after the dispatch, and then there may be more.)
            self.check_for_deferred_close(
                active.saw_connection_close and (active.remote_complete or active.ends_at_close)
            )
        connection = self.connection
        if not self.multiplexed and not self.streams and connection.state is OPEN and len(connection.read_buffer):
            connection.redeliver_read_buffer()

    def _await_codec(self, stream: ActiveStream, encoder: Http2ServerStream) -> bool:
        """A stream is over once the end of its response was sent, which the codec tells; False when it was already."""
        stream.waits_for_codec = not encoder.is_sent()
        return stream.waits_for_codec

    def destroy_stream(self, stream: ActiveStream) -> None:
        """Log and forget the stream."""
        active = stream
        self.streams.remove(active)
        active.finish()
        self.closed_requests += 1
        if not active.stream_info.response_code and self.premature_resets is not None:
            self._look_for_premature_resets(active.stream_info)
        if self.drain_state is CLOSING and self.multiplexed and not self.dispatching:
            self.check_for_deferred_close(False)
        if self.idle_timer is not None and not self.streams:
            self.idle_timer.enable(self.config.connection_idle_timeout_ms)

    def _look_for_premature_resets(self, info: StreamInfo) -> None:
        """A stream ended without an answer: were most of the client's requests given up at once?"""
        assert self.premature_resets is not None
        if self.premature_resets.are_too_many(info, self.closed_requests) and self.connection.state is OPEN:
            self.config.stats.inc(RQ_TOO_MANY_PREMATURE_RESETS)
            self.do_connection_close(NO_FLUSH, 0, "too_many_premature_resets")

    # Draining and closing.

    def close_after_response(self) -> None:
        """Close once the streams are done; a client that may have begun others is told first."""
        if self.multiplexed:
            if self.drain_state is NOT_DRAINING:
                self.start_drain_sequence()
        else:
            self.drain_state = DrainState.CLOSING

    def start_drain_sequence(self) -> None:
        """Tell the client to go; close after ``drain_timeout``."""
        self.drain_state = DrainState.DRAINING
        if self.codec is not None:
            self.codec.shutdown_notice()
        self.drain_timer = self.dispatcher.create_timer(self.on_drain_timeout)
        self.drain_timer.enable(self.config.drain_timeout_ms)

    def on_drain_timeout(self) -> None:
        """The client had its time."""
        if self.codec is not None:
            self.codec.go_away()
        self.drain_state = DrainState.CLOSING
        self.check_for_deferred_close(False)

    def on_idle_timeout(self) -> None:
        """No request for ``idle_timeout``."""
        self.config.stats.inc(CX_IDLE_TIMEOUT)
        if not self.requests and not self.multiplexed:
            self.do_connection_close(FLUSH_WRITE, 0, "on_idle_timeout")
        elif self.drain_state is NOT_DRAINING:
            self.start_drain_sequence()

    def on_connection_duration(self) -> None:
        """The connection reached ``max_connection_duration``."""
        self.config.stats.inc(CX_MAX_DURATION_REACHED)
        if not self.requests and not self.multiplexed:
            self.do_connection_close(FLUSH_WRITE, 0, "duration_timeout")
        elif self.drain_state is not NOT_DRAINING:
            return
        elif self.config.soft_drain and not self.multiplexed:
            self.config.stats.inc(CX_HTTP1_SOFT_DRAIN)
            self.drain_decision = SoftDrain(self)
        else:
            self.start_drain_sequence()

    def check_for_deferred_close(self, skip_delay_close: bool) -> None:
        """Close if that is due and no stream is left; ``skip_delay_close``: without waiting for the client's FIN."""
        if self.drain_state is CLOSING and not self.streams and self.connection.state is OPEN:
            close_type = FLUSH_WRITE if skip_delay_close else FLUSH_WRITE_AND_DELAY
            self.do_connection_close(close_type, 0, "deferred_close_on_drained_connection")

    def do_connection_close(self, close_type: ConnectionCloseType | None, flag: int, reason: str = "") -> None:
        """End the streams (``flag`` goes into their logs) and, given a type, the connection (for ``reason``)."""
        for timer in (self.idle_timer, self.duration_timer, self.drain_timer):
            if timer is not None:
                timer.disable()
        self.idle_timer = self.duration_timer = self.drain_timer = None
        if self.streams:
            stats = self.config.stats
            stats.inc(CX_DESTROY_LOCAL_ACTIVE_RQ if close_type is not None else CX_DESTROY_REMOTE_ACTIVE_RQ)
            stats.inc(CX_DESTROY_ACTIVE_RQ)
            for stream in reversed(self.streams.copy()):
                stream.stream_info.flags |= flag
                stream.on_reset_stream(StreamResetReason.CONNECTION_TERMINATION, "")
        if close_type is not None:
            if self.codec is not None:
                self.codec.wind_up()
            self.connection.close(close_type, reason)
