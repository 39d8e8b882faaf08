"""What the router filter answers by itself, and how it counts outcomes (Envoy: the rare half of ``Router::Filter``)."""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any, Final

from proxeny.http.codec import StreamResetReason
from proxeny.http.filter import FilterHeadersStatus, StreamFilter
from proxeny.http.header_sanitizing import is_upgrade
from proxeny.matcher.integer import parse_uint64
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag
from proxeny.router.attempt_measures import record_budget
from proxeny.router.reset_reason import RESET_FLAGS, RESET_WORDS
from proxeny.router.retry_policy import RETRY_GRPC_ON, RETRY_ON, RetryPolicy
from proxeny.router.stats import (
    NO_CLUSTER,
    NO_ROUTE,
    RQ_DIRECT_RESPONSE,
    RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED,
)
from proxeny.upstream.stats import (
    HOST_RQ_ERROR,
    LOAD_RQ_DROP_OVERLOAD,
    LOAD_RQ_DROPPED,
    UPSTREAM_RQ_COMPLETED,
    UPSTREAM_RQ_MAINTENANCE_MODE,
)

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.timer import Timer
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.config import RouterConfig
    from proxeny.router.direct_response import DirectResponseEntry
    from proxeny.router.retry_state import RetryState
    from proxeny.router.route import RouteEntry
    from proxeny.router.shadow import Mirrors
    from proxeny.router.upstream_request import UpstreamRequest
    from proxeny.router.virtual_cluster import VirtualCluster
    from proxeny.upstream.cluster_info import ClusterInfo

STOP_ITERATION: Final = FilterHeadersStatus.STOP_ITERATION
PROTOCOL_ERROR: Final = StreamResetReason.PROTOCOL_ERROR
FLAG_NR: Final = FLAG_BITS[ResponseFlag.NO_ROUTE_FOUND]
FLAG_NC: Final = FLAG_BITS[ResponseFlag.NO_CLUSTER_FOUND]
FLAG_UH: Final = FLAG_BITS[ResponseFlag.NO_HEALTHY_UPSTREAM]
FLAG_UO: Final = FLAG_BITS[ResponseFlag.UPSTREAM_OVERFLOW]
FLAG_DO: Final = FLAG_BITS[ResponseFlag.DROP_OVERLOAD]
FLAG_UDO: Final = FLAG_BITS[ResponseFlag.UNCONDITIONAL_DROP_OVERLOAD]
FLAG_UT: Final = FLAG_BITS[ResponseFlag.UPSTREAM_REQUEST_TIMEOUT]
FLAG_IH: Final = FLAG_BITS[ResponseFlag.INVALID_ENVOY_REQUEST_HEADERS]
FLAG_DPE: Final = FLAG_BITS[ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR]
FLAG_UMSDR: Final = FLAG_BITS[ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED]

ATTEMPT_COUNT: Final = b"x-envoy-attempt-count"
INTERNAL: Final = b"x-envoy-internal"
CANARY: Final = b"x-envoy-upstream-canary"
TRUE: Final = b"true"

_NOT_OF_A_HANDSHAKE: Final = frozenset((b":status", b"content-length", b"content-type", b"transfer-encoding"))
_INTEGER_HEADERS: Final = (
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-max-retries",
)
_WORD_HEADERS: Final = {b"x-envoy-retry-on": RETRY_ON, b"x-envoy-retry-grpc-on": RETRY_GRPC_ON}


class RouterReplies(StreamFilter):
    """The state of a router filter, its local replies and its counting."""

    __slots__ = (
        "alt_stat_name",
        "attempt_count",
        "cluster",
        "cluster_name",
        "complete_ns",
        "config",
        "direct",
        "dropped",
        "entry",
        "grpc_request",
        "has_cluster",
        "has_stream_timers",
        "hedges",
        "is_retry",
        "mirrors",
        "orca_reported",
        "others",
        "per_try_idle_timeout_ms",
        "per_try_timeout_ms",
        "request_body",
        "request_complete",
        "request_headers",
        "request_trailers",
        "response_started",
        "retry_pending",
        "retry_policy",
        "retry_state",
        "set_cookies",
        "stream_duration_ms",
        "stream_info",
        "timeout_code",
        "timeout_ms",
        "timer",
        "upstream",
        "virtual_cluster",
    )

    config: RouterConfig
    request_headers: HeaderMap
    stream_info: StreamInfo
    entry: RouteEntry
    direct: DirectResponseEntry
    """Set in place of ``entry`` where the route is answered here."""
    cluster: ClusterInfo
    cluster_name: str
    upstream: UpstreamRequest | None
    others: list[UpstreamRequest] | None
    retry_policy: RetryPolicy | None
    """None once nothing is tried again any more."""
    retry_state: RetryState | None
    retry_pending: bool
    """Whether another attempt is about to be made."""
    hedges: bool
    mirrors: Mirrors | None
    stream_duration_ms: int
    timer: Timer | None
    request_trailers: HeaderMap | None
    alt_stat_name: str
    timeout_code: int
    timeout_ms: int
    attempt_count: int
    complete_ns: int
    request_body: Buffer | None
    response_started: bool
    request_complete: bool
    grpc_request: bool
    is_retry: bool
    dropped: bool
    orca_reported: bool
    virtual_cluster: VirtualCluster | None
    set_cookies: list[bytes] | None
    has_cluster: bool

    # Replies before there is an upstream.

    def _no_route(self) -> FilterHeadersStatus:
        self.config.stats.inc(NO_ROUTE)
        self.stream_info.flags |= FLAG_NR
        self.decoder_callbacks.send_local_reply(404, b"", None, None, "route_not_found")
        return STOP_ITERATION

    def _direct_response(self, entry: DirectResponseEntry) -> FilterHeadersStatus:
        self.direct = entry
        self.config.stats.inc(RQ_DIRECT_RESPONSE)
        headers = self.request_headers
        entry.rewrite_path_header(headers, self.config.insert_envoy_headers)
        if entry.is_watched:
            entry.refresh()
        body = entry.body
        if entry.formatter is not None:
            body = entry.formatter.format(headers, None, None, self.stream_info, body)
        self.decoder_callbacks.send_local_reply(
            entry.response_code, body, self._modify_direct_response, None, "direct_response"
        )
        return STOP_ITERATION

    def _modify_direct_response(self, response: HeaderMap) -> None:
        entry = self.direct
        headers = self.request_headers
        if entry.has_location and headers.get(b":path") is not None:
            response.add(b"location", entry.new_uri(headers))
        if entry.content_type:
            response.set(b"content-type", entry.content_type)
        entry.finalize_response_headers(response, self.stream_info, headers)

    def _no_cluster(self) -> FilterHeadersStatus:
        self.config.stats.inc(NO_CLUSTER)
        self.stream_info.flags |= FLAG_NC
        code = self.entry.policy.cluster_not_found_response_code
        self.decoder_callbacks.send_local_reply(code, b"", self._modify_reply, None, "cluster_not_found")
        return STOP_ITERATION

    def _no_healthy_upstream(self, details: str = "no_healthy_upstream") -> FilterHeadersStatus:
        self.stream_info.flags |= FLAG_UH
        self.charge_code(503, None)
        self.decoder_callbacks.send_local_reply(503, b"no healthy upstream", self._modify_reply, None, details)
        return STOP_ITERATION

    def _maintenance(self) -> FilterHeadersStatus:
        self.stream_info.flags |= FLAG_UO
        self.dropped = True
        self.charge_code(503, None)
        self.count_dropped(False)
        self.decoder_callbacks.send_local_reply(503, b"maintenance mode", self._modify_reply, None, "maintenance_mode")
        self.cluster.stats.inc(UPSTREAM_RQ_MAINTENANCE_MODE)
        return STOP_ITERATION

    def _drops_overload(self, cluster: ClusterInfo) -> bool:
        """``drop_overloads``: whether this request is one of those; it is answered then."""
        if cluster.drop_overload >= 1.0:
            return self._drop(FLAG_UDO, b"unconditional drop overload", "unconditional_drop_overload")
        if random() >= cluster.drop_overload:
            return False
        return self._drop(FLAG_DO, b"drop overload", "drop_overload")

    def _drop(self, flag: int, body: bytes, details: str) -> bool:
        self.stream_info.flags |= flag
        self.charge_code(503, None)
        self.count_dropped(True)
        header = b"x-envoy-" + body.replace(b" ", b"-")

        def modify(headers: HeaderMap) -> None:
            if self.config.insert_envoy_headers:
                headers.add(header, TRUE)
            self._modify_reply(headers)

        self.decoder_callbacks.send_local_reply(503, body, modify, None, details)
        return True

    def _invalid_header(self) -> bytes | None:
        """The first of ``strict_check_headers`` whose value is invalid."""
        headers = self.request_headers
        for name in self.config.strict_check_headers:
            value = headers.get(name)
            if value is None:
                continue
            words = _WORD_HEADERS.get(name)
            if words is not None:
                if any(word.strip(b" ") not in words for word in value.split(b",") if word.strip(b" ")):
                    return name
            elif name in _INTEGER_HEADERS and parse_uint64(value) is None:
                return name
        return None

    def _refuse_header(self, name: bytes) -> FilterHeadersStatus:
        self.stream_info.flags |= FLAG_IH
        value = self.request_headers.get(name) or b""
        body = b"invalid header '%s' with value '%s'" % (name, value)
        details = "request_headers_failed_strict_check{" + name.decode("latin-1") + "}"
        self.decoder_callbacks.send_local_reply(400, body, None, None, details)
        return STOP_ITERATION

    def _modify_reply(self, response: HeaderMap) -> None:
        """What every local reply of a forwarding route carries besides the route's response headers."""
        entry = self.entry
        if entry.virtual_host.include_attempt_count_in_response and self.has_cluster:
            response.set(ATTEMPT_COUNT, b"%d" % self.attempt_count)
        if self.dropped and self.config.insert_envoy_headers:
            response.set(b"x-envoy-overloaded", TRUE)

    # Replies that end a request under way.

    def _cleanup(self) -> None:
        """No retry and no timeout will happen any more; attempts beside the latest are given up."""
        self.retry_policy = None
        self.retry_pending = False
        if self.retry_state is not None:
            self.retry_state.close()
            self.retry_state = None
        if self.others is not None:
            others, self.others = self.others, None
            for upstream in others:
                upstream.reset_stream()
        if self.timer is not None:
            self.timer.close()
            self.timer = None

    def _abort(self, code: int, flag: int, body: bytes, details: str) -> None:
        """Answer with an error, or reset where an answer has begun."""
        self.stream_info.flags |= flag
        self._cleanup()
        self.decoder_callbacks.send_local_reply(code, body, self._modify_reply, None, details)

    def add_cookies(self, response: HeaderMap) -> None:
        """The cookies that hash policies made."""
        for value in self.set_cookies or ():
            response.add(b"set-cookie", value)

    def asked_for_websocket(self) -> bool:
        """Whether the request is a websocket handshake."""
        headers = self.request_headers
        if headers.get(b":method") == b"CONNECT":
            return False
        return (headers.get(b"upgrade") or b"").lower() == b"websocket" and is_upgrade(headers)

    def end_failed_handshake(self, upstream: UpstreamRequest, code: int, headers: HeaderMap) -> None:
        """The upstream answered a websocket handshake with neither 101 nor an error: only its head is passed on, for
        what the client sends behind the handshake must not be taken for a body or for another request."""

        def copy_headers(response: HeaderMap) -> None:
            for name, value in headers.items():
                if name not in _NOT_OF_A_HANDSHAKE:
                    response.add(name, value)

        self.upstream = None
        upstream.reset_stream()
        self._cleanup()
        self.decoder_callbacks.send_local_reply(code, b"", copy_headers, None, "websocket_handshake_unsuccessful")

    def refuse_request(self, message: str) -> None:
        """A filter has removed a header without which nothing can be sent."""
        self.stream_info.flags |= FLAG_DPE
        self._cleanup()
        details = "filter_removed_required_request_headers{" + message.replace(" ", "_") + "}"
        self.decoder_callbacks.send_local_reply(503, message.encode(), None, None, details)

    def _abort_after_timeout(self, details: str) -> None:
        if self.cluster.timeout_budgets is not None:
            record_budget(self.cluster.timeout_budgets, self)
        body = b"upstream request timeout" if self.timeout_code == 504 else b""
        self._abort(self.timeout_code, FLAG_UT, body, details)

    def _abort_after_reset(self, reason: StreamResetReason, transport_failure: str) -> None:
        words = RESET_WORDS[reason]
        again = "retried and the latest " if self.is_retry else ""
        body = f"upstream connect error or disconnect/reset before headers. {again}reset reason: {words}"
        when = "after" if self.response_started else "before"
        why = f"{words}|{transport_failure}" if transport_failure else words
        details = "_".join(f"upstream_reset_{when}_response_started{{{why}}}".split())
        code = 502 if reason is PROTOCOL_ERROR else 503
        self._abort(code, RESET_FLAGS[reason], body.encode(), details)

    # Counting.

    def charge_code(self, code: int, upstream: UpstreamRequest | None, canary: bool = False) -> None:
        """Count a response code for the cluster, and a 5xx for the host."""
        config = self.config
        if not config.emit_dynamic_stats or self.stream_info.health_check:
            return
        host = None if upstream is None else upstream.host
        canary = canary or (host is not None and host.canary)
        internal = self.request_headers.get(INTERNAL) == TRUE
        if self.grpc_request and config.suppress_grpc_failure_stats:
            self._charge_parts(code, internal, canary)
        else:
            self.cluster.charge_response_code(code, internal, canary)
        if self.virtual_cluster is not None:
            self.virtual_cluster.charge_code(code)
        if self.alt_stat_name or config.zone:
            self._charge_rare(code, host, internal, canary)
        if host is not None and 500 <= code < 600:
            host.stats.inc(HOST_RQ_ERROR)

    def count_dropped(self, overload: bool) -> None:
        """For load reports, where there are any; ``overload``: it was ``drop_overloads`` that dropped the request."""
        block = self.cluster.load_report
        if block is None:
            return
        if self.config.emit_dynamic_stats and not self.stream_info.health_check:
            block.inc(LOAD_RQ_DROPPED)
        if overload:
            block.inc(LOAD_RQ_DROP_OVERLOAD)

    def _charge_parts(self, code: int, internal: bool, canary: bool) -> None:
        """All of ``ClusterInfo.charge_response_code`` but the codes of the cluster as a whole."""
        self.cluster.stats.inc(UPSTREAM_RQ_COMPLETED)
        dynamic = self.cluster.dynamic
        dynamic.codes("internal.upstream_rq_" if internal else "external.upstream_rq_").charge(code)
        if canary:
            dynamic.codes("canary.upstream_rq_").charge(code)

    def charge_retry(self, code: int) -> None:
        """Count a response that is not passed on."""
        if self.grpc_request and self.config.suppress_grpc_failure_stats:
            self.cluster.dynamic.inc("retry.upstream_rq_completed")
        else:
            self.cluster.dynamic.codes("retry.upstream_rq_").charge(code)

    def _charge_rare(self, code: int, host: Any, internal: bool, canary: bool) -> None:
        """Under a name that the request asked for, and by zone."""
        dynamic = self.cluster.dynamic
        zone = ""
        if self.config.zone and host is not None and host.locality[1]:
            zone = f"zone.{self.config.zone}.{host.locality[1]}."
            dynamic.codes(f"{zone}upstream_rq_").charge(code)
        if self.alt_stat_name:
            parts = ["", "internal." if internal else "external."]
            if canary:
                parts.append("canary.")
            if zone:
                parts.append(zone)
            for part in parts:
                dynamic.codes(f"{self.alt_stat_name}.{part}upstream_rq_").charge(code)

    def charge_time(self, milliseconds: int, upstream: UpstreamRequest) -> None:
        """Record how long the upstream took."""
        if not self.config.emit_dynamic_stats or self.stream_info.health_check:
            return
        dynamic = self.cluster.dynamic
        dynamic.record("upstream_rq_time", milliseconds)
        if self.request_headers.get(INTERNAL) == TRUE:
            dynamic.record("internal.upstream_rq_time", milliseconds)
        else:
            dynamic.record("external.upstream_rq_time", milliseconds)
        if self.virtual_cluster is not None:
            self.virtual_cluster.charge_time(milliseconds)
        if self.config.zone and upstream.host.locality[1]:
            dynamic.record(f"zone.{self.config.zone}.{upstream.host.locality[1]}.upstream_rq_time", milliseconds)

    def _charge_abort(self, code: int, upstream: UpstreamRequest) -> None:
        """Count an attempt that ended without a response from the upstream, or in the middle of one."""
        if self.response_started:
            if upstream.grpc_success_deferred:
                upstream.host.stats.inc(HOST_RQ_ERROR)
                self.config.stats.inc(RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED)
            return
        self.charge_code(code, upstream)
        if not 500 <= code < 600:
            upstream.host.stats.inc(HOST_RQ_ERROR)
