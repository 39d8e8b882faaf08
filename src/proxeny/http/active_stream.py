"""One request on a downstream connection: checks, sanitising, route, filters, answer, completion.

The order of ``decode_headers`` is Envoy's (``source/common/http/conn_manager_impl.cc``): what local replies depend on
first, then the checks that need no route, then sanitising, route, filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import DOWNSTREAM_END, DOWNSTREAM_START, DOWNSTREAM_TUNNEL_ESTABLISHED
from proxeny.http import codes
from proxeny.http.codec import StreamResetReason
from proxeny.http.filter_chain import FilterChain
from proxeny.http.header_sanitizing import CONNECTION, is_upgrade
from proxeny.http.recent_failures import VIA_UPSTREAM
from proxeny.http.request_checks import RequestChecks
from proxeny.http.stats import (
    CX_DRAIN_CLOSE,
    CX_OVERLOAD_DISABLE_KEEPALIVE,
    CX_UPGRADES_ACTIVE,
    CX_UPGRADES_TOTAL,
    RQ_ACTIVE,
    RQ_RESPONSE_BEFORE_RQ_COMPLETE,
    RQ_RX_RESET,
    RQ_TIME,
    RQ_TOTAL,
    RQ_TX_RESET,
    RQ_WS_ON_NON_WS_ROUTE,
    TRACING_HEALTH_CHECK,
)
from proxeny.http.stream_logs import log_stream, timed_route
from proxeny.http.stream_timeouts import IDLE
from proxeny.http.tunnel import start_tunnel
from proxeny.http.upgrades import accepted_chain
from proxeny.kernel.headers import HeaderMap
from proxeny.network.overload_state import falls_within
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.codec import CodecError, ResponseEncoder
    from proxeny.http.stream_manager import StreamManager
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.connection import Connection

METHOD = b":method"
PATH = b":path"
STATUS = b":status"
DATE = b"date"
SERVER = b"server"
EXPECT = b"expect"
CONTENT_LENGTH = b"content-length"
CLOSE = b"close"
KEEP_ALIVE = b"keep-alive"

FLAG_DC = FLAG_BITS[ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION]
FLAG_DR = FLAG_BITS[ResponseFlag.DOWNSTREAM_REMOTE_RESET]
FLAG_DPE = FLAG_BITS[ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR]

PROTOCOL_ERROR = StreamResetReason.PROTOCOL_ERROR
LOCAL_RESET = StreamResetReason.LOCAL_RESET
REMOTE_RESET_NO_ERROR = StreamResetReason.REMOTE_RESET_NO_ERROR
BY_CLIENT = frozenset(
    (
        StreamResetReason.REMOTE_RESET,
        StreamResetReason.REMOTE_REFUSED_STREAM_RESET,
        StreamResetReason.CONNECT_ERROR,
    )
)

NO_FILTERS = FilterChain(())
STATUS_NUMBERS = {str(code).encode(): code for code in range(100, 1000)}


class ActiveStream(RequestChecks):
    """A request from its first byte to its access log."""

    __slots__ = ()

    def __init__(self, manager: StreamManager, encoder: ResponseEncoder) -> None:
        self._begin(manager, encoder, manager.connection)

    def _begin(self, manager: StreamManager, encoder: ResponseEncoder, connection: Connection) -> None:
        """What ``__init__`` does: a method, which the map of types can give its arguments' types."""
        config = manager.config
        clock = config.clock
        self.manager = manager
        self.config = config
        self.encoder = encoder
        self.connection = connection
        self.upstream_options = connection.upstream_options
        self.dispatcher = manager.dispatcher
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
        self.sent_1xx = False
        self.upgrade = False
        self.route_resolved = False
        self.resolved_route = None
        self.tunnel = None
        self.waits_for_codec = False
        self.given_up = False
        self.decoder_limit = self.encoder_limit = manager.buffer_limit
        self.stream_id = config.random.random()
        self.stream_info = StreamInfo(manager.connection_info, clock.system_time(), clock.monotonic_ns())
        self.stream_info.protocol = manager.protocol
        state = connection.filter_state_map
        if state is not None:
            self.stream_info.filter_state_map = state.copy()
        self.idle_timer = None
        self.request_timer = None
        self.header_timer = None
        self.max_duration_timer = None
        self.log_timer = None
        self.idle_timeout_ms = config.stream_idle_timeout_ms
        encoder.callbacks = self
        config.stats.inc3(RQ_TOTAL, RQ_ACTIVE, manager.rq_total_slot)
        if self.idle_timeout_ms:
            self.idle_timer = manager.wheel.create_for(self, IDLE)
            self.idle_timer.enable(self.idle_timeout_ms)
        if manager.has_rare_timers:
            self._arm_rare_timers()

    def __repr__(self) -> str:
        path = self.request_headers.get(PATH) if self.request_headers is not None else None
        return f"<ActiveStream {self.stream_id:x} path={path!r} code={self.stream_info.response_code}>"

    # From the codec: RequestDecoder.

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request head is complete."""
        self.request_headers = headers
        info = self.stream_info
        info.protocol = protocol = self.manager.codec.protocol  # type: ignore[union-attr]
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
        config = self.config
        sanitizer = config.sanitizer
        if sanitizer.early_mutations is not None:
            sanitizer.mutate_early(headers, info)
        self.upgrade = upgrade = is_upgrade(headers) or headers.get(METHOD) == b"CONNECT"
        client = sanitizer.sanitize_request(headers, upgrade, self.manager.remote_address, self.manager.secure, info)
        if sanitizer.detections is not None and isinstance(client, int):
            self._reject_unidentified(client)
            return
        info.downstream_remote_address = client
        route = self.get_route()
        tracing = config.tracing
        if tracing is not None:
            tracing.decide(headers, info, route)
        if config.match_upstream_scheme:
            info.match_upstream_scheme = True
        if not self._create_chain(headers, route):
            return
        if tracing is not None:
            tracing.begin(headers, info, route)
        if route is not None:
            entry = route.entry
            if entry.idle_timeout_ms is not None:
                self._set_idle_timeout(entry.idle_timeout_ms)
            if entry.limits_duration:
                self._limit_duration(entry.policy, headers)
        if self.config.logs_new_requests:
            if route is not None:
                info.upstream_cluster = self._cluster_of_route()
            log_stream(self, DOWNSTREAM_START)
        self.filter_headers(headers, end_stream)
        if self.idle_timer is not None and not self.destroyed:
            self.idle_timer.enable(self.idle_timeout_ms)
        if end_stream and self.request_timer is not None:
            self.request_timer.disable()

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes arrived."""
        self.stream_info.bytes_received += data.length
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
        if not self.encoder_started:
            self.saw_connection_close = True
            self.send_local_reply(error.status, codes.reason(error.status), None, None, error.details)
        else:
            self.stream_info.flags |= FLAG_DPE
            self.stream_info.response_code_details = error.details

    # Filters and route.

    def _create_chain(self, headers: HeaderMap, route: Any) -> bool:
        """Make the filters; False when an upgrade was refused (and answered)."""
        config = self.config
        if not self.upgrade:
            self.create_filters(config.chain.for_route(route))
            return True
        chain = accepted_chain(config, headers, route)
        if chain is not None:
            self.create_filters(chain)
            config.stats.inc2(CX_UPGRADES_TOTAL, CX_UPGRADES_ACTIVE)
            return True
        self.upgrade = False
        self.create_filters(config.chain.for_route(route))
        if route is None:
            return True
        self.saw_connection_close = True
        config.stats.inc(RQ_WS_ON_NON_WS_ROUTE)
        self.send_local_reply(403, b"", None, None, "upgrade_failed")
        return False

    def get_stream_id(self) -> int:
        """The stream's random number."""
        return self.stream_id

    def get_route(self) -> Any:
        """The matched route or None; matched once unless a filter clears it."""
        if not self.route_resolved:
            self.route_resolved = True
            table = self.config.route_table
            headers = self.request_headers
            if table is not None and headers is not None and not self.stream_info.unroutable:
                self.stream_info.route_resolutions += 1
                if self.config.times_routes:
                    self.resolved_route = route = timed_route(
                        table, headers, self.stream_info, self.stream_id, self.config.clock
                    )
                else:
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

    def request_route_config_update(self, on_updated: Callable[[bool], object]) -> Any:
        """Have routes looked for that this request might have; None: nobody knows of any."""
        config = self.config
        if config.route_provider is None or self.request_headers is None:
            return None
        return config.route_provider.request_update(config.route_table, self.request_headers, on_updated)

    # The response leaves.

    def encode_1xx(self, headers: HeaderMap) -> None:
        """An informational response goes to the client under ``proxy_100_continue`` only, and no second one."""
        if self.config.proxy_100_continue and not self.sent_1xx:
            self.sent_1xx = True
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
        if config.proxy_status is not None:
            config.proxy_status.apply(headers, self.stream_info)
        if config.tracing is not None:
            config.tracing.end(headers, self.stream_info)
        self._decide_close(headers, granted)
        code = STATUS_NUMBERS.get(headers.get(STATUS) or b"", 0)
        self._charge(code)
        info = self.stream_info
        info.response_code = code
        info.first_downstream_tx_ns = self.config.clock.monotonic_ns()
        self.encoder_started = True
        encoder = self.encoder  # kept alive: finish() lets go of it
        encoder.encode_headers(headers, end_stream)
        if granted and config.logs_tunnels:
            log_stream(self, DOWNSTREAM_TUNNEL_ESTABLISHED)
        if end_stream:
            self._end_response()
        elif granted and not self.destroyed and not self.manager.multiplexed:
            self.tunnel = start_tunnel(self)

    def encode_data_out(self, data: Buffer, end_stream: bool) -> None:
        """Response body leaves."""
        if self.destroyed:
            return
        if self.idle_timer is not None:
            self.idle_timer.enable(self.idle_timeout_ms)
        self.stream_info.bytes_sent += data.length
        encoder = self.encoder
        encoder.encode_data(data, end_stream)
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
            self.config.stats.inc(CX_DRAIN_CLOSE)
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
            if not granted and not manager.multiplexed:
                manager.close_after_response()
            self.config.stats.inc(RQ_RESPONSE_BEFORE_RQ_COMPLETE)
        if manager.closing_after_response and not granted and not manager.multiplexed:
            headers.set(CONNECTION, CLOSE)

    def _stop_keepalive(self, fraction: float) -> None:
        config = self.config
        if falls_within(config.random.random(), fraction):
            config.stats.inc(CX_OVERLOAD_DISABLE_KEEPALIVE)
            config.stats.inc(CX_DRAIN_CLOSE)
            self.manager.close_after_response()

    def _end_response(self) -> None:
        self.local_complete = True
        self.codec_complete = True
        self.stream_info.last_downstream_tx_ns = self.config.clock.monotonic_ns()
        self.manager.end_stream(self)

    # Resets.

    def reset_stream(self) -> None:
        """A filter ends the stream without an answer."""
        self.config.stats.inc(RQ_TX_RESET)
        self.manager.end_stream(self)

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        """The codec (or the closing connection) ended the stream."""
        if self.destroyed:
            return
        self.config.stats.inc(RQ_RX_RESET)
        if details:
            # The codec's own, for a violation of the protocol: the flag comes after the answer to it.
            if reason is LOCAL_RESET or reason is PROTOCOL_ERROR:
                self.stream_info.flags |= FLAG_DPE
            self.stream_info.response_code_details = details
        if reason in BY_CLIENT:
            self.stream_info.flags |= FLAG_DR
        elif reason is REMOTE_RESET_NO_ERROR:
            self.given_up = True
        self.abort_iteration()
        self.codec_complete = True
        self.manager.destroy_stream(self)

    def on_codec_complete(self) -> None:
        """The codec sent the end of the response: what waited for that is over."""
        if self.waits_for_codec and not self.destroyed:
            self.stream_info.last_downstream_tx_ns = self.config.clock.monotonic_ns()
            self.manager.destroy_stream(self)

    def on_codec_blocked(self) -> int:
        """The client does not let the end of the response out: from now on that is timed by the codec."""
        timeout_ms = self.config.stream_flush_timeout_ms
        if timeout_ms < 0:
            timeout_ms = self.idle_timeout_ms
        route = self.resolved_route
        if route is not None and not route.entry.is_direct and route.entry.policy.flush_timeout_ms is not None:
            timeout_ms = route.entry.policy.flush_timeout_ms
        self._close_timers()
        return timeout_ms

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
        elif not info.flags and not info.response_code and not self.given_up:
            info.flags = FLAG_DC
        if self.tunnel is not None:
            self.tunnel.finish(info)
            self.tunnel = None
        for position in self.chain.on_stream_complete:
            self.filters[position].on_stream_complete()
        if config.access_logs:
            log_stream(self, DOWNSTREAM_END)
        if (info.flags or info.response_code_details is not VIA_UPSTREAM) and config.recent_failures is not None:
            config.recent_failures.record(self)
        if info.health_check:
            config.stats.inc(TRACING_HEALTH_CHECK)
        self.destroy_filters()
        if self.upgrade:
            config.stats.dec(CX_UPGRADES_ACTIVE)
        config.stats.dec(RQ_ACTIVE)
        config.stats.record(RQ_TIME, (now - info.start_ns) // 1_000_000)
        # What refers back to us is let go here, so that a request never waits for the garbage collector.
        self.encoder.callbacks = None
        self.encoder = None
        self.watermark_callbacks = None
        self.decode_path = self.encode_path = self.terminal = None
        self.filters = []
        info.upstream_stream = None  # it refers to the upstream request, and so to the router, which refers to ``info``

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
