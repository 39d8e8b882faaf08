"""One attempt at the upstream (Envoy: ``Router::UpstreamRequest``): wait for a stream, send the request, hear the
answer.

What arrives before the stream is there is held, up to the downstream's buffer limit, above which the client is not
read. Back-pressure runs both ways: while the upstream connection's write buffer is above its high watermark the client
is not read, and while the client's is, the upstream is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.codec import ResponseDecoder, StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.pool.failure import PoolFailureReason
from proxeny.router.attempt_measures import AttemptMeasures
from proxeny.router.outlier import note_stream
from proxeny.router.path_rewrite import update_authority
from proxeny.router.reset_reason import POOL_FAILURES, RESET_FLAGS
from proxeny.router.upstream_log import AttemptLog
from proxeny.router.virtual_cluster import TOTAL as VIRTUAL_TOTAL
from proxeny.upstream.stats import (
    HOST_RQ_TIMEOUT,
    UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL,
    UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL,
    UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL,
    UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL,
    UPSTREAM_RQ_MAX_DURATION_REACHED,
    UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT,
    UPSTREAM_RQ_PER_TRY_TIMEOUT,
)

if TYPE_CHECKING:
    from proxeny.http.codec import RequestEncoder
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.timer import Timer
    from proxeny.pool.failure import Cancellable
    from proxeny.router.filter import RouterFilter
    from proxeny.upstream.host import Host

NO_POOL = PoolFailureReason.NO_POOL

LOCAL_RESET: Final = StreamResetReason.LOCAL_RESET
PROTOCOL_ERROR: Final = StreamResetReason.PROTOCOL_ERROR
STATUS: Final = b":status"


class UpstreamRequest(ResponseDecoder):
    """Response decoder, stream callbacks and pool callbacks of one attempt."""

    __slots__ = (
        "attached",
        "awaiting_headers",
        "body",
        "body_above_limit",
        "body_ends",
        "duration_timer",
        "encode_complete",
        "encoder",
        "end_stream",
        "grpc_success_deferred",
        "host",
        "idle_timer",
        "log",
        "pending",
        "reading_paused",
        "retried",
        "router",
        "timeout_noted",
        "timer",
        "trailers",
        "watches_downstream",
        "wrote_headers",
    )

    host: Any

    def __init__(self, router: RouterFilter, host: Host, end_stream: bool) -> None:
        """``end_stream``: the request's headers are all there is of it."""
        self.router = router
        self.host = host
        self.end_stream = end_stream
        self.encoder: RequestEncoder | None = None
        self.pending: Cancellable | None = None
        self.awaiting_headers = True
        self.wrote_headers = False
        self.encode_complete = False
        self.grpc_success_deferred = False
        self.watches_downstream = False
        self.reading_paused = False
        self.timeout_noted = False
        """Whether outlier detection knows that it took too long."""
        self.retried = False
        """Whether another attempt was made beside this one."""
        self.attached: tuple[Any, Any, int] | None = None
        """The codec client, the stream and its time, of a hedged attempt."""
        self.body: Buffer | None = None
        self.body_ends = False
        self.body_above_limit = False
        self.trailers: HeaderMap | None = None
        self.timer: Timer | None = None
        self.idle_timer: Timer | None = None
        self.duration_timer: Timer | None = None
        log = router.config.upstream_log
        self.log: AttemptLog | AttemptMeasures | None = None if log is None else AttemptLog(log, self)
        if router.cluster.tracked:
            self.log = AttemptMeasures(self, self.log)

    # The pool.

    def on_pool_ready(self, request_encoder: RequestEncoder, host: Host, codec_client: Any) -> None:
        """A stream: send what there is of the request."""
        self.attach(request_encoder, host, codec_client)
        self.send_headers(self.router.request_headers)

    def attach(self, request_encoder: RequestEncoder, host: Host, codec_client: Any) -> None:
        """Note what stream it is."""
        router = self.router
        self.encoder = request_encoder
        self.pending = None
        self.host = host
        stream = request_encoder.stream
        stream.callbacks = self
        info = router.stream_info
        info.upstream_host = host
        info.upstream_connection = codec_client.connection
        info.upstream_stream = stream
        info.upstream_protocol = codec_client.protocol
        info.first_upstream_tx_ns = now = router.config.clock.monotonic_ns()
        if router.has_stream_timers:
            router.on_upstream_ready(self)
            if router.hedges:
                self.attached = (codec_client, stream, now)
        if router.virtual_cluster is not None:
            router.virtual_cluster.stats.inc(VIRTUAL_TOTAL)
        if router.cluster.outlier is not None:
            note_stream(host)
        policy = router.entry.policy
        if policy.auto_host_rewrite and host.hostname:
            hostname = host.hostname.encode("utf-8")
            headers = router.request_headers
            update_authority(headers, hostname, policy.append_x_forwarded_host, router.config.insert_envoy_headers)
        if self.log is not None:
            self.log.on_pool_ready()

    def send_headers(self, headers: HeaderMap) -> None:
        """The request's headers, and what else of it is there."""
        encoder = self.encoder
        assert encoder is not None
        self.wrote_headers = True
        error = encoder.encode_headers(headers, self.end_stream)
        if error is not None:
            self._refuse(error.message)
            return
        if self.end_stream:
            self.encode_complete = True
            info = self.router.stream_info
            info.last_upstream_tx_ns = info.first_upstream_tx_ns
        elif (self.body is not None or self.trailers is not None) and self.encoder is encoder:
            self._send_held()

    def _refuse(self, message: str) -> None:
        """The codec would not encode the request's headers: a filter has removed what it cannot do without."""
        encoder, self.encoder = self.encoder, None
        if encoder is not None:
            encoder.stream.callbacks = None
            encoder.stream.reset_stream(LOCAL_RESET)
        self.router.refuse_request(message)

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Host | None) -> None:
        """No stream: as if it had been reset at once."""
        self.pending = None
        if reason is NO_POOL:
            self.router.on_no_pool(self, details)
            return
        info = self.router.stream_info
        info.upstream_transport_failure_reason = details
        info.upstream_failed_ns = self.router.config.clock.monotonic_ns()
        info.upstream_connection = info.upstream_stream = info.upstream_protocol = None
        self.host = info.upstream_host = host
        self.router.on_upstream_reset(self, POOL_FAILURES[reason], details)

    # The request.

    def accept_data(self, data: Buffer, end_stream: bool) -> None:
        """Request body: all of ``data`` is moved."""
        encoder = self.encoder
        if encoder is None:
            self._hold(data, end_stream)
            return
        if end_stream:
            self._sent_all()
        if self.log is not None:
            self.log.sent += data.length
        encoder.encode_data(data, end_stream)

    def accept_trailers(self, trailers: HeaderMap) -> None:
        """Request trailers."""
        if self.encoder is None:
            self.trailers = trailers
            return
        self._sent_all()
        self.encoder.encode_trailers(trailers)

    def _sent_all(self) -> None:
        self.encode_complete = True
        self.router.stream_info.last_upstream_tx_ns = self.router.config.clock.monotonic_ns()

    def _hold(self, data: Buffer, end_stream: bool) -> None:
        self.body_ends = end_stream
        if self.body is None:
            self.body = Buffer()
        self.body.move_all(data)
        size = self.body.length
        if self.body_above_limit or not 0 < self.router.decoder_callbacks.decoder_buffer_limit() < size:
            return
        # A route may allow for more than the connection does.
        if self.router.above_buffer_limit(size):
            self.body_above_limit = True
            self.router.decoder_callbacks.on_decoder_filter_above_write_buffer_high_watermark()

    def _send_held(self) -> None:
        body, self.body = self.body, None
        encoder = self.encoder
        assert encoder is not None
        if body is not None:
            if self.body_ends:
                self._sent_all()
            if self.log is not None:
                self.log.sent += body.length
            encoder.encode_data(body, self.body_ends)
        if self.trailers is not None and self.encoder is encoder:
            self._sent_all()
            encoder.encode_trailers(self.trailers)
        if self.body_above_limit:
            self.body_above_limit = False
            self.router.decoder_callbacks.on_decoder_filter_below_write_buffer_low_watermark()

    # The response.

    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response."""
        self.router.on_upstream_1xx(self, headers)

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head."""
        self.awaiting_headers = False
        router = self.router
        info = router.stream_info
        info.first_upstream_rx_ns = now = router.config.clock.monotonic_ns()
        if self.timer is not None:
            self.timer.disable()
        if self.log is not None:
            self.log.on_headers(headers)
        if end_stream:
            info.last_upstream_rx_ns = now
        elif self.idle_timer is not None:
            self._reset_idle_timer()
        router.on_upstream_headers(self, headers, end_stream, now)

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Response body."""
        router = self.router
        info = router.stream_info
        if self.log is not None:
            self.log.received += data.length
        if end_stream:
            info.last_upstream_rx_ns = now = router.config.clock.monotonic_ns()
            if not info.first_upstream_body_ns:
                info.first_upstream_body_ns = now
            router.on_upstream_complete(self)
            router.decoder_callbacks.encode_data(data, True)
            return
        if not info.first_upstream_body_ns:
            info.first_upstream_body_ns = router.config.clock.monotonic_ns()
        if self.idle_timer is not None:
            self._reset_idle_timer()
        callbacks = router.decoder_callbacks
        callbacks.encode_data(data, False)
        # Most responses come in one piece and never have to watch the client.
        if not self.watches_downstream and self.encoder is not None:
            self.watch_downstream()

    def watch_downstream(self) -> None:
        """Hear of the client's write watermarks."""
        if not self.watches_downstream:
            self.watches_downstream = True
            self.router.decoder_callbacks.add_downstream_watermark_callbacks(self.router)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Response trailers; they end the response."""
        router = self.router
        router.stream_info.last_upstream_rx_ns = router.config.clock.monotonic_ns()
        if self.log is not None:
            self.log.on_trailers(trailers)
        router.on_upstream_trailers(self, trailers)

    # The stream.

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        """The stream is gone before the response was complete."""
        self.encoder = None
        if self.log is not None:
            self.log.flags |= RESET_FLAGS[reason]
        self.close()
        self.router.on_upstream_reset(self, reason, details)

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream connection cannot take more: stop reading from the client."""
        self.router.cluster.stats.inc(UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL)
        self.router.decoder_callbacks.on_decoder_filter_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """It can again."""
        self.router.cluster.stats.inc(UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL)
        self.router.decoder_callbacks.on_decoder_filter_below_write_buffer_low_watermark()

    def pause_reading(self, paused: bool) -> None:
        """The client's write buffer went above (or fell below) its watermark."""
        encoder = self.encoder
        if encoder is None:
            return
        stats = self.router.cluster.stats
        if paused:
            stats.inc(UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL)
        else:
            stats.inc(UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL)
        encoder.stream.read_disable(paused)

    # Timers.

    def start_timers(self, per_try_ms: int, per_try_idle_ms: int) -> None:
        """The request is complete and has its stream: the per-try times run."""
        wheel = self.router.config.wheel
        if per_try_ms and self.timer is None:
            self.timer = wheel.create(self._on_per_try_timeout)
            self.timer.enable(per_try_ms)
        if per_try_idle_ms and self.idle_timer is None:
            self.idle_timer = wheel.create(self._on_per_try_idle_timeout)
            self.idle_timer.enable(per_try_idle_ms)

    def start_max_duration(self, duration_ms: int) -> None:
        """The cluster limits how long a stream may live."""
        self.duration_timer = self.router.config.wheel.create(self._on_max_duration)
        self.duration_timer.enable(duration_ms)

    def _reset_idle_timer(self) -> None:
        assert self.idle_timer is not None
        self.idle_timer.enable(self.router.per_try_idle_timeout_ms)

    def _on_per_try_timeout(self) -> None:
        if self.idle_timer is not None:
            self.idle_timer.close()
            self.idle_timer = None
        # Once something was passed on, only the time of the whole counts.
        if not self.router.response_started:
            self.router.on_per_try_timeout(self, UPSTREAM_RQ_PER_TRY_TIMEOUT, "upstream_per_try_timeout")

    def _on_per_try_idle_timeout(self) -> None:
        if self.timer is not None:
            self.timer.disable()
        self.router.on_per_try_timeout(self, UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT, "upstream_per_try_idle_timeout")

    def _on_max_duration(self) -> None:
        self.router.cluster.stats.inc(UPSTREAM_RQ_MAX_DURATION_REACHED)
        self.router.on_max_stream_duration(self)

    def restore_stream_info(self) -> None:
        """Of several attempts this is the one whose response counts: logs tell of it alone."""
        if self.attached is None:
            return
        client, stream, now = self.attached
        info = self.router.stream_info
        info.upstream_host = self.host
        info.upstream_connection = client.connection
        info.upstream_stream = stream
        info.upstream_addresses = None
        info.upstream_stream = self.encoder
        info.upstream_protocol = client.protocol
        info.upstream_transport_failure_reason = ""
        info.first_upstream_tx_ns = now

    # The end.

    def count_timeout(self) -> None:
        """This attempt's host let a timeout pass."""
        if self.host is not None:
            self.host.stats.inc(HOST_RQ_TIMEOUT)

    def close(self) -> None:
        """Nothing more is heard of this attempt: stop its timers, watch nobody, and hold back nobody."""
        for timer in (self.timer, self.idle_timer, self.duration_timer):
            if timer is not None:
                timer.close()
        self.timer = self.idle_timer = self.duration_timer = None
        if self.log is not None:
            self.log.end()
        callbacks = self.router.decoder_callbacks
        if self.watches_downstream:
            self.watches_downstream = False
            callbacks.remove_downstream_watermark_callbacks(self.router)
        if self.body_above_limit:
            self.body_above_limit = False
            callbacks.on_decoder_filter_below_write_buffer_low_watermark()

    def reset_stream(self) -> None:
        """Give this attempt up."""
        self.close()
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.cancel()
        encoder, self.encoder = self.encoder, None
        if encoder is not None:
            encoder.stream.callbacks = None
            encoder.stream.reset_stream(LOCAL_RESET)

    def __repr__(self) -> str:
        return f"<UpstreamRequest {self.host!r} awaiting_headers={self.awaiting_headers}>"
