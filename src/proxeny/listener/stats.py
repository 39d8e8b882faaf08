"""Stat schemas of listeners (Envoy: ``ALL_LISTENER_STATS``, ``ALL_PER_HANDLER_LISTENER_STATS``)."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

LISTENER: Final = Schema(
    "listener",
    counters=(
        "downstream_cx_destroy",
        "downstream_cx_overflow",
        "downstream_cx_overload_reject",
        "downstream_cx_total",
        "downstream_cx_transport_socket_connect_timeout",
        "downstream_global_cx_overflow",
        "downstream_listener_filter_error",
        "downstream_listener_filter_remote_close",
        "downstream_pre_cx_timeout",
        "extension_config_missing",
        "network_extension_config_missing",
        "no_filter_chain_match",
    ),
    gauges=("downstream_cx_active", "downstream_pre_cx_active"),
    histograms=("connections_accepted_per_socket_event", "downstream_cx_length_ms"),
)
"""``listener.<address>.*``."""

LISTENER_WORKER: Final = Schema("listener_worker", counters=("downstream_cx_total",), gauges=("downstream_cx_active",))
"""``listener.<address>.worker_<id>.*``; ``main_thread`` for the admin listener."""

UDP_LISTENER: Final = Schema("udp_listener", counters=("downstream_rx_datagram_dropped",))
"""``listener.<address>.udp.*`` of a UDP listener."""

LISTENER_CONNECTIONS: Final = Schema("listener_connections", gauges=("connections",), hidden=True)
"""Its base is the row in the table of limits where a listener's connections are counted."""

ALL_CONNECTIONS: Final = Schema("all_connections", gauges=("connections",), hidden=True)
"""Likewise for those of all listeners."""

PROACTIVE_RESOURCE: Final = Schema("overload_proactive_resource", counters=("failed_updates",), gauges=("pressure",))
"""``overload.<resource monitor>.*`` of a monitor that is asked per use."""

LOAD_SHED_POINT: Final = Schema("load_shed_point", counters=("shed_load_count",), gauges=("scale_percent",))
"""``overload.<load shed point>.*``."""

EXTENSION_CONFIG_MISSING: Final = LISTENER.slot("extension_config_missing")
NETWORK_EXTENSION_CONFIG_MISSING: Final = LISTENER.slot("network_extension_config_missing")
CX_ACTIVE: Final = LISTENER.slot("downstream_cx_active")
CX_DESTROY: Final = LISTENER.slot("downstream_cx_destroy")
CX_LENGTH_MS: Final = LISTENER.slot("downstream_cx_length_ms")
CX_TOTAL: Final = LISTENER.slot("downstream_cx_total")
ACCEPTED_PER_EVENT: Final = LISTENER.slot("connections_accepted_per_socket_event")
LISTENER_FILTER_ERROR: Final = LISTENER.slot("downstream_listener_filter_error")
LISTENER_FILTER_REMOTE_CLOSE: Final = LISTENER.slot("downstream_listener_filter_remote_close")
PRE_CX_ACTIVE: Final = LISTENER.slot("downstream_pre_cx_active")
PRE_CX_TIMEOUT: Final = LISTENER.slot("downstream_pre_cx_timeout")
NO_FILTER_CHAIN_MATCH: Final = LISTENER.slot("no_filter_chain_match")
DATAGRAMS_DROPPED: Final = UDP_LISTENER.slot("downstream_rx_datagram_dropped")
TRANSPORT_SOCKET_CONNECT_TIMEOUT: Final = LISTENER.slot("downstream_cx_transport_socket_connect_timeout")
WORKER_CX_ACTIVE: Final = LISTENER_WORKER.slot("downstream_cx_active")
WORKER_CX_TOTAL: Final = LISTENER_WORKER.slot("downstream_cx_total")
CX_OVERFLOW: Final = LISTENER.slot("downstream_cx_overflow")
CX_OVERLOAD_REJECT: Final = LISTENER.slot("downstream_cx_overload_reject")
GLOBAL_CX_OVERFLOW: Final = LISTENER.slot("downstream_global_cx_overflow")
FAILED_UPDATES: Final = PROACTIVE_RESOURCE.slot("failed_updates")
SHED_LOAD_COUNT: Final = LOAD_SHED_POINT.slot("shed_load_count")
SHED_SCALE_PERCENT: Final = LOAD_SHED_POINT.slot("scale_percent")
