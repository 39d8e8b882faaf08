"""The statistics of one cluster (Envoy: ``ALL_CLUSTER_STATS`` and its relatives) and of one host, with slots.

They live below ``upstream`` because pools charge them; ``proxeny.upstream.stats`` is where everybody else finds them.
The names are what Envoy 1.40 creates eagerly for every cluster.
"""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

CLUSTER: Final = Schema(
    "cluster",
    counters=(
        "assignment_stale",
        "assignment_timeout_received",
        "assignment_use_cached",
        "bind_errors",
        "default.total_match_count",
        "lb_healthy_panic",
        "lb_local_cluster_not_ok",
        "lb_recalculate_zone_structures",
        "lb_subsets_created",
        "lb_subsets_fallback",
        "lb_subsets_fallback_panic",
        "lb_subsets_removed",
        "lb_subsets_selected",
        "lb_zone_cluster_too_small",
        "lb_zone_no_capacity_left",
        "lb_zone_routing_all_directly",
        "lb_zone_routing_cross_zone",
        "lb_zone_routing_sampled",
        "membership_change",
        "original_dst_host_invalid",
        "retry_or_shadow_abandoned",
        "update_attempt",
        "update_empty",
        "update_failure",
        "update_no_rebuild",
        "update_success",
        "upstream_cx_close_notify",
        "upstream_cx_connect_attempts_exceeded",
        "upstream_cx_connect_fail",
        "upstream_cx_connect_timeout",
        "upstream_cx_connect_with_0_rtt",
        "upstream_cx_destroy",
        "upstream_cx_destroy_local",
        "upstream_cx_destroy_local_with_active_rq",
        "upstream_cx_destroy_remote",
        "upstream_cx_destroy_remote_with_active_rq",
        "upstream_cx_destroy_with_active_rq",
        "upstream_cx_http1_total",
        "upstream_cx_http2_total",
        "upstream_cx_http3_total",
        "upstream_cx_idle_timeout",
        "upstream_cx_max_duration_reached",
        "upstream_cx_max_requests",
        "upstream_cx_none_healthy",
        "upstream_cx_overflow",
        "upstream_cx_pool_overflow",
        "upstream_cx_preconnect_skipped",
        "upstream_cx_protocol_error",
        "upstream_cx_rx_bytes_total",
        "upstream_cx_total",
        "upstream_cx_tx_bytes_total",
        "upstream_flow_control_backed_up_total",
        "upstream_flow_control_drained_total",
        "upstream_flow_control_paused_reading_total",
        "upstream_flow_control_resumed_reading_total",
        "upstream_http3_broken",
        "upstream_internal_redirect_failed_total",
        "upstream_internal_redirect_succeeded_total",
        "upstream_queue_overloaded",
        "upstream_rq_0rtt",
        "upstream_rq_active_overflow",
        "upstream_rq_cancelled",
        "upstream_rq_completed",
        "upstream_rq_maintenance_mode",
        "upstream_rq_max_duration_reached",
        "upstream_rq_pending_failure_eject",
        "upstream_rq_pending_overflow",
        "upstream_rq_pending_total",
        "upstream_rq_per_try_idle_timeout",
        "upstream_rq_per_try_timeout",
        "upstream_rq_retry",
        "upstream_rq_retry_backoff_exponential",
        "upstream_rq_retry_backoff_ratelimited",
        "upstream_rq_retry_limit_exceeded",
        "upstream_rq_retry_overflow",
        "upstream_rq_retry_success",
        "upstream_rq_rx_reset",
        "upstream_rq_rx_reset_no_error",
        "upstream_rq_timeout",
        "upstream_rq_total",
        "upstream_rq_tx_reset",
    ),
    gauges=(
        "circuit_breakers.default.cx_open",
        "circuit_breakers.default.cx_pool_open",
        "circuit_breakers.default.rq_open",
        "circuit_breakers.default.rq_pending_open",
        "circuit_breakers.default.rq_retry_open",
        "circuit_breakers.high.cx_open",
        "circuit_breakers.high.cx_pool_open",
        "circuit_breakers.high.rq_open",
        "circuit_breakers.high.rq_pending_open",
        "circuit_breakers.high.rq_retry_open",
        "lb_subsets_active",
        "max_host_weight",
        "membership_degraded",
        "membership_excluded",
        "membership_healthy",
        "membership_total",
        "upstream_cx_active",
        "upstream_cx_rx_bytes_buffered",
        "upstream_cx_tx_bytes_buffered",
        "upstream_rq_active",
        "upstream_rq_pending_active",
        "version",
        "warming_state",
    ),
    histograms=("upstream_cx_connect_ms", "upstream_cx_length_ms", "upstream_rq_per_cx"),
)

REMAINING: Final = Schema(
    "cluster_remaining",
    gauges=("remaining_cx", "remaining_pending", "remaining_rq", "remaining_retries"),
)
"""Only with ``track_remaining``; prefix ``cluster.<name>.circuit_breakers.<priority>.``. ``remaining_cx_pools`` is a
wide gauge (``upstream.limit_gauges``)."""

TIMEOUT_BUDGETS: Final = Schema(
    "cluster_timeout_budgets",
    histograms=("upstream_rq_timeout_budget_per_try_percent_used", "upstream_rq_timeout_budget_percent_used"),
)
"""Only with ``track_cluster_stats.timeout_budgets``."""

REQUEST_RESPONSE_SIZES: Final = Schema(
    "cluster_request_response_sizes",
    histograms=(
        "upstream_rq_body_size",
        "upstream_rq_headers_count",
        "upstream_rq_headers_size",
        "upstream_rs_body_size",
        "upstream_rs_headers_count",
        "upstream_rs_headers_size",
    ),
)
"""Only with ``track_cluster_stats.request_response_sizes``."""

LIMITS: Final = Schema(
    "cluster_limits",
    counters=(
        "default.connections",
        "default.pending_requests",
        "default.requests",
        "default.retries",
        "default.connection_pools",
        "high.connections",
        "high.pending_requests",
        "high.requests",
        "high.retries",
        "high.connection_pools",
    ),
    hidden=True,
)
"""Never written: its base numbers the cluster's rows in the workers' table of limits (kernel/limits.pyx)."""

LOAD_REPORT: Final = Schema(
    "cluster_load_report", counters=("upstream_rq_drop_overload", "upstream_rq_dropped"), hidden=True
)
"""Requests that were answered without an attempt (Envoy: ``ALL_CLUSTER_LOAD_REPORT_STATS``); for LRS only."""
LOAD_RQ_DROP_OVERLOAD: Final = LOAD_REPORT.slot("upstream_rq_drop_overload")
LOAD_RQ_DROPPED: Final = LOAD_REPORT.slot("upstream_rq_dropped")

HOST: Final = Schema(
    "host",
    counters=("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total"),
    gauges=("cx_active", "rq_active", "rq_pending_active"),
    hidden=True,
)
"""Per host (Envoy: ``ALL_HOST_STATS``); only /clusters shows them."""

HOST_CX_CONNECT_FAIL: Final = HOST.slot("cx_connect_fail")
HOST_CX_TOTAL: Final = HOST.slot("cx_total")
HOST_CX_ACTIVE: Final = HOST.slot("cx_active")
HOST_RQ_ERROR: Final = HOST.slot("rq_error")
HOST_RQ_SUCCESS: Final = HOST.slot("rq_success")
HOST_RQ_TIMEOUT: Final = HOST.slot("rq_timeout")
HOST_RQ_TOTAL: Final = HOST.slot("rq_total")
HOST_RQ_ACTIVE: Final = HOST.slot("rq_active")
HOST_RQ_PENDING_ACTIVE: Final = HOST.slot("rq_pending_active")

ASSIGNMENT_STALE: Final = CLUSTER.slot("assignment_stale")
ASSIGNMENT_TIMEOUT_RECEIVED: Final = CLUSTER.slot("assignment_timeout_received")
ASSIGNMENT_USE_CACHED: Final = CLUSTER.slot("assignment_use_cached")
BIND_ERRORS: Final = CLUSTER.slot("bind_errors")
DEFAULT_TOTAL_MATCH_COUNT: Final = CLUSTER.slot("default.total_match_count")
LB_HEALTHY_PANIC: Final = CLUSTER.slot("lb_healthy_panic")
LB_LOCAL_CLUSTER_NOT_OK: Final = CLUSTER.slot("lb_local_cluster_not_ok")
LB_RECALCULATE_ZONE_STRUCTURES: Final = CLUSTER.slot("lb_recalculate_zone_structures")
LB_SUBSETS_CREATED: Final = CLUSTER.slot("lb_subsets_created")
LB_SUBSETS_FALLBACK: Final = CLUSTER.slot("lb_subsets_fallback")
LB_SUBSETS_FALLBACK_PANIC: Final = CLUSTER.slot("lb_subsets_fallback_panic")
LB_SUBSETS_REMOVED: Final = CLUSTER.slot("lb_subsets_removed")
LB_SUBSETS_SELECTED: Final = CLUSTER.slot("lb_subsets_selected")
LB_ZONE_CLUSTER_TOO_SMALL: Final = CLUSTER.slot("lb_zone_cluster_too_small")
LB_ZONE_NO_CAPACITY_LEFT: Final = CLUSTER.slot("lb_zone_no_capacity_left")
LB_ZONE_ROUTING_ALL_DIRECTLY: Final = CLUSTER.slot("lb_zone_routing_all_directly")
LB_ZONE_ROUTING_CROSS_ZONE: Final = CLUSTER.slot("lb_zone_routing_cross_zone")
LB_ZONE_ROUTING_SAMPLED: Final = CLUSTER.slot("lb_zone_routing_sampled")
MEMBERSHIP_CHANGE: Final = CLUSTER.slot("membership_change")
ORIGINAL_DST_HOST_INVALID: Final = CLUSTER.slot("original_dst_host_invalid")
RETRY_OR_SHADOW_ABANDONED: Final = CLUSTER.slot("retry_or_shadow_abandoned")
UPDATE_ATTEMPT: Final = CLUSTER.slot("update_attempt")
UPDATE_EMPTY: Final = CLUSTER.slot("update_empty")
UPDATE_FAILURE: Final = CLUSTER.slot("update_failure")
UPDATE_NO_REBUILD: Final = CLUSTER.slot("update_no_rebuild")
UPDATE_SUCCESS: Final = CLUSTER.slot("update_success")
UPSTREAM_CX_CLOSE_NOTIFY: Final = CLUSTER.slot("upstream_cx_close_notify")
UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED: Final = CLUSTER.slot("upstream_cx_connect_attempts_exceeded")
UPSTREAM_CX_CONNECT_FAIL: Final = CLUSTER.slot("upstream_cx_connect_fail")
UPSTREAM_CX_CONNECT_TIMEOUT: Final = CLUSTER.slot("upstream_cx_connect_timeout")
UPSTREAM_CX_CONNECT_WITH_0_RTT: Final = CLUSTER.slot("upstream_cx_connect_with_0_rtt")
UPSTREAM_CX_DESTROY: Final = CLUSTER.slot("upstream_cx_destroy")
UPSTREAM_CX_DESTROY_LOCAL: Final = CLUSTER.slot("upstream_cx_destroy_local")
UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ: Final = CLUSTER.slot("upstream_cx_destroy_local_with_active_rq")
UPSTREAM_CX_DESTROY_REMOTE: Final = CLUSTER.slot("upstream_cx_destroy_remote")
UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ: Final = CLUSTER.slot("upstream_cx_destroy_remote_with_active_rq")
UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ: Final = CLUSTER.slot("upstream_cx_destroy_with_active_rq")
UPSTREAM_CX_HTTP1_TOTAL: Final = CLUSTER.slot("upstream_cx_http1_total")
UPSTREAM_CX_HTTP2_TOTAL: Final = CLUSTER.slot("upstream_cx_http2_total")
UPSTREAM_CX_HTTP3_TOTAL: Final = CLUSTER.slot("upstream_cx_http3_total")
UPSTREAM_CX_IDLE_TIMEOUT: Final = CLUSTER.slot("upstream_cx_idle_timeout")
UPSTREAM_CX_MAX_DURATION_REACHED: Final = CLUSTER.slot("upstream_cx_max_duration_reached")
UPSTREAM_CX_MAX_REQUESTS: Final = CLUSTER.slot("upstream_cx_max_requests")
UPSTREAM_CX_NONE_HEALTHY: Final = CLUSTER.slot("upstream_cx_none_healthy")
UPSTREAM_CX_OVERFLOW: Final = CLUSTER.slot("upstream_cx_overflow")
UPSTREAM_CX_POOL_OVERFLOW: Final = CLUSTER.slot("upstream_cx_pool_overflow")
UPSTREAM_CX_PRECONNECT_SKIPPED: Final = CLUSTER.slot("upstream_cx_preconnect_skipped")
UPSTREAM_CX_PROTOCOL_ERROR: Final = CLUSTER.slot("upstream_cx_protocol_error")
UPSTREAM_CX_RX_BYTES_TOTAL: Final = CLUSTER.slot("upstream_cx_rx_bytes_total")
UPSTREAM_CX_TOTAL: Final = CLUSTER.slot("upstream_cx_total")
UPSTREAM_CX_TX_BYTES_TOTAL: Final = CLUSTER.slot("upstream_cx_tx_bytes_total")
UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL: Final = CLUSTER.slot("upstream_flow_control_backed_up_total")
UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL: Final = CLUSTER.slot("upstream_flow_control_drained_total")
UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL: Final = CLUSTER.slot("upstream_flow_control_paused_reading_total")
UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL: Final = CLUSTER.slot("upstream_flow_control_resumed_reading_total")
UPSTREAM_HTTP3_BROKEN: Final = CLUSTER.slot("upstream_http3_broken")
UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL: Final = CLUSTER.slot("upstream_internal_redirect_failed_total")
UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL: Final = CLUSTER.slot("upstream_internal_redirect_succeeded_total")
UPSTREAM_QUEUE_OVERLOADED: Final = CLUSTER.slot("upstream_queue_overloaded")
UPSTREAM_RQ_0RTT: Final = CLUSTER.slot("upstream_rq_0rtt")
UPSTREAM_RQ_ACTIVE_OVERFLOW: Final = CLUSTER.slot("upstream_rq_active_overflow")
UPSTREAM_RQ_CANCELLED: Final = CLUSTER.slot("upstream_rq_cancelled")
UPSTREAM_RQ_COMPLETED: Final = CLUSTER.slot("upstream_rq_completed")
UPSTREAM_RQ_MAINTENANCE_MODE: Final = CLUSTER.slot("upstream_rq_maintenance_mode")
UPSTREAM_RQ_MAX_DURATION_REACHED: Final = CLUSTER.slot("upstream_rq_max_duration_reached")
UPSTREAM_RQ_PENDING_FAILURE_EJECT: Final = CLUSTER.slot("upstream_rq_pending_failure_eject")
UPSTREAM_RQ_PENDING_OVERFLOW: Final = CLUSTER.slot("upstream_rq_pending_overflow")
UPSTREAM_RQ_PENDING_TOTAL: Final = CLUSTER.slot("upstream_rq_pending_total")
UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT: Final = CLUSTER.slot("upstream_rq_per_try_idle_timeout")
UPSTREAM_RQ_PER_TRY_TIMEOUT: Final = CLUSTER.slot("upstream_rq_per_try_timeout")
UPSTREAM_RQ_RETRY: Final = CLUSTER.slot("upstream_rq_retry")
UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL: Final = CLUSTER.slot("upstream_rq_retry_backoff_exponential")
UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED: Final = CLUSTER.slot("upstream_rq_retry_backoff_ratelimited")
UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED: Final = CLUSTER.slot("upstream_rq_retry_limit_exceeded")
UPSTREAM_RQ_RETRY_OVERFLOW: Final = CLUSTER.slot("upstream_rq_retry_overflow")
UPSTREAM_RQ_RETRY_SUCCESS: Final = CLUSTER.slot("upstream_rq_retry_success")
UPSTREAM_RQ_RX_RESET: Final = CLUSTER.slot("upstream_rq_rx_reset")
UPSTREAM_RQ_RX_RESET_NO_ERROR: Final = CLUSTER.slot("upstream_rq_rx_reset_no_error")
UPSTREAM_RQ_TIMEOUT: Final = CLUSTER.slot("upstream_rq_timeout")
UPSTREAM_RQ_TOTAL: Final = CLUSTER.slot("upstream_rq_total")
UPSTREAM_RQ_TX_RESET: Final = CLUSTER.slot("upstream_rq_tx_reset")
LB_SUBSETS_ACTIVE: Final = CLUSTER.slot("lb_subsets_active")
MAX_HOST_WEIGHT: Final = CLUSTER.slot("max_host_weight")
MEMBERSHIP_DEGRADED: Final = CLUSTER.slot("membership_degraded")
MEMBERSHIP_EXCLUDED: Final = CLUSTER.slot("membership_excluded")
MEMBERSHIP_HEALTHY: Final = CLUSTER.slot("membership_healthy")
MEMBERSHIP_TOTAL: Final = CLUSTER.slot("membership_total")
UPSTREAM_CX_ACTIVE: Final = CLUSTER.slot("upstream_cx_active")
UPSTREAM_CX_RX_BYTES_BUFFERED: Final = CLUSTER.slot("upstream_cx_rx_bytes_buffered")
UPSTREAM_CX_TX_BYTES_BUFFERED: Final = CLUSTER.slot("upstream_cx_tx_bytes_buffered")
UPSTREAM_RQ_ACTIVE: Final = CLUSTER.slot("upstream_rq_active")
UPSTREAM_RQ_PENDING_ACTIVE: Final = CLUSTER.slot("upstream_rq_pending_active")
VERSION: Final = CLUSTER.slot("version")
WARMING_STATE: Final = CLUSTER.slot("warming_state")
UPSTREAM_CX_CONNECT_MS: Final = CLUSTER.slot("upstream_cx_connect_ms")
UPSTREAM_CX_LENGTH_MS: Final = CLUSTER.slot("upstream_cx_length_ms")
UPSTREAM_RQ_PER_CX: Final = CLUSTER.slot("upstream_rq_per_cx")
