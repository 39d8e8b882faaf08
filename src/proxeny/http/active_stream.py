"""One request on a downstream connection: checks, sanitising, route, filters, answer, completion.

The order of ``decode_headers`` is Envoy's (``source/common/http/conn_manager_impl.cc``): what local replies depend on
first, then the checks that need no route, then sanitising, route, filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http import codes
from proxeny.http import stats as s
from proxeny.http.codec import StreamResetReason
from proxeny.http.filter_chain import FilterChain
from proxeny.http.filter_manager import FilterManager
from proxeny.http.header_sanitizing import CONNECTION, UPGRADE, has_token, is_upgrade
from proxeny.http.local_reply import is_grpc_content_type, prepare
from proxeny.http.path_normalization import NormalizePathAction
from proxeny.kernel.headers import HeaderMap
from proxeny.network.overload_state import falls_within
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.codec import CodecError, ResponseEncoder
    from proxeny.http.connection_manager import ConnectionManager
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.timer import Timer

METHOD = b":method"
PATH = b":path"
AUTHORITY = b":authority"
STATUS = b":status"
DATE = b"date"
SERVER = b"server"
EXPECT = b"expect"
PROXY_CONNECTION = b"proxy-connection"
CONTENT_LENGTH = b"content-length"
CONTENT_TYPE = b"content-type"
CLOSE = b"close"
KEEP_ALIVE = b"keep-alive"
SLASH = 0x2F
FRAGMENT = b"#"

FLAG_DC = FLAG_BITS[ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION]
FLAG_SI = FLAG_BITS[ResponseFlag.STREAM_IDLE_TIMEOUT]
FLAG_DPE = FLAG_BITS[ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR]

NO_FILTERS = FilterChain(())
STATUS_NUMBERS = {str(code).encode(): code for code in range(100, 1000)}


class ActiveStream(FilterManager):
    """A request from its first byte to its access log."""

    __slots__ = (
        "codec_complete",
        "config",
        "destroyed",
        "encoder",
        "encoder_started",
        "header_timer",
        "idle_timeout_ms",
        "idle_timer",
        "is_head",
        "manager",
        "max_duration_timer",
        "request_timer",
        "resolved_route",
        "route_resolved",
        "saw_connection_close",
        "stream_id",
        "upgrade",
    )

    def __init__(self, manager: ConnectionManager, encoder: ResponseEncoder) -> None:
        config = manager.config
        connection = manager.connection
        dispatcher = manager.dispatcher
        clock = config.clock
        self.manager = manager
        self.config = config
        self.encoder: Any = encoder
        self.connection = connection
        self.upstream_options = connection.upstream_options
        self.dispatcher = dispatcher
        self.chain = NO_FILTERS
        self.filters = []
        self.terminal = None
        self.decode_path = None
        self.encode_path = None
        self.request_headers = None
        self.request_trailers = None
        self.response_headers = None
        self.response_trailers = None
        self.watermark_callbacks = None
        self.remote_complete = False
        self.local_complete = False
        self.codec_complete = False
        self.encoder_started = False
        self.destroyed = False
        self.is_head = False
        self.saw_connection_close = False
        self.upgrade = False
        self.route_resolved = False
        self.resolved_route: Any = None
        self.decoder_limit = self.encoder_limit = manager.buffer_limit
        self.stream_id: int = config.random.random()
        self.stream_info = StreamInfo(manager.connection_info, clock.system_time(), clock.monotonic_ns())
        self.stream_info.protocol = manager.protocol
        state = connection.filter_state_map
        if state is not None:
            self.stream_info.filter_state_map = state.copy()
        self.idle_timer: Timer | None = None
        self.request_timer: Timer | None = None
        self.header_timer: Timer | None = None
        self.max_duration_timer: Timer | None = None
        self.idle_timeout_ms: int = config.stream_idle_timeout_ms
        encoder.stream.callbacks = self  # type: ignore[assignment]
        config.stats.inc3(s.RQ_TOTAL, s.RQ_ACTIVE, s.RQ_HTTP1_TOTAL)
        if self.idle_timeout_ms:
            self.idle_timer = dispatcher.create_timer(self.on_idle_timeout)
            self.idle_timer.enable(self.idle_timeout_ms)
        if manager.has_rare_timers:
            self._arm_rare_timers()

    def __repr__(self) -> str:
        path = self.request_headers.get(PATH) if self.request_headers is not None else None
        return f"<ActiveStream {self.stream_id:x} path={path!r} code={self.stream_info.response_code}>"

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

    # From the codec: RequestDecoder.

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request head is complete."""
        self.request_headers = headers
        info = self.stream_info
        info.protocol = protocol = self.manager.codec.protocol  # type: ignore[union-attr]
        info.request_header_bytes = headers.byte_size()
        if self.header_timer is not None:
            self.header_timer.disable()
        if self._wants_close(headers, protocol):
            self.saw_connection_close = True
        self.is_head = headers.get(METHOD) == b"HEAD"
        if end_stream:
            self.remote_complete = True
            info.last_downstream_rx_ns = self.config.clock.monotonic_ns()
        if headers.get(EXPECT) is not None:
            self._answer_expect(headers)
        if self.config.overload.stop_accepting_requests and self._is_overload():
            return
        if not self._check_request(headers, protocol):
            return
        self.upgrade = upgrade = is_upgrade(headers) or headers.get(METHOD) == b"CONNECT"
        manager = self.manager
        client = self.config.sanitizer.sanitize_request(headers, upgrade, manager.remote_address, False)
        info.downstream_remote_address = client
        route = self.get_route()
        if not self._create_chain(headers, route):
            return
        if route is not None:
            entry = route.entry
            if entry.idle_timeout_ms is not None:
                self._set_idle_timeout(entry.idle_timeout_ms)
            if entry.limits_duration:
                self._set_max_duration(entry.policy.stream_duration_ms(headers, self.config.max_stream_duration_ms))
        self.filter_headers(headers, end_stream)
        if self.idle_timer is not None and not self.destroyed:
            self.idle_timer.enable(self.idle_timeout_ms)
        if end_stream and self.request_timer is not None:
            self.request_timer.disable()

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes arrived."""
        self.stream_info.bytes_received += len(data)
        if end_stream:
            self._end_request()
        if self.local_complete or self.destroyed:
            return
        if self.idle_timer is not None:
            self.idle_timer.enable(self.idle_timeout_ms)
        self.filter_data(data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers arrived; the request is complete."""
        self.request_trailers = trailers
        self._end_request()
        if self.local_complete or self.destroyed:
            return
        if self.idle_timer is not None:
            self.idle_timer.enable(self.idle_timeout_ms)
        self.filter_trailers(trailers)

    def _end_request(self) -> None:
        self.remote_complete = True
        self.stream_info.last_downstream_rx_ns = self.config.clock.monotonic_ns()
        if self.request_timer is not None:
            self.request_timer.disable()

    def on_codec_error(self, error: CodecError) -> None:
        """The codec gave up on this request: answer if nothing was answered yet."""
        self.stream_info.flags |= FLAG_DPE
        if self.response_headers is None:
            self.saw_connection_close = True
            self.send_local_reply(error.status, codes.reason(error.status), None, None, error.details)
        else:
            self.stream_info.response_code_details = error.details

    # Checks before routing.

    def _wants_close(self, headers: HeaderMap, protocol: str) -> bool:
        connection = headers.get(CONNECTION)
        if protocol == "HTTP/1.0":
            return not has_token(connection, KEEP_ALIVE)
        if connection is not None and has_token(connection, CLOSE):
            return True
        proxy_connection = headers.get(PROXY_CONNECTION)
        return proxy_connection is not None and has_token(proxy_connection, CLOSE)

    def _answer_expect(self, headers: HeaderMap) -> None:
        if self.config.proxy_100_continue or headers.get(EXPECT).lower() != b"100-continue":  # type: ignore[union-attr]
            return
        continue_headers = HeaderMap(((STATUS, b"100"),))
        self._charge(100)
        self.encoder.encode_1xx_headers(continue_headers)
        headers.remove(EXPECT)

    def _is_overload(self) -> bool:
        """Answer instead of serving, with the probability that the overload action has."""
        config = self.config
        if not falls_within(config.random.random(), config.overload.stop_accepting_requests):
            return False
        config.stats.inc(s.RQ_OVERLOAD_CLOSE)
        self.send_local_reply(503, b"envoy overloaded", None, None, "overload")
        return True

    def _check_request(self, headers: HeaderMap, protocol: str) -> bool:
        config = self.config
        if protocol == "HTTP/1.0":
            if not config.accept_http_10:
                self.send_local_reply(426, b"", None, None, "low_version")
                return False
            if config.default_host_for_http_10 and not headers.get(AUTHORITY):
                headers.set(AUTHORITY, config.default_host_for_http_10)
        if headers.get(AUTHORITY) is None:
            self.send_local_reply(400, b"", None, None, "missing_host_header")
            return False
        path = headers.get(PATH)
        if not path:
            if path is None and headers.get(METHOD) == b"CONNECT":
                return True
            self.send_local_reply(404, b"", None, None, "missing_path_rejected")
            return False
        if path[0] != SLASH:
            return self._check_odd_path(headers, path)
        if (config.path_normalizer or FRAGMENT in path) and not self._normalize_path(headers, path):
            return False
        if config.strip_matching_port or config.strip_any_port or config.strip_trailing_dot:
            self._normalize_host(headers)
        return True

    def _check_odd_path(self, headers: HeaderMap, path: bytes) -> bool:
        self.config.stats.inc(s.RQ_NON_RELATIVE_PATH)
        self.send_local_reply(404, b"", None, None, "absolute_path_rejected")
        return False

    def _normalize_path(self, headers: HeaderMap, path: bytes) -> bool:
        config = self.config
        normalized, action = config.path_normalizer.apply(path)
        if normalized != path:
            headers.set(PATH, normalized)
        if action is not NormalizePathAction.CONTINUE:
            grpc = is_grpc_content_type(headers.get(CONTENT_TYPE))
            if action is NormalizePathAction.REJECT or grpc:
                config.stats.inc(s.RQ_FAILED_PATH_NORMALIZATION)
                self.send_local_reply(400, b"", None, None, "path_normalization_failed")
            else:
                config.stats.inc(s.RQ_REDIRECTED_WITH_NORMALIZED_PATH)
                target = normalized
                self.send_local_reply(
                    307, b"", lambda answer: answer.set(b"location", target), None, "path_normalization_failed"
                )
            return False
        return True

    def _normalize_host(self, headers: HeaderMap) -> None:
        config = self.config
        host = headers.get(AUTHORITY)
        assert host is not None
        name, colon, port = host.rpartition(b":")
        if colon and port.isdigit() and not (name.startswith(b"[") and not name.endswith(b"]")):
            local = self.manager.connection_info.local_address
            if config.strip_any_port or (config.strip_matching_port and int(port) == local.port):
                host = name
                headers.set(AUTHORITY, host)
        if config.strip_trailing_dot and host.endswith(b".") and len(host) > 1:
            headers.set(AUTHORITY, host[:-1])

    def _create_chain(self, headers: HeaderMap, route: Any) -> bool:
        """Make the filters; False when an upgrade was refused (and answered)."""
        config = self.config
        if not self.upgrade:
            self.create_filters(config.chain.for_route(route))
            return True
        kind = headers.get(UPGRADE) or b"connect"
        allowed = config.upgrades.get(kind.lower())
        if allowed is not None and allowed.enabled:
            self.create_filters(allowed.chain or config.chain)
            config.stats.inc2(s.CX_UPGRADES_TOTAL, s.CX_UPGRADES_ACTIVE)
            return True
        self.upgrade = False
        self.create_filters(config.chain)
        if route is None:
            return True
        self.saw_connection_close = True
        config.stats.inc(s.RQ_WS_ON_NON_WS_ROUTE)
        self.send_local_reply(403, b"", None, None, "upgrade_failed")
        return False

    def _set_idle_timeout(self, timeout_ms: int) -> None:
        """A route's idle timeout replaces the connection manager's; 0 turns it off."""
        self.idle_timeout_ms = timeout_ms
        if not timeout_ms:
            if self.idle_timer is not None:
                self.idle_timer.close()
                self.idle_timer = None
        elif self.idle_timer is None:
            self.idle_timer = self.dispatcher.create_timer(self.on_idle_timeout)

    def _set_max_duration(self, duration_ms: int) -> None:
        """A route's limit replaces the connection manager's; it counts from the beginning of the stream."""
        if not duration_ms:
            if self.max_duration_timer is not None:
                self.max_duration_timer.close()
                self.max_duration_timer = None
            return
        if self.max_duration_timer is None:
            self.max_duration_timer = self.dispatcher.create_timer(self.on_max_duration)
        used = (self.config.clock.monotonic_ns() - self.stream_info.start_ns) // 1_000_000
        self.max_duration_timer.enable(max(0, duration_ms - used))

    # Route.

    def get_route(self) -> Any:
        """The matched route or None; matched once unless a filter clears it."""
        if not self.route_resolved:
            self.route_resolved = True
            table = self.config.route_table
            headers = self.request_headers
            if table is not None and headers is not None:
                self.resolved_route = route = table.route(headers, self.stream_info, self.stream_id)
                if route is not None:
                    self.stream_info.route = route
                    self.stream_info.route_name = route.name
        return self.resolved_route

    def clear_route_cache(self) -> None:
        """Match again at the next use."""
        self.route_resolved = False
        self.resolved_route = None

    def set_route(self, route: Any) -> None:
        """Use this route from now on."""
        self.route_resolved = True
        self.resolved_route = self.stream_info.route = route
        self.stream_info.route_name = "" if route is None else route.name

    # The response leaves.

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response goes to the client under ``proxy_100_continue`` only, whatever its number."""
        if self.config.proxy_100_continue:
            super().encode_1xx(headers)

    def encode_1xx_out(self, headers: HeaderMap) -> None:
        """An informational response leaves."""
        if self.destroyed:
            return
        if self.idle_timer is not None:
            self.idle_timer.enable(self.idle_timeout_ms)
        self.config.sanitizer.sanitize_response(headers, None, False)
        status = headers.get(STATUS)
        self._charge(STATUS_NUMBERS.get(status or b"", 100))
        self.encoder.encode_1xx_headers(headers)

    def encode_headers_out(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head leaves."""
        if self.destroyed:
            return
        config = self.config
        if self.idle_timer is not None:
            self.idle_timer.enable(self.idle_timeout_ms)
        if self.request_timer is not None:
            self.request_timer.disable()
        headers.set_if_absent(DATE, config.clock.http_date())
        if config.server_overwrite:
            headers.set(SERVER, config.server_name)
        elif not config.server_pass_through:
            headers.set_if_absent(SERVER, config.server_name)
        upgraded = self.upgrade and is_upgrade(headers)
        granted = upgraded or (self.upgrade and self._is_connect_response(headers))
        config.sanitizer.sanitize_response(headers, self.request_headers, upgraded)
        self._decide_close(headers, granted)
        code = STATUS_NUMBERS.get(headers.get(STATUS) or b"", 0)
        self._charge(code)
        info = self.stream_info
        info.response_code = code
        info.response_header_bytes = headers.byte_size()
        info.first_downstream_tx_ns = self.config.clock.monotonic_ns()
        self.encoder_started = True
        self.encoder.encode_headers(headers, end_stream)
        if end_stream:
            self._end_response()

    def encode_data_out(self, data: Buffer, end_stream: bool) -> None:
        """Response body leaves."""
        if self.destroyed:
            return
        if self.idle_timer is not None:
            self.idle_timer.enable(self.idle_timeout_ms)
        self.stream_info.bytes_sent += len(data)
        self.encoder.encode_data(data, end_stream)
        if end_stream:
            self._end_response()

    def encode_trailers_out(self, trailers: HeaderMap) -> None:
        """Response trailers leave."""
        if self.destroyed:
            return
        self.encoder.encode_trailers(trailers)
        self._end_response()

    def _is_connect_response(self, headers: HeaderMap) -> bool:
        request = self.request_headers
        return request is not None and request.get(METHOD) == b"CONNECT" and headers.get(STATUS) == b"200"

    def _decide_close(self, headers: HeaderMap, granted: bool) -> None:
        """Whether the connection ends with this response, and say so in it."""
        manager = self.manager
        if not manager.closing_after_response and manager.drain_decision.drain_close():
            manager.start_drain_sequence()
            self.config.stats.inc(s.CX_DRAIN_CLOSE)
        overload = self.config.overload
        if overload.disable_http_keepalive and not manager.closing_after_response:
            self._stop_keepalive(overload.disable_http_keepalive)
        if self.stream_info.protocol == "HTTP/1.0":
            if headers.get(CONTENT_LENGTH) is None:
                self.saw_connection_close = True
            if not self.saw_connection_close:
                headers.set(CONNECTION, KEEP_ALIVE)
        if self.saw_connection_close:
            manager.close_after_response()
        if not self.remote_complete:
            if not granted:
                manager.close_after_response()
            self.config.stats.inc(s.RQ_RESPONSE_BEFORE_RQ_COMPLETE)
        if manager.closing_after_response and not granted:
            headers.set(CONNECTION, CLOSE)

    def _stop_keepalive(self, fraction: float) -> None:
        config = self.config
        if falls_within(config.random.random(), fraction):
            config.stats.inc(s.CX_OVERLOAD_DISABLE_KEEPALIVE)
            config.stats.inc(s.CX_DRAIN_CLOSE)
            self.manager.close_after_response()

    def _charge(self, code: int) -> None:
        """Count the response by class, for the manager and its listener."""
        config = self.config
        position = code // 100 - 1
        if 0 <= position < 5:
            config.stats.inc2(s.RQ_COMPLETED, s.CODE_CLASS[position])
            config.listener_stats.inc2(s.LISTENER_RQ_COMPLETED, s.LISTENER_CODE_CLASS[position])
        else:
            config.stats.inc(s.RQ_COMPLETED)
            config.listener_stats.inc(s.LISTENER_RQ_COMPLETED)

    def _end_response(self) -> None:
        self.local_complete = True
        self.codec_complete = True
        self.stream_info.last_downstream_tx_ns = self.config.clock.monotonic_ns()
        self.manager.end_stream(self)

    # Local replies.

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
        if code == 400 and not self.config.stream_error_on_invalid:
            # Not a close that the client asked for: it is given time to read the answer (delayed_close_timeout).
            self.manager.close_after_response()
        if self.encoder_started:
            # Too late to say anything else: the client sees the response break off.
            self.reset_stream()
            return
        direct = self.response_headers is not None
        if not self.filters and not direct:
            self.create_filters(self.config.chain)
            self.abort_iteration()
        for position in self.chain.on_local_reply:
            self.filters[position].on_local_reply(code, details)
        request = self.request_headers
        reply = prepare(
            code,
            body,
            is_grpc=request is not None and is_grpc_content_type(request.get(CONTENT_TYPE)),
            is_head=self.is_head,
            grpc_status=grpc_status,
            modify_headers=modify_headers,
        )
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

    # Timeouts.

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
        self.send_local_reply(code, b"downstream duration timeout", None, None, "max_duration_timeout")

    # Resets and watermarks.

    def reset_stream(self) -> None:
        """A filter ends the stream without an answer."""
        self.config.stats.inc(s.RQ_TX_RESET)
        self.manager.end_stream(self)

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        """The codec (or the closing connection) ended the stream."""
        if self.destroyed:
            return
        self.config.stats.inc(s.RQ_RX_RESET)
        if details:
            self.stream_info.response_code_details = details
        self.abort_iteration()
        self.codec_complete = True
        self.manager.destroy_stream(self)

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

    def remove_watermark_callbacks(self, callbacks: Any) -> None:
        """No longer."""
        if self.watermark_callbacks and callbacks in self.watermark_callbacks:
            self.watermark_callbacks.remove(callbacks)

    def request_data_too_large(self) -> None:
        """Stop reading from the client."""
        if not self.destroyed:
            self.config.stats.inc(s.FLOW_PAUSED)
            self.encoder.stream.read_disable(True)

    def request_data_drained(self) -> None:
        """Read from the client again."""
        if not self.destroyed:
            self.config.stats.inc(s.FLOW_RESUMED)
            self.encoder.stream.read_disable(False)

    def response_data_too_large(self) -> None:
        """Filters hold too much of the response: its producer must pause."""
        self.on_above_write_buffer_high_watermark()

    def response_data_drained(self) -> None:
        """Its producer may go on."""
        self.on_below_write_buffer_low_watermark()

    def request_too_large(self) -> None:
        """A filter wants more of the request than may be buffered."""
        self.config.stats.inc(s.RQ_TOO_LARGE)
        self.send_local_reply(413, codes.reason(413), None, None, "request_payload_too_large")

    def response_too_large(self) -> None:
        """A filter wants more of the response than may be buffered."""
        self.config.stats.inc(s.RS_TOO_LARGE)
        self.send_local_reply(500, codes.reason(500), None, None, "response_payload_too_large")

    # The end.

    def finish(self) -> None:
        """Stop timers, write access logs, let the filters go. Called once, by the connection manager."""
        self.destroyed = True
        self._close_timers()
        config = self.config
        info = self.stream_info
        if info.upstream_cluster is None and self.resolved_route is not None:
            info.upstream_cluster = self._cluster_of_route()
        info.end_ns = now = self.config.clock.monotonic_ns()
        if self.manager.remote_closed:
            info.flags |= FLAG_DC
            info.response_code_details = "downstream_remote_disconnect"
        elif not info.flags and not info.response_code:
            info.flags = FLAG_DC
        for position in self.chain.on_stream_complete:
            self.filters[position].on_stream_complete()
        for log in config.access_logs:
            log.log(self.request_headers, self.response_headers, self.response_trailers, info)
        self.destroy_filters()
        if self.upgrade:
            config.stats.dec(s.CX_UPGRADES_ACTIVE)
        config.stats.dec(s.RQ_ACTIVE)
        config.stats.record(s.RQ_TIME, (now - info.start_ns) // 1_000_000)
        # What refers back to us is let go here, so that a request never waits for the garbage collector.
        self.encoder.stream.callbacks = None
        self.encoder = None
        self.watermark_callbacks = None
        self.decode_path = self.encode_path = self.terminal = None
        self.filters = []

    @property
    def ends_at_close(self) -> bool:
        """Whether only the end of the connection tells the client where the response ends (HTTP/1.0)."""
        headers = self.response_headers
        return self.stream_info.protocol == "HTTP/1.0" and (headers is None or headers.get(CONTENT_LENGTH) is None)

    def _cluster_of_route(self) -> Any:
        """The cluster of a request that never came as far as the router; logs show it all the same."""
        entry = self.resolved_route.entry
        clusters = self.config.context.cluster_manager
        if entry.is_direct or clusters is None:
            return None
        assert self.request_headers is not None
        cluster = clusters.get(entry.cluster or entry.cluster_name(self.request_headers))
        return None if cluster is None else cluster.info

    def _close_timers(self) -> None:
        if self.idle_timer is not None:
            self.idle_timer.close()
            self.idle_timer = None
        if self.manager.has_rare_timers or self.max_duration_timer is not None:
            for timer in (self.header_timer, self.request_timer, self.max_duration_timer):
                if timer is not None:
                    timer.close()
            self.header_timer = self.request_timer = self.max_duration_timer = None
