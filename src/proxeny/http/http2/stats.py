"""Codec statistics (Envoy: ``Http2::CodecStats``): global under ``http2.``, per cluster ``cluster.<name>.http2.``.

The kernel's sessions count by slot: the order of the names is that of ``Stat`` in ``kernel/http2_receiver.pxd``.
"""

from __future__ import annotations

from proxeny.stats.schema import Schema

HTTP2 = Schema(
    "http2",
    counters=(
        "cookies_total_bytes_too_large",
        "dropped_headers_with_underscores",
        "goaway_sent",
        "header_list_size_too_large",
        "header_overflow",
        "headers_cb_no_stream",
        "inbound_empty_frames_flood",
        "inbound_priority_frames_flood",
        "inbound_window_update_frames_flood",
        "keepalive_timeout",
        "metadata_empty_frames",
        "nghttp2_downstream_connections",
        "nghttp2_upstream_connections",
        "oghttp2_downstream_connections",
        "oghttp2_upstream_connections",
        "outbound_control_flood",
        "outbound_flood",
        "requests_rejected_with_underscores_in_headers",
        "rx_messaging_error",
        "rx_reset",
        "stream_refused_errors",
        "trailers",
        "tx_flush_timeout",
        "tx_reset",
    ),
    gauges=(
        "streams_active",
        "pending_send_bytes",
        "deferred_stream_close",
        "outbound_frames_active",
        "outbound_control_frames_active",
    ),
    histograms=("cookie_count", "cookie_size", "header_count", "header_list_size"),
)
KEEPALIVE_TIMEOUT = HTTP2.slot("keepalive_timeout")
NGHTTP2_DOWNSTREAM_CONNECTIONS = HTTP2.slot("nghttp2_downstream_connections")
NGHTTP2_UPSTREAM_CONNECTIONS = HTTP2.slot("nghttp2_upstream_connections")
TX_FLUSH_TIMEOUT = HTTP2.slot("tx_flush_timeout")
