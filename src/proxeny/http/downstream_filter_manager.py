"""What a downstream stream does apart from serving: local replies, back-pressure.

Envoy: ``DownstreamFilterManager`` in ``source/common/http/filter_manager.cc``. It is the base of the connection
manager's ActiveStream (with ``stream_timeouts`` and ``request_checks`` between them) and declares all that they share.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from proxeny.http import codes
from proxeny.http.filter_manager import FilterManager
from proxeny.http.local_reply import LocalReply, prepare
from proxeny.http.stats import (
    CODE_CLASS,
    FLOW_PAUSED,
    FLOW_RESUMED,
    LISTENER_CODE_CLASS,
    LISTENER_RQ_COMPLETED,
    RQ_COMPLETED,
    RQ_TOO_LARGE,
    RS_TOO_LARGE,
)
from proxeny.network.grpc_status import is_grpc_content_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.connection_manager_config import ConnectionManagerConfig
    from proxeny.http.stream_manager import StreamManager
    from proxeny.http.tunnel import Tunnel
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.timer import Timer

CONTENT_TYPE = b"content-type"


class DownstreamFilterManager(FilterManager):
    """Base of ActiveStream: its attributes, its local replies and watermarks."""

    __slots__ = (
        "codec_complete",
        "config",
        "destroyed",
        "encoder",
        "encoder_started",
        "given_up",
        "header_timer",
        "idle_timeout_ms",
        "idle_timer",
        "is_head",
        "log_timer",
        "manager",
        "max_duration_timer",
        "request_timer",
        "resolved_route",
        "route_resolved",
        "saw_connection_close",
        "sent_1xx",
        "stream_id",
        "tunnel",
        "upgrade",
        "waits_for_codec",
    )

    manager: StreamManager
    config: ConnectionManagerConfig
    encoder: Any
    resolved_route: Any
    idle_timer: Timer | None
    request_timer: Timer | None
    header_timer: Timer | None
    max_duration_timer: Timer | None
    log_timer: Timer | None
    idle_timeout_ms: int
    stream_id: int
    tunnel: Tunnel | None
    codec_complete: bool
    destroyed: bool
    encoder_started: bool
    given_up: bool
    """Whether the client reset the stream and said that nothing is wrong: the log has no flag then."""
    is_head: bool
    route_resolved: bool
    saw_connection_close: bool
    sent_1xx: bool
    upgrade: bool
    waits_for_codec: bool
    """Whether all is done but that the codec has not sent the end of the response."""

    def _charge(self, code: int) -> None:
        """Count the response by class, for the manager and its listener; answers to health checks are not."""
        if self.stream_info.health_check:
            return
        config = self.config
        position = code // 100 - 1
        if 0 <= position < 5:
            config.stats.inc2(RQ_COMPLETED, CODE_CLASS[position])
            config.listener_stats.inc2(LISTENER_RQ_COMPLETED, LISTENER_CODE_CLASS[position])
        else:
            config.stats.inc(RQ_COMPLETED)
            config.listener_stats.inc(LISTENER_RQ_COMPLETED)

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """Answer the request here; through the filters when no response began, else as well as still possible."""
        if self.destroyed:
            return
        info = self.stream_info
        info.response_code_details = details
        self.abort_iteration()
        if code == 400 and not self.config.stream_error_on_invalid and not self.manager.multiplexed:
            # Not a close that the client asked for: it is given time to read the answer (delayed_close_timeout).
            self.manager.close_after_response()
        if self.encoder_started:
            # Too late to say anything else: the client sees the response break off.
            self.reset_stream()
            return
        direct = self.response_headers is not None
        if not self.filters and not direct:
            self.create_filters(self.config.chain.for_route(None))
            self.abort_iteration()
        for position in self.chain.on_local_reply:
            self.filters[position].on_local_reply(code, details)
        reply = self._prepare(code, body, modify_headers, grpc_status)
        if direct:
            # The encode path is somewhere in the middle of another response: go straight to the codec.
            if self.encode_path is not None:
                self.encode_path.aborted = True
            self.response_headers = reply.headers
            self.encode_headers_out(reply.headers, reply.body is None)
            if reply.body is not None:
                self.encode_data_out(reply.body, True)
            return
        self.encode_headers(reply.headers, reply.body is None, details)
        if reply.body is not None:
            self.encode_data(reply.body, True)

    def _prepare(
        self, code: int, body: bytes, modify_headers: Callable[[HeaderMap], None] | None, grpc_status: int | None
    ) -> LocalReply:
        """A forwarding route's response headers come first, then the caller's, then ``local_reply_config``."""
        request = self.request_headers
        route = self.resolved_route
        entry = None if route is None else route.entry
        if entry is not None and not entry.is_direct and entry.response_mutations:
            modify_own = modify_headers

            def modify_headers(headers: HeaderMap) -> None:
                entry.finalize_response_headers(headers, self.stream_info, request)
                if modify_own is not None:
                    modify_own(headers)

        rewriter = self.config.local_reply
        return prepare(
            code,
            body,
            is_grpc=self._is_grpc(request),
            is_head=self.is_head,
            grpc_status=grpc_status,
            modify_headers=modify_headers,
            rewrite=None if rewriter is None else partial(rewriter.rewrite, request, self.stream_info),
        )

    def _is_grpc(self, request: HeaderMap | None) -> bool:
        if request is None or not self.chain.single:
            return self.began_as_grpc
        return is_grpc_content_type(request.get(CONTENT_TYPE))

    # Watermarks.

    def on_above_write_buffer_high_watermark(self) -> None:
        """The client reads too slowly: whoever produces the response must pause."""
        if self.watermark_callbacks:
            for callbacks in tuple(self.watermark_callbacks):
                callbacks.on_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """The client caught up."""
        if self.watermark_callbacks:
            for callbacks in tuple(self.watermark_callbacks):
                callbacks.on_below_write_buffer_low_watermark()

    def add_watermark_callbacks(self, callbacks: Any) -> None:
        """Hear of the client's write watermarks; told at once if it is above now."""
        if self.watermark_callbacks is None:
            self.watermark_callbacks = []
        self.watermark_callbacks.append(callbacks)
        if self.connection.above_high_watermark:
            callbacks.on_above_write_buffer_high_watermark()
        if self.manager.multiplexed and self.encoder is not None and self.encoder.above_high_watermark:
            callbacks.on_above_write_buffer_high_watermark()

    def remove_watermark_callbacks(self, callbacks: Any) -> None:
        """No longer."""
        if self.watermark_callbacks and callbacks in self.watermark_callbacks:
            self.watermark_callbacks.remove(callbacks)

    def request_data_too_large(self) -> None:
        """Stop reading from the client."""
        if not self.destroyed:
            self.config.stats.inc(FLOW_PAUSED)
            self.encoder.stream.read_disable(True)

    def request_data_drained(self) -> None:
        """Read from the client again."""
        if not self.destroyed:
            self.config.stats.inc(FLOW_RESUMED)
            self.encoder.stream.read_disable(False)

    def response_data_too_large(self) -> None:
        """Filters hold too much of the response: its producer must pause."""
        self.on_above_write_buffer_high_watermark()

    def response_data_drained(self) -> None:
        """Its producer may go on."""
        self.on_below_write_buffer_low_watermark()

    def request_too_large(self) -> None:
        """A filter wants more of the request than may be buffered."""
        self.config.stats.inc(RQ_TOO_LARGE)
        self.send_local_reply(413, codes.reason(413), None, None, "request_payload_too_large")

    def response_too_large(self) -> None:
        """A filter wants more of the response than may be buffered."""
        self.config.stats.inc(RS_TOO_LARGE)
        self.send_local_reply(500, codes.reason(500), None, None, "response_payload_too_large")
