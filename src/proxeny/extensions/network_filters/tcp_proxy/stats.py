"""Statistics of a TCP proxy (Envoy: ``ALL_TCP_PROXY_STATS``), prefix ``tcp.<stat_prefix>.``."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

TCP_PROXY: Final = Schema(
    "tcp_proxy",
    counters=(
        "downstream_cx_drain_close",
        "downstream_cx_no_route",
        "downstream_cx_overload_close",
        "downstream_cx_rx_bytes_total",
        "downstream_cx_total",
        "downstream_cx_tx_bytes_total",
        "downstream_flow_control_paused_reading_total",
        "downstream_flow_control_resumed_reading_total",
        "early_data_received_count_total",
        "idle_timeout",
        "max_downstream_connection_duration",
        "route_delayed_total",
        "upstream_flush_total",
    ),
    gauges=("downstream_cx_rx_bytes_buffered", "downstream_cx_tx_bytes_buffered", "upstream_flush_active"),
)
DOWNSTREAM_CX_NO_ROUTE: Final = TCP_PROXY.slot("downstream_cx_no_route")
DOWNSTREAM_CX_TOTAL: Final = TCP_PROXY.slot("downstream_cx_total")
DOWNSTREAM_BYTES: Final = (
    TCP_PROXY.slot("downstream_cx_rx_bytes_total"),
    TCP_PROXY.slot("downstream_cx_rx_bytes_buffered"),
    TCP_PROXY.slot("downstream_cx_tx_bytes_total"),
    TCP_PROXY.slot("downstream_cx_tx_bytes_buffered"),
)
"""In the order of ``Stream.set_stats``."""
DOWNSTREAM_PAUSED_READING: Final = TCP_PROXY.slot("downstream_flow_control_paused_reading_total")
DOWNSTREAM_RESUMED_READING: Final = TCP_PROXY.slot("downstream_flow_control_resumed_reading_total")
EARLY_DATA_RECEIVED: Final = TCP_PROXY.slot("early_data_received_count_total")
IDLE_TIMEOUT: Final = TCP_PROXY.slot("idle_timeout")
MAX_DOWNSTREAM_CONNECTION_DURATION: Final = TCP_PROXY.slot("max_downstream_connection_duration")
UPSTREAM_FLUSH_TOTAL: Final = TCP_PROXY.slot("upstream_flush_total")
UPSTREAM_FLUSH_ACTIVE: Final = TCP_PROXY.slot("upstream_flush_active")
