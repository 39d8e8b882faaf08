"""Codec statistics (Envoy: ``Http2::CodecStats``): global under ``http2.``, per cluster ``cluster.<name>.http2.``.

The kernel's sessions count by slot: the order of the names is that of ``Stat`` in ``kernel/http2_session.pxd``.
"""

from __future__ import annotations

from proxeny.stats.schema import Schema

HTTP2 = Schema(
    "http2",
    counters=(
        "dropped_headers_with_underscores",
        "goaway_sent",
        "goaway_graceful_sent",
        "header_overflow",
        "headers_cb_no_stream",
        "inbound_empty_frames_flood",
        "inbound_priority_frames_flood",
        "inbound_window_update_frames_flood",
        "keepalive_timeout",
        "metadata_empty_frames",
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
)
KEEPALIVE_TIMEOUT = HTTP2.slot("keepalive_timeout")
TX_FLUSH_TIMEOUT = HTTP2.slot("tx_flush_timeout")
