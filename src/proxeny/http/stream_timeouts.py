"""The time limits of one request: idle, whole request, request head, duration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import DOWNSTREAM_PERIODIC
from proxeny.http import stats as s
from proxeny.http.downstream_filter_manager import DownstreamFilterManager
from proxeny.http.grpc_timeout import grpc_timeout_value
from proxeny.http.stream_logs import log_stream
from proxeny.network.grpc_status import DEADLINE_EXCEEDED, is_grpc_content_type
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

IDLE = 0
"""The number of the idle timer."""

CONTENT_TYPE = b"content-type"
GRPC_TIMEOUT = b"grpc-timeout"

FLAG_SI = FLAG_BITS[ResponseFlag.STREAM_IDLE_TIMEOUT]


class StreamTimeouts(DownstreamFilterManager):
    """Base of ActiveStream: its timers, and the local replies when they fire."""

    __slots__ = ()

    def _arm_rare_timers(self) -> None:
        config = self.config
        if config.request_headers_timeout_ms:
            self.header_timer = self.dispatcher.create_timer(self.on_request_headers_timeout)
            self.header_timer.enable(config.request_headers_timeout_ms)
        if config.request_timeout_ms:
            self.request_timer = self.dispatcher.create_timer(self.on_request_timeout)
            self.request_timer.enable(config.request_timeout_ms)
        if config.max_stream_duration_ms:
            self.max_duration_timer = self.dispatcher.create_timer(self.on_max_duration)
            self.max_duration_timer.enable(config.max_stream_duration_ms)
        if config.log_flush_interval_ms:
            self.log_timer = self.dispatcher.create_timer(self.on_log_flush_interval)
            self.log_timer.enable(config.log_flush_interval_ms)

    def _set_idle_timeout(self, timeout_ms: int) -> None:
        """A route's idle timeout replaces the connection manager's; 0 turns it off."""
        self.idle_timeout_ms = timeout_ms
        if not timeout_ms:
            if self.idle_timer is not None:
                self.idle_timer.close()
                self.idle_timer = None
        elif self.idle_timer is None:
            self.idle_timer = self.manager.wheel.create_for(self, IDLE)

    def _limit_duration(self, policy: Any, headers: HeaderMap) -> None:
        """A route's limit replaces the connection manager's; it counts from the beginning of the stream.

        A gRPC request tells the upstream of it.
        """
        duration_ms = policy.stream_duration_ms(headers, self.config.max_stream_duration_ms)
        grpc = is_grpc_content_type(headers.get(CONTENT_TYPE))
        if duration_ms is None:
            if self.max_duration_timer is not None:
                self.max_duration_timer.close()
                self.max_duration_timer = None
                if grpc:
                    headers.remove(GRPC_TIMEOUT)
            return
        if grpc:
            headers.set(GRPC_TIMEOUT, grpc_timeout_value(duration_ms))
        if self.max_duration_timer is None:
            self.max_duration_timer = self.dispatcher.create_timer(self.on_max_duration)
        used = (self.config.clock.monotonic_ns() - self.stream_info.start_ns) // 1_000_000
        self.max_duration_timer.enable(max(0, duration_ms - used))

    def on_timer(self, which: int) -> None:
        """The idle timer, which every request has; the rare ones call their own methods."""
        self.on_idle_timeout()

    def on_idle_timeout(self) -> None:
        """Nothing moved for ``stream_idle_timeout``: 408, or 504 once the request was complete."""
        self.config.stats.inc(s.RQ_IDLE_TIMEOUT)
        self.stream_info.flags |= FLAG_SI
        code = 504 if self.remote_complete else 408
        self.send_local_reply(code, b"stream timeout", None, None, "stream_idle_timeout")

    def on_request_timeout(self) -> None:
        """The request was not complete within ``request_timeout``."""
        self.config.stats.inc(s.RQ_TIMEOUT)
        self.send_local_reply(408, b"request timeout", None, None, "request_overall_timeout")

    def on_request_headers_timeout(self) -> None:
        """The request head was not complete within ``request_headers_timeout``."""
        self.config.stats.inc(s.RQ_HEADER_TIMEOUT)
        self.send_local_reply(408, b"request header timeout", None, None, "request_header_timeout")

    def on_max_duration(self) -> None:
        """``max_stream_duration`` is over."""
        self.config.stats.inc(s.RQ_MAX_DURATION_REACHED)
        code = 504 if self.remote_complete else 408
        body = b"downstream duration timeout"
        self.send_local_reply(code, body, None, DEADLINE_EXCEEDED, "max_duration_timeout")

    def on_log_flush_interval(self) -> None:
        """``access_log_flush_interval`` went by: a record of a request that is still under way."""
        log_stream(self, DOWNSTREAM_PERIODIC)
        if self.log_timer is not None:
            self.log_timer.enable(self.config.log_flush_interval_ms)

    def _close_timers(self) -> None:
        if self.idle_timer is not None:
            self.idle_timer.close()
            self.idle_timer = None
        if self.manager.has_rare_timers or self.max_duration_timer is not None:
            for timer in (self.header_timer, self.request_timer, self.max_duration_timer, self.log_timer):
                if timer is not None:
                    timer.close()
            self.header_timer = self.request_timer = self.max_duration_timer = self.log_timer = None
