"""The router filter (Envoy: ``Router::Filter``): from the matched route to the upstream's answer, or to one of our own.

One object per request. The request goes out through an ``UpstreamRequest``, one attempt at a time; what becomes of it
comes back through the ``on_upstream_*`` methods. This runs for every request: no closures, no text formatting,
statistics by slot. What is rare lives in ``filter_replies``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.codec import StreamResetReason
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus
from proxeny.http.grpc_timeout import grpc_timeout_value, parse_grpc_timeout
from proxeny.kernel.buffer import Buffer
from proxeny.matcher.integer import parse_uint64
from proxeny.router.attempt_measures import end_by_timeout
from proxeny.router.connect_config import special_pool
from proxeny.router.filter_replies import (
    ATTEMPT_COUNT,
    CANARY,
    FLAG_UMSDR,
    FLAG_UT,
    PROTOCOL_ERROR,
    STOP_ITERATION,
    TRUE,
)
from proxeny.router.filter_retries import RouterRetries
from proxeny.router.internal_redirect import redirect_internally
from proxeny.router.outlier import note_reset, note_response, note_timeout
from proxeny.router.reset_reason import RESET_FLAGS
from proxeny.router.retry_state import RETRY_HEADERS
from proxeny.router.route import NO_EXTRA
from proxeny.router.route_condition import is_grpc_request
from proxeny.router.shadow import Mirrors
from proxeny.router.stats import RQ_TOTAL
from proxeny.router.upstream_filters import start_filtered
from proxeny.router.upstream_request import UpstreamRequest
from proxeny.router.virtual_cluster import TIMEOUT as VIRTUAL_TIMEOUT
from proxeny.router.virtual_cluster import find_virtual_cluster, with_route_stats
from proxeny.upstream.metadata_criteria import with_dynamic
from proxeny.upstream.stats import (
    HOST_RQ_ERROR,
    HOST_RQ_SUCCESS,
    RETRY_OR_SHADOW_ABANDONED,
    UPSTREAM_RQ_TIMEOUT,
)

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import Connection
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.config import RouterConfig
    from proxeny.router.connect_config import ConnectConfig
    from proxeny.router.retry_policy import RetryPolicy
    from proxeny.router.route import RouteEntry
    from proxeny.upstream.metadata_criteria import MetadataCriteria

DATA_STOP: Final = FilterDataStatus.STOP_ITERATION_NO_BUFFER
TRAILERS_STOP: Final = FilterTrailersStatus.STOP_ITERATION
LOCAL_RESET: Final = StreamResetReason.LOCAL_RESET

STATUS: Final = b":status"
CONTENT_TYPE: Final = b"content-type"
GRPC: Final = b"application/grpc"
GRPC_TIMEOUT: Final = b"grpc-timeout"
EXPECTED_TIMEOUT: Final = b"x-envoy-expected-rq-timeout-ms"
UPSTREAM_TIMEOUT: Final = b"x-envoy-upstream-rq-timeout-ms"
PER_TRY_TIMEOUT: Final = b"x-envoy-upstream-rq-per-try-timeout-ms"
TIMEOUT_ALT_RESPONSE: Final = b"x-envoy-upstream-rq-timeout-alt-response"
STREAM_DURATION: Final = b"x-envoy-upstream-stream-duration-ms"
ALT_STAT_NAME: Final = b"x-envoy-upstream-alt-stat-name"
HEDGE: Final = b"x-envoy-hedge-on-per-try-timeout"
IMMEDIATE_HEALTH_CHECK_FAIL: Final = b"x-envoy-immediate-health-check-fail"
SERVICE_TIME: Final = b"x-envoy-upstream-service-time"

OVERRIDES: Final = (UPSTREAM_TIMEOUT, PER_TRY_TIMEOUT, TIMEOUT_ALT_RESPONSE, STREAM_DURATION, ALT_STAT_NAME, HEDGE)
"""Request headers by which a trusted client overrides the route; removed from every request."""
ASKING: Final = (*OVERRIDES, *RETRY_HEADERS)
NOT_GIVEN: Final = -1

INTERIM: Final = frozenset((b"100", b"102", b"103", b"104"))
"""Informational responses that may come before the one that counts."""
RESPONSE_TIMEOUT: Final = 0
"""The number of its timer."""

STATUS_NUMBERS: Final = {b"%d" % code: code for code in range(100, 1000)}
MILLISECONDS: Final = tuple([b"%d" % number for number in range(1000)])


class RouterFilter(RouterRetries):
    """Forwards one request."""

    __slots__ = ()

    def __init__(self, config: RouterConfig) -> None:
        self.config = config
        self.upstream = None
        self.others = None
        self.retry_policy = None
        self.retry_state = None
        self.retry_pending = False
        self.hedges = False
        self.mirrors = None
        self.timer = None
        self.request_body: Buffer | None = None
        self.request_trailers = None
        self.alt_stat_name = ""
        self.attempt_count = 1
        self.timeout_ms = 0
        self.per_try_timeout_ms = 0
        self.per_try_idle_timeout_ms = 0
        self.stream_duration_ms = NOT_GIVEN
        self.timeout_code = 504
        self.complete_ns = 0
        self.request_complete = False
        self.response_started = False
        self.grpc_request = False
        self.is_retry = False
        self.dropped = False
        self.orca_reported = False
        self.has_cluster = False
        self.virtual_cluster = None
        self.set_cookies = None
        self.has_stream_timers = False

    # The request.

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Find the cluster and a host, prepare the headers, ask the host's pool for a stream."""
        config = self.config
        callbacks = self.decoder_callbacks
        self.request_headers = headers
        self.stream_info = info = callbacks.stream_info
        config.stats.inc(RQ_TOTAL)
        route = callbacks.route
        if route is None:
            return self._no_route()
        entry = route.entry
        if entry.is_direct:
            return self._direct_response(entry)
        self.entry = forward = entry
        self.cluster_name = name = forward.cluster or forward.cluster_name(headers)
        cluster = config.get_cluster(name)
        if cluster is None:
            return self._no_cluster()
        self.cluster = own = info.upstream_cluster = cluster.info
        self.has_cluster = True
        if forward.virtual_host.virtual_clusters:
            self.virtual_cluster = find_virtual_cluster(forward.virtual_host.virtual_clusters, headers)
            info.virtual_cluster = self.virtual_cluster
        if route.extra is not NO_EXTRA:
            self.virtual_cluster = with_route_stats(route.extra.stats, self.virtual_cluster)
        if forward.policy.internal_redirect is not None and not end_stream:
            self.request_body = Buffer()
        if config.strict_check_headers:
            invalid = self._invalid_header()
            if invalid is not None:
                return self._refuse_header(invalid)
        if own.in_maintenance():
            return self._maintenance()
        if own.drop_overload and self._drops_overload(own):
            return STOP_ITERATION
        info.attempt_count = 1
        # Load balancers see the headers as the upstream will.
        self._prepare_headers(headers, forward)
        if own.upstream_names is not None:
            own.upstream_names.apply(headers, info, self.downstream_connection)
        override = info.override_host
        host = cluster.choose_host(self) if override is None else cluster.choose_override_host(override, self)
        if host is None:
            return self._no_healthy_upstream()
        info.upstream_host = host
        if forward.policy.mirrors or own.overrides is not None:
            self.mirrors = Mirrors.of(self)
        self.start_attempt(cluster, host, end_stream)
        if self.mirrors is not None:
            self.mirrors = self.mirrors.start(self, end_stream)
        if end_stream:
            self._on_request_complete()
        return STOP_ITERATION

    def start_attempt(self, cluster: Any, host: Any, end_stream: bool) -> UpstreamRequest:
        """Ask the host's pool for a stream."""
        if self.config.upstream_chain is not None or self.cluster.overrides is not None:
            return start_filtered(self, cluster, host, end_stream)
        self.upstream = upstream = UpstreamRequest(self, host, end_stream)
        upstream.pending = self.pool_of(cluster, host).new_stream(upstream, upstream)
        if upstream.pending is not None:
            self.stream_info.upstream_asked_ns = self.config.clock.monotonic_ns()
        return upstream

    def pool_of(self, cluster: Any, host: Any) -> Any:
        """Where the request gets its stream."""
        policy = self.entry.policy
        connect: ConnectConfig | None = policy.connect
        factory = self.cluster.upstream_pool
        if connect is not None or factory is not None:
            return special_pool(cluster, host, factory, connect, self)
        options = self.decoder_callbacks.upstream_options
        return cluster.http_pool(host, policy.priority, self.stream_info.protocol, options, self)

    def _prepare_headers(self, headers: HeaderMap, entry: RouteEntry) -> None:
        """Timeouts, attempt count, the route's mutations, retries (in Envoy's order)."""
        config = self.config
        policy = entry.policy
        retry_policy = policy.retry_policy
        host = entry.virtual_host
        overrides = self.cluster.overrides
        overridden = overrides is not None and overrides.retry_policy is not None
        if overridden:
            retry_policy = overrides.retry_policy
        self.timeout_ms = policy.global_timeout_ms
        content_type = headers.get(CONTENT_TYPE)
        grpc = content_type is not None and content_type.startswith(GRPC) and is_grpc_request(headers)
        self.grpc_request = grpc
        expected = policy.expected_timeout
        if retry_policy.per_try_timeout_ms or retry_policy.per_try_idle_timeout_ms:
            self._set_per_try(retry_policy.per_try_timeout_ms)
            self.per_try_idle_timeout_ms = retry_policy.per_try_idle_timeout_ms
            self.hedges = policy.hedge_on_per_try_timeout
        if overridden:
            expected = self._expected_timeout()
        if grpc and policy.max_grpc_timeout_ms is not None and not policy.using_new_timeouts:
            expected = self._use_grpc_timeout(headers, entry)
        asking = headers.has_any(ASKING)
        if asking:
            expected = self._apply_overrides(headers, retry_policy)
        if config.respect_expected_timeout:
            expected = self._respect_expected_timeout(headers, expected)
        if self.cluster.http.max_stream_duration_ms or self.stream_duration_ms > 0:
            self.has_stream_timers = True
        if expected and config.insert_envoy_headers:
            headers.set(EXPECTED_TIMEOUT, expected)
        if host.include_request_attempt_count:
            headers.set(ATTEMPT_COUNT, b"1")
        if not entry.plain:
            entry.finalize_request_headers(headers, self.stream_info, config.insert_envoy_headers)
        if self.stream_info.match_upstream_scheme:
            headers.set(b":scheme", b"https" if self.cluster.transport_socket.factory.secure else b"http")
        if retry_policy.retry_on and (
            not retry_policy.retriable_request_headers or retry_policy.wants_request(headers)
        ):
            self.retry_policy = retry_policy
        if (asking or not entry.plain) and headers.has_any(RETRY_HEADERS):
            self.ask_for_retries(retry_policy, headers)

    def _set_per_try(self, milliseconds: int) -> None:
        """A per-try timeout that is not below the route's is none."""
        self.per_try_timeout_ms = 0 if 0 < self.timeout_ms <= milliseconds else milliseconds
        self.has_stream_timers = True

    def _expected_timeout(self, elapsed_ms: int = 0) -> bytes:
        """What the upstream is told: the time of this try, within what is left of the whole; hedged, all of that."""
        expected = self.timeout_ms if self.hedges else self.per_try_timeout_ms or self.timeout_ms
        if not expected:
            return b""
        if self.timeout_ms:
            # 0 would mean no timeout at all: say 1 ms, and let the timer that is about to fire decide.
            expected = 1 if elapsed_ms >= self.timeout_ms else min(expected, self.timeout_ms - elapsed_ms)
        return b"%d" % expected

    def set_timeout_headers(self, headers: HeaderMap, elapsed_ms: int) -> None:
        """Tell the upstream of a further attempt what is left of the time."""
        expected = self._expected_timeout(elapsed_ms)
        if not expected:
            return
        if self.config.insert_envoy_headers:
            headers.set(EXPECTED_TIMEOUT, expected)
        policy = self.entry.policy
        if self.grpc_request and policy.max_grpc_timeout_ms is not None and not policy.using_new_timeouts:
            headers.set(GRPC_TIMEOUT, grpc_timeout_value(int(expected)))

    def _apply_overrides(self, headers: HeaderMap, retry_policy: RetryPolicy) -> bytes:
        """What the request's headers ask for; the expected timeout that comes of it."""
        if not (self.config.respect_expected_timeout and EXPECTED_TIMEOUT in headers):
            timeout = parse_uint64(headers.get(UPSTREAM_TIMEOUT) or b"")
            if timeout is not None:
                self.timeout_ms = timeout
            headers.remove(UPSTREAM_TIMEOUT)
        per_try = parse_uint64(headers.get(PER_TRY_TIMEOUT) or b"")
        self._set_per_try(retry_policy.per_try_timeout_ms if per_try is None else per_try)
        if TIMEOUT_ALT_RESPONSE in headers:
            self.timeout_code = 204
        alt_stat_name = headers.get(ALT_STAT_NAME)
        if alt_stat_name is not None:
            self.alt_stat_name = alt_stat_name.decode("latin-1")
        hedge = headers.get(HEDGE)
        self.hedges = hedge == TRUE or (hedge != b"false" and self.entry.policy.hedge_on_per_try_timeout)
        duration = parse_uint64(headers.get(STREAM_DURATION) or b"")
        if duration is not None:
            self.stream_duration_ms = duration
        headers.remove_many(OVERRIDES[1:])
        return self._expected_timeout()

    def _respect_expected_timeout(self, headers: HeaderMap, expected: bytes) -> bytes:
        timeout = parse_uint64(headers.get(EXPECTED_TIMEOUT) or b"")
        if timeout is None:
            return expected
        self.timeout_ms = timeout
        self._set_per_try(self.per_try_timeout_ms)
        return self._expected_timeout()

    def _use_grpc_timeout(self, headers: HeaderMap, entry: RouteEntry) -> bytes:
        """``max_grpc_timeout``: the client's ``grpc-timeout`` within the configured bounds; 0 = none."""
        policy = entry.policy
        timeout = parse_grpc_timeout(headers.get(GRPC_TIMEOUT))
        offset = policy.grpc_timeout_offset_ms
        if offset is not None and offset < timeout:
            timeout -= offset
        limit = policy.max_grpc_timeout_ms
        if limit and (not timeout or timeout > limit):
            timeout = limit
        self.timeout_ms = timeout
        expected = self._expected_timeout()
        if expected:
            headers.set(GRPC_TIMEOUT, grpc_timeout_value(int(expected)))
        return expected

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Request body: to the upstream and the mirrors, and aside for a retry."""
        if self.mirrors is not None:
            self.mirrors = self.mirrors.send_data(data, end_stream)
        upstream = self.upstream
        if self.retry_policy is not None or (
            self.request_body is not None and self.entry.policy.internal_redirect is not None
        ):
            held = self.request_body
            if not self.above_buffer_limit(data.length + (held.length if held is not None else 0)):
                if held is None:
                    held = self.request_body = Buffer()
                held.copy_from(data)
            elif not self._abandon_retries():
                return DATA_STOP
        if upstream is not None:
            upstream.accept_data(data, end_stream)
        if end_stream:
            self._on_request_complete()
        return DATA_STOP

    def above_buffer_limit(self, size: int) -> bool:
        """Whether ``size`` bytes of request body are more than may be held here."""
        limit = self.entry.policy.request_buffer_limit
        if limit is None:
            limit = self.entry.virtual_host.request_buffer_limit
        if limit is not None:
            return size > limit
        limit = self.decoder_callbacks.decoder_buffer_limit()
        return 0 < limit < size

    def _abandon_retries(self) -> bool:
        """The body is too large to be sent again; False when that ended the request."""
        self.cluster.stats.inc(RETRY_OR_SHADOW_ABANDONED)
        self.request_body = None
        self.end_retries()
        if self.upstream is not None:
            return True
        self._abort(
            507,
            0,
            b"exceeded request buffer limit while retrying upstream",
            "request_payload_exceeded_retry_buffer_limit",
        )
        return False

    def begin_tunnel(self) -> Any:
        """The request's encoder, whose connection the bytes may go to without us; None where they may not."""
        upstream = self.upstream
        if upstream is None or upstream.encoder is None or upstream.idle_timer is not None:
            return None
        upstream.watch_downstream()
        return upstream.encoder

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Request trailers."""
        self.request_trailers = trailers
        if self.mirrors is not None:
            self.mirrors.send_trailers(trailers)
            self.mirrors = None
        if self.upstream is not None:
            self.upstream.accept_trailers(trailers)
        self._on_request_complete()
        return TRAILERS_STOP

    def _on_request_complete(self) -> None:
        """The whole request is here: the response timeout runs from now on."""
        self.request_complete = True
        self.complete_ns = self.config.clock.monotonic_ns()
        upstream = self.upstream
        if upstream is None:
            return
        if self.timeout_ms:
            self.timer = timer = self.config.wheel.create_for(self, RESPONSE_TIMEOUT)
            timer.enable(self.timeout_ms)
        if self.has_stream_timers and upstream.encoder is not None:
            upstream.start_timers(self.per_try_timeout_ms, self.per_try_idle_timeout_ms)

    def on_upstream_ready(self, upstream: UpstreamRequest) -> None:
        """The attempt has its stream; only called when some time of a stream is limited."""
        duration = self.stream_duration_ms
        if duration == NOT_GIVEN:
            duration = self.cluster.http.max_stream_duration_ms or 0
        if duration > 0:
            upstream.start_max_duration(duration)
        if self.request_complete:
            upstream.start_timers(self.per_try_timeout_ms, self.per_try_idle_timeout_ms)

    def on_destroy(self) -> None:
        """The request is over: give up what is still under way."""
        upstream = self.upstream
        if upstream is not None:
            self.upstream = None
            upstream.reset_stream()
        if self.timer is not None or self.retry_state is not None or self.others is not None:
            self._cleanup()
        if self.mirrors is not None:
            self.mirrors.cancel()
            self.mirrors = None

    # The client's write buffer.

    def on_above_write_buffer_high_watermark(self) -> None:
        """The client does not keep up: stop reading the response."""
        if self.upstream is not None:
            self.upstream.pause_reading(True)

    def on_below_write_buffer_low_watermark(self) -> None:
        """It does again."""
        if self.upstream is not None:
            self.upstream.pause_reading(False)

    # The response.

    def on_upstream_1xx(self, upstream: UpstreamRequest, headers: HeaderMap) -> None:
        """Passed on; the first one is counted, and after it nothing can be retried. Unknown ones are dropped."""
        if headers.get(STATUS) not in INTERIM:
            return
        if not self.response_started:
            self.charge_code(STATUS_NUMBERS.get(headers.get(STATUS) or b"", 100), upstream)
        self.response_started = True
        if self.others is not None:
            self.settle(upstream)
        self.end_retries()
        self.decoder_callbacks.encode_1xx_headers(headers)

    def on_upstream_headers(self, upstream: UpstreamRequest, headers: HeaderMap, end_stream: bool, now_ns: int) -> None:
        """The response head: retry, or count it and pass it on."""
        if self.cluster.health_checked and IMMEDIATE_HEALTH_CHECK_FAIL in headers:
            self.cluster.host_failed(upstream.host)
        status = headers.get(STATUS) or b""
        code = STATUS_NUMBERS.get(status) or parse_uint64(status) or 0
        if self.cluster.outlier is not None:
            note_response(self, upstream, code, headers)
        if self.cluster.orca is not None:
            self.orca_reported = self.cluster.orca.on_headers(headers, upstream.host)
        if not self.request_complete and code < 400 and code != 101 and self.asked_for_websocket():
            self.end_failed_handshake(upstream, code, headers)
            return
        policy = self.retry_policy
        if policy is not None:
            if self.retry_state is None and code < policy.lowest_code:
                self.retry_policy = None
            elif self.retry_after_headers(upstream, code, headers, end_stream):
                return
        if self.others is not None:
            self.settle(upstream)
        config = self.config
        entry = self.entry
        if entry.policy.internal_redirect is not None and redirect_internally(
            self, upstream, code, headers, end_stream
        ):
            return
        if self.complete_ns and config.insert_envoy_headers:
            elapsed = (now_ns - self.complete_ns) // 1_000_000
            headers.set(SERVICE_TIME, MILLISECONDS[elapsed] if elapsed < 1000 else b"%d" % elapsed)
        self.charge_code(code, upstream, headers.get(CANARY) == TRUE)
        self.stream_info.response_code = code
        if code < 500:
            if self.grpc_request:
                self._count_grpc(upstream, headers, end_stream)
            else:
                upstream.host.stats.inc(HOST_RQ_SUCCESS)
        if entry.response_mutations:
            self.stream_info.response_code_details = "via_upstream"
            entry.finalize_response_headers(headers, self.stream_info, self.request_headers)
        if entry.virtual_host.include_attempt_count_in_response:
            headers.set(ATTEMPT_COUNT, b"%d" % self.attempt_count)
        if self.set_cookies is not None:
            self.add_cookies(headers)
        self.response_started = True
        if end_stream:
            self.on_upstream_complete(upstream)
        self.decoder_callbacks.encode_headers(headers, end_stream, "via_upstream")

    def _count_grpc(self, upstream: UpstreamRequest, headers: HeaderMap, end_stream: bool) -> None:
        """A gRPC response succeeded if its grpc-status says so, which may come in the trailers."""
        if not end_stream:
            upstream.grpc_success_deferred = True
        else:
            upstream.host.stats.inc(HOST_RQ_SUCCESS if is_grpc_success(headers) else HOST_RQ_ERROR)

    def on_upstream_trailers(self, upstream: UpstreamRequest, trailers: HeaderMap) -> None:
        """Response trailers."""
        if upstream.grpc_success_deferred:
            upstream.grpc_success_deferred = False
            upstream.host.stats.inc(HOST_RQ_SUCCESS if is_grpc_success(trailers) else HOST_RQ_ERROR)
        if self.cluster.orca is not None and not self.orca_reported:
            self.cluster.orca.on_headers(trailers, upstream.host)
        self.on_upstream_complete(upstream)
        self.decoder_callbacks.encode_trailers(trailers)

    def on_upstream_complete(self, upstream: UpstreamRequest) -> None:
        """The response is complete; what is left of an unfinished request is not sent."""
        self.upstream = None
        if upstream.grpc_success_deferred:
            upstream.host.stats.inc(HOST_RQ_ERROR)
        if upstream.log is not None:
            upstream.log.end(with_last_bytes=True)
        if self.request_complete:
            upstream.encoder = None
            if upstream.watches_downstream or upstream.body_above_limit or self.has_stream_timers:
                upstream.close()
            elapsed = (self.stream_info.last_upstream_rx_ns - self.complete_ns) // 1_000_000
            self.charge_time(elapsed, upstream)
        else:
            upstream.reset_stream()
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        if self.retry_state is not None:
            self._cleanup()

    # Failures.

    def on_upstream_reset(self, upstream: UpstreamRequest, reason: StreamResetReason, details: str) -> None:
        """The attempt failed before its response was complete."""
        if self.upstream is not upstream and (self.others is None or upstream not in self.others):
            return
        upstream.awaiting_headers = False
        if self.cluster.outlier is not None and reason is not StreamResetReason.OVERFLOW:
            note_reset(upstream)
        if upstream.log is not None:
            upstream.log.flags |= RESET_FLAGS[reason]
        if self.retry_after_reset(upstream, reason, False):
            return
        self._charge_abort(502 if reason is PROTOCOL_ERROR else 503, upstream)
        if reason is StreamResetReason.OVERFLOW:
            self.count_dropped(False)
        waiting = self.retry_pending or self.others_await_headers(upstream)
        self.forget(upstream)
        upstream.close()
        if not waiting:
            self.dropped = reason is StreamResetReason.OVERFLOW
            self._abort_after_reset(reason, details)

    def on_no_pool(self, upstream: UpstreamRequest, details: str) -> None:
        """There may be no further pool to the attempt's host, or it is none: as if there had been no host."""
        self.forget(upstream)
        upstream.close()
        self.stream_info.upstream_host = None
        self._no_healthy_upstream(details or "no_healthy_upstream")
        self._cleanup()

    def on_timer(self, which: int) -> None:
        """The response timeout."""
        self._on_response_timeout()

    def _on_response_timeout(self) -> None:
        attempts = [] if self.upstream is None else [self.upstream]
        if self.others is not None:
            attempts += self.others
            self.others = None
        self.upstream = None
        for upstream in attempts:
            self.cluster.stats.inc(UPSTREAM_RQ_TIMEOUT)
            if self.virtual_cluster is not None:
                self.virtual_cluster.stats.inc(VIRTUAL_TIMEOUT)
            upstream.count_timeout()
            if upstream.awaiting_headers:
                if self.cluster.tracked:
                    end_by_timeout(upstream)
                if self.cluster.outlier is not None:
                    note_timeout(self, upstream)
                self._charge_abort(self.timeout_code, upstream)
            upstream.reset_stream()
        self._abort_after_timeout("response_timeout")

    def on_per_try_timeout(self, upstream: UpstreamRequest, counter: int, details: str) -> None:
        """One attempt took too long."""
        if self.cluster.outlier is not None:
            note_timeout(self, upstream)
        if self.hedges:
            self.hedge(upstream)
            return
        self.cluster.stats.inc(counter)
        if upstream.log is not None:
            upstream.log.flags |= FLAG_UT
        upstream.count_timeout()
        upstream.reset_stream()
        if self.retry_after_reset(upstream, LOCAL_RESET, True):
            return
        self._charge_abort(self.timeout_code, upstream)
        self.forget(upstream)
        self._abort_after_timeout(details)

    def on_max_stream_duration(self, upstream: UpstreamRequest) -> None:
        """The cluster's ``max_stream_duration`` is over for one attempt."""
        if upstream.log is not None:
            upstream.log.flags |= FLAG_UMSDR
        upstream.reset_stream()
        if self.retry_after_reset(upstream, LOCAL_RESET, False):
            return
        self.forget(upstream)
        code = 504 if self.request_complete else 408
        self._abort(code, FLAG_UMSDR, b"upstream max stream duration reached", "upstream_max_stream_duration_reached")

    # What a load balancer may ask (``LbContext``).

    def hash_key(self) -> int | None:
        """The hash of the cluster's hash policy, else of the route's; None: there is none."""
        overrides = self.cluster.overrides
        policy = None if overrides is None else overrides.hash_policy
        if policy is None:
            policy = self.entry.policy.hash_policy
        if policy is None:
            return None
        cookies = self.response_cookies if policy.makes_cookies else None
        return policy.generate(self.request_headers, self.stream_info, cookies)

    @property
    def metadata_match(self) -> MetadataCriteria | None:
        """The endpoint metadata that the route asks for, and the request's dynamic metadata."""
        return with_dynamic(self.entry.policy.metadata_match, self.stream_info.dynamic_metadata_map)

    @property
    def downstream_connection(self) -> Connection:
        """The client's connection."""
        return self.decoder_callbacks.connection

    @property
    def request_stream_info(self) -> StreamInfo:
        """The request's facts."""
        return self.stream_info

    @property
    def downstream_headers(self) -> HeaderMap:
        """The request's headers."""
        return self.request_headers

    @property
    def host_selection_attempt(self) -> int:
        """How many hosts ``retry_host_predicate`` has just declined."""
        return 0 if self.retry_state is None else self.retry_state.host_selection_attempt

    @property
    def response_cookies(self) -> list[bytes]:
        """Cookies that the response shall set."""
        if self.set_cookies is None:
            self.set_cookies = []
        return self.set_cookies


def is_grpc_success(headers: HeaderMap) -> bool:
    """Whether a grpc-status is there and does not map to a 5xx (Envoy: ``grpcToHttpStatus``)."""
    status = headers.get(b"grpc-status")
    return status is not None and status in _GRPC_SUCCESS


_GRPC_SUCCESS: Final = frozenset((b"0", b"1", b"3", b"5", b"6", b"7", b"8", b"9", b"10", b"11", b"16"))
