"""Statistics of UDP proxies (Envoy: ``ALL_UDP_PROXY_DOWNSTREAM_STATS``, ``ALL_UDP_PROXY_UPSTREAM_STATS``)."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

UDP_PROXY: Final = Schema(
    "udp_proxy",
    counters=(
        "downstream_sess_no_route",
        "downstream_sess_rx_bytes",
        "downstream_sess_rx_datagrams",
        "downstream_sess_rx_errors",
        "downstream_sess_total",
        "downstream_sess_tx_bytes",
        "downstream_sess_tx_datagrams",
        "downstream_sess_tx_errors",
        "idle_timeout",
        "session_filter_config_missing",
    ),
    gauges=("downstream_sess_active",),
)
"""``udp.<stat_prefix>.*``."""

UDP_UPSTREAM: Final = Schema(
    "udp_upstream",
    counters=(
        "sess_rx_datagrams",
        "sess_rx_datagrams_dropped",
        "sess_rx_errors",
        "sess_tunnel_buffer_overflow",
        "sess_tunnel_failure",
        "sess_tunnel_success",
        "sess_tx_datagrams",
        "sess_tx_errors",
    ),
)
"""``cluster.<name>.udp.*``."""

SESS_ACTIVE: Final = UDP_PROXY.slot("downstream_sess_active")
SESS_NO_ROUTE: Final = UDP_PROXY.slot("downstream_sess_no_route")
SESS_RX_BYTES: Final = UDP_PROXY.slot("downstream_sess_rx_bytes")
SESS_RX_DATAGRAMS: Final = UDP_PROXY.slot("downstream_sess_rx_datagrams")
SESS_RX_ERRORS: Final = UDP_PROXY.slot("downstream_sess_rx_errors")
SESS_TOTAL: Final = UDP_PROXY.slot("downstream_sess_total")
SESS_TX_BYTES: Final = UDP_PROXY.slot("downstream_sess_tx_bytes")
SESS_TX_DATAGRAMS: Final = UDP_PROXY.slot("downstream_sess_tx_datagrams")
SESS_TX_ERRORS: Final = UDP_PROXY.slot("downstream_sess_tx_errors")
IDLE_TIMEOUT: Final = UDP_PROXY.slot("idle_timeout")

UPSTREAM_RX_DATAGRAMS: Final = UDP_UPSTREAM.slot("sess_rx_datagrams")
UPSTREAM_RX_DROPPED: Final = UDP_UPSTREAM.slot("sess_rx_datagrams_dropped")
UPSTREAM_RX_ERRORS: Final = UDP_UPSTREAM.slot("sess_rx_errors")
UPSTREAM_TX_DATAGRAMS: Final = UDP_UPSTREAM.slot("sess_tx_datagrams")
UPSTREAM_TX_ERRORS: Final = UDP_UPSTREAM.slot("sess_tx_errors")
