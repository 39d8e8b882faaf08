"""Stat schemas of the HTTP connection manager (Envoy: ``source/common/http/conn_manager_config.h``)."""

from __future__ import annotations

from proxeny.stats.schema import Schema

HTTP = Schema(
    "http",
    counters=(
        "downstream_cx_delayed_close_timeout",
        "downstream_cx_destroy",
        "downstream_cx_destroy_active_rq",
        "downstream_cx_destroy_local",
        "downstream_cx_destroy_local_active_rq",
        "downstream_cx_destroy_remote",
        "downstream_cx_destroy_remote_active_rq",
        "downstream_cx_drain_close",
        "downstream_cx_http1_total",
        "downstream_cx_http2_total",
        "downstream_cx_http3_total",
        "downstream_cx_idle_timeout",
        "downstream_cx_max_duration_reached",
        "downstream_cx_max_requests_reached",
        "downstream_cx_overload_disable_keepalive",
        "downstream_cx_protocol_error",
        "downstream_cx_rx_bytes_total",
        "downstream_cx_ssl_total",
        "downstream_cx_total",
        "downstream_cx_tx_bytes_total",
        "downstream_cx_upgrades_total",
        "downstream_flow_control_paused_reading_total",
        "downstream_flow_control_resumed_reading_total",
        "downstream_rq_1xx",
        "downstream_rq_2xx",
        "downstream_rq_3xx",
        "downstream_rq_4xx",
        "downstream_rq_5xx",
        "downstream_rq_completed",
        "downstream_rq_failed_path_normalization",
        "downstream_rq_header_timeout",
        "downstream_rq_http1_total",
        "downstream_rq_http2_total",
        "downstream_rq_http3_total",
        "downstream_rq_idle_timeout",
        "downstream_rq_max_duration_reached",
        "downstream_rq_non_relative_path",
        "downstream_rq_overload_close",
        "downstream_rq_redirected_with_normalized_path",
        "downstream_rq_rejected_via_ip_detection",
        "downstream_rq_response_before_rq_complete",
        "downstream_rq_rx_reset",
        "downstream_rq_timeout",
        "downstream_rq_too_large",
        "downstream_rq_too_many_premature_resets",
        "downstream_rq_total",
        "downstream_rq_tx_reset",
        "downstream_rq_ws_on_non_ws_route",
        "rs_too_large",
        "tracing.client_enabled",
        "tracing.health_check",
        "tracing.not_traceable",
        "tracing.random_sampling",
        "tracing.service_forced",
    ),
    gauges=(
        "downstream_cx_active",
        "downstream_cx_http1_active",
        "downstream_cx_http1_soft_drain",
        "downstream_cx_http2_active",
        "downstream_cx_http3_active",
        "downstream_cx_rx_bytes_buffered",
        "downstream_cx_ssl_active",
        "downstream_cx_tx_bytes_buffered",
        "downstream_cx_upgrades_active",
        "downstream_rq_active",
    ),
    histograms=("downstream_cx_length_ms", "downstream_rq_time"),
)
"""``http.<stat_prefix>.*``; the router adds its own (``rq_total``, ``no_route``...) under the same prefix."""

LISTENER_HTTP = Schema(
    "listener_http",
    counters=(
        "downstream_rq_1xx",
        "downstream_rq_2xx",
        "downstream_rq_3xx",
        "downstream_rq_4xx",
        "downstream_rq_5xx",
        "downstream_rq_completed",
    ),
)
"""``listener.<address>.http.<stat_prefix>.*``."""

_slot = HTTP.slot
CX_ACTIVE = _slot("downstream_cx_active")
CX_DELAYED_CLOSE_TIMEOUT = _slot("downstream_cx_delayed_close_timeout")
CX_DESTROY = _slot("downstream_cx_destroy")
CX_DESTROY_ACTIVE_RQ = _slot("downstream_cx_destroy_active_rq")
CX_DESTROY_LOCAL = _slot("downstream_cx_destroy_local")
CX_DESTROY_LOCAL_ACTIVE_RQ = _slot("downstream_cx_destroy_local_active_rq")
CX_DESTROY_REMOTE = _slot("downstream_cx_destroy_remote")
CX_DESTROY_REMOTE_ACTIVE_RQ = _slot("downstream_cx_destroy_remote_active_rq")
CX_DRAIN_CLOSE = _slot("downstream_cx_drain_close")
CX_OVERLOAD_DISABLE_KEEPALIVE = _slot("downstream_cx_overload_disable_keepalive")
CX_HTTP1_ACTIVE = _slot("downstream_cx_http1_active")
CX_HTTP1_SOFT_DRAIN = _slot("downstream_cx_http1_soft_drain")
CX_HTTP1_TOTAL = _slot("downstream_cx_http1_total")
CX_HTTP2_ACTIVE = _slot("downstream_cx_http2_active")
CX_HTTP2_TOTAL = _slot("downstream_cx_http2_total")
CX_IDLE_TIMEOUT = _slot("downstream_cx_idle_timeout")
CX_LENGTH_MS = _slot("downstream_cx_length_ms")
CX_MAX_DURATION_REACHED = _slot("downstream_cx_max_duration_reached")
CX_MAX_REQUESTS_REACHED = _slot("downstream_cx_max_requests_reached")
CX_PROTOCOL_ERROR = _slot("downstream_cx_protocol_error")
CX_RX_BYTES_BUFFERED = _slot("downstream_cx_rx_bytes_buffered")
CX_RX_BYTES_TOTAL = _slot("downstream_cx_rx_bytes_total")
CX_SSL_ACTIVE = _slot("downstream_cx_ssl_active")
CX_SSL_TOTAL = _slot("downstream_cx_ssl_total")
CX_TOTAL = _slot("downstream_cx_total")
CX_TX_BYTES_BUFFERED = _slot("downstream_cx_tx_bytes_buffered")
CX_TX_BYTES_TOTAL = _slot("downstream_cx_tx_bytes_total")
CX_UPGRADES_ACTIVE = _slot("downstream_cx_upgrades_active")
CX_UPGRADES_TOTAL = _slot("downstream_cx_upgrades_total")
FLOW_PAUSED = _slot("downstream_flow_control_paused_reading_total")
FLOW_RESUMED = _slot("downstream_flow_control_resumed_reading_total")
RQ_1XX = _slot("downstream_rq_1xx")
RQ_ACTIVE = _slot("downstream_rq_active")
RQ_COMPLETED = _slot("downstream_rq_completed")
RQ_FAILED_PATH_NORMALIZATION = _slot("downstream_rq_failed_path_normalization")
RQ_HEADER_TIMEOUT = _slot("downstream_rq_header_timeout")
RQ_HTTP1_TOTAL = _slot("downstream_rq_http1_total")
RQ_HTTP2_TOTAL = _slot("downstream_rq_http2_total")
RQ_IDLE_TIMEOUT = _slot("downstream_rq_idle_timeout")
RQ_MAX_DURATION_REACHED = _slot("downstream_rq_max_duration_reached")
RQ_NON_RELATIVE_PATH = _slot("downstream_rq_non_relative_path")
RQ_OVERLOAD_CLOSE = _slot("downstream_rq_overload_close")
RQ_REDIRECTED_WITH_NORMALIZED_PATH = _slot("downstream_rq_redirected_with_normalized_path")
RQ_RESPONSE_BEFORE_RQ_COMPLETE = _slot("downstream_rq_response_before_rq_complete")
RQ_RX_RESET = _slot("downstream_rq_rx_reset")
RQ_TIME = _slot("downstream_rq_time")
RQ_TIMEOUT = _slot("downstream_rq_timeout")
RQ_TOO_LARGE = _slot("downstream_rq_too_large")
RQ_TOO_MANY_PREMATURE_RESETS = _slot("downstream_rq_too_many_premature_resets")
RQ_TOTAL = _slot("downstream_rq_total")
RQ_TX_RESET = _slot("downstream_rq_tx_reset")
RQ_WS_ON_NON_WS_ROUTE = _slot("downstream_rq_ws_on_non_ws_route")
RQ_REJECTED_VIA_IP_DETECTION = _slot("downstream_rq_rejected_via_ip_detection")
RS_TOO_LARGE = _slot("rs_too_large")
TRACING_CLIENT_ENABLED = _slot("tracing.client_enabled")
TRACING_HEALTH_CHECK = _slot("tracing.health_check")
TRACING_NOT_TRACEABLE = _slot("tracing.not_traceable")
TRACING_RANDOM_SAMPLING = _slot("tracing.random_sampling")
TRACING_SERVICE_FORCED = _slot("tracing.service_forced")

CODE_CLASS = tuple(_slot(f"downstream_rq_{digit}xx") for digit in range(1, 6))
LISTENER_CODE_CLASS = tuple(LISTENER_HTTP.slot(f"downstream_rq_{digit}xx") for digit in range(1, 6))
LISTENER_RQ_COMPLETED = LISTENER_HTTP.slot("downstream_rq_completed")
