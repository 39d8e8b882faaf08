"""``upstream_log`` of the router: a record of every attempt at the upstream (Envoy: ``UpstreamRequest::upstreamLog``).

An attempt has stream info of its own, which is made when a record is written: from what the request knows of its last
attempt, before the next one overwrites it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import UPSTREAM_END, UPSTREAM_PERIODIC, UPSTREAM_POOL_READY
from proxeny.access_log.config import compile_access_logs
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.integer import parse_uint64
from proxeny.network.stream_info import StreamInfo
from proxeny.router.durations import milliseconds

if TYPE_CHECKING:
    from proxeny.kernel.timer import Timer
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.upstream_request import UpstreamRequest


class UpstreamLog:
    """The compiled configuration: the logs, and when they are written besides an attempt's end."""

    __slots__ = ("interval_ms", "logs", "on_pool_ready")

    def __init__(self, config: Any, context: FactoryContext) -> None:
        self.logs = compile_access_logs(config.upstream_log, context)
        options = config.upstream_log_options
        self.on_pool_ready: bool = options.flush_upstream_log_on_upstream_stream
        self.interval_ms = 0
        if options.HasField("upstream_log_flush_interval"):
            self.interval_ms = max(milliseconds(options.upstream_log_flush_interval), 1)


class AttemptLog:
    """What is logged of one attempt."""

    __slots__ = (
        "_attempt",
        "_config",
        "_headers",
        "_start_ns",
        "_start_time",
        "_timer",
        "_trailers",
        "attached",
        "flags",
        "received",
        "sent",
    )

    def __init__(self, config: UpstreamLog, attempt: UpstreamRequest) -> None:
        clock = attempt.router.config.clock
        self._config = config
        self._attempt: UpstreamRequest | None = attempt
        self._start_time = clock.system_time()
        self._start_ns = clock.monotonic_ns()
        self._headers: HeaderMap | None = None
        self._trailers: HeaderMap | None = None
        self._timer: Timer | None = None
        self.attached = False
        self.flags = 0
        self.sent = 0
        """Bytes of request body."""
        self.received = 0
        """Bytes of response body."""
        if config.interval_ms:
            self._timer = attempt.router.config.wheel.create(self._on_interval)
            self._timer.enable(config.interval_ms)

    def on_pool_ready(self) -> None:
        """The attempt has its stream; nothing was sent yet."""
        self.attached = True
        if self._config.on_pool_ready:
            self._write(UPSTREAM_POOL_READY)

    def on_headers(self, headers: HeaderMap) -> None:
        """The response head, before anybody changes it."""
        self._headers = HeaderMap(headers.items())

    def on_trailers(self, trailers: HeaderMap) -> None:
        """The response's trailers, likewise; they end it."""
        self._trailers = HeaderMap(trailers.items())
        self.end()

    def end(self, with_last_bytes: bool = False) -> None:
        """The attempt is over, whatever became of it; ``with_last_bytes``: what it passes on now counts too."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        info = self._stream_info(attempt)
        info.end_ns = attempt.router.config.clock.monotonic_ns()
        request = attempt.router.request_headers
        if with_last_bytes:
            attempt.router.decoder_callbacks.dispatcher.defer(lambda: self._log(request, info, UPSTREAM_END))
        else:
            self._log(request, info, UPSTREAM_END)

    def _on_interval(self) -> None:
        self._write(UPSTREAM_PERIODIC)
        if self._timer is not None:
            self._timer.enable(self._config.interval_ms)

    def _write(self, log_type: bytes) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        info = self._stream_info(attempt)
        if log_type is UPSTREAM_POOL_READY:
            info.upstream_failed_ns = info.first_upstream_tx_ns  # the end of the wait
            info.first_upstream_tx_ns = 0
        self._log(attempt.router.request_headers, info, log_type)

    def _log(self, request: HeaderMap, info: StreamInfo, log_type: bytes) -> None:
        for log in self._config.logs:
            log.log(request, self._headers, self._trailers, info, log_type)

    def _stream_info(self, attempt: UpstreamRequest) -> StreamInfo:
        whole = attempt.router.stream_info
        info = StreamInfo(whole.connection, self._start_time, self._start_ns)
        info.downstream_remote_address = whole.downstream_remote_address
        info.route, info.route_name = whole.route, whole.route_name
        info.upstream_cluster = whole.upstream_cluster
        info.upstream_host = attempt.host
        info.upstream_transport_failure_reason = whole.upstream_transport_failure_reason
        info.upstream_asked_ns = whole.upstream_asked_ns
        info.upstream_failed_ns = whole.upstream_failed_ns
        info.filter_state_map = whole.filter_state_map
        info.stream_id = None  # type: ignore[assignment]  # an attempt has none
        info.flags = self.flags
        info.bytes_sent, info.bytes_received = self.sent, self.received
        if self._headers is not None:
            info.response_code = parse_uint64(self._headers.get(b":status") or b"") or 0
        if self.attached:
            self._copy_stream(whole, info, attempt)
        return info

    def _copy_stream(self, whole: StreamInfo, info: StreamInfo, attempt: UpstreamRequest) -> None:
        info.protocol = whole.protocol
        # The filter's view of its stream has it; that of a mirror, or of upstream filters, has not.
        stream = getattr(attempt.router.decoder_callbacks, "manager", None)
        info.downstream_stream = getattr(stream, "encoder", None)
        info.earlier_attempts = whole.earlier_attempts
        info.upstream_connection = whole.upstream_connection
        info.upstream_stream = whole.upstream_stream
        info.upstream_protocol = whole.upstream_protocol
        info.first_upstream_tx_ns = whole.first_upstream_tx_ns
        # What an earlier attempt left behind was before this one began.
        for name in ("last_upstream_tx_ns", "first_upstream_rx_ns", "first_upstream_body_ns", "last_upstream_rx_ns"):
            moment = getattr(whole, name)
            setattr(info, name, moment if moment >= self._start_ns else 0)
