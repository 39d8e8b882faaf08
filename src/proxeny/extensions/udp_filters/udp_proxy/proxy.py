"""UdpProxy: the filter of one address of a listener in one worker (Envoy: ``UdpProxyFilter``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.access_log.access_log import NOT_SET
from proxeny.extensions.udp_filters.udp_proxy.cluster_sessions import ClusterSessions
from proxeny.extensions.udp_filters.udp_proxy.stats import (
    IDLE_TIMEOUT,
    SESS_NO_ROUTE,
    SESS_RX_BYTES,
    SESS_RX_DATAGRAMS,
    SESS_RX_ERRORS,
    SESS_TOTAL,
    SESS_TX_BYTES,
    SESS_TX_DATAGRAMS,
    SESS_TX_ERRORS,
)
from proxeny.kernel.datagrams import DatagramArena
from proxeny.listener.udp_config import MESSAGES_AT_ONCE
from proxeny.listener.udp_filter import UdpListenerFilter
from proxeny.network.connection import UNNAMED
from proxeny.network.filter import FilterStatus
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from proxeny.extensions.udp_filters.udp_proxy.config import UdpProxyConfig
    from proxeny.listener.udp_filter import UdpListenerCallbacks

STOP_ITERATION: Final = FilterStatus.STOP_ITERATION
METADATA: Final = "udp.proxy.proxy"
_TOTALS: Final = (
    ("bytes_received", SESS_RX_BYTES),
    ("bytes_sent", SESS_TX_BYTES),
    ("datagrams_received", SESS_RX_DATAGRAMS),
    ("datagrams_sent", SESS_TX_DATAGRAMS),
    ("errors_received", SESS_RX_ERRORS),
    ("errors_sent", SESS_TX_ERRORS),
    ("idle_timeout", IDLE_TIMEOUT),
    ("no_route", SESS_NO_ROUTE),
    ("session_total", SESS_TOTAL),
)


class UdpProxy(UdpListenerFilter):
    """Keeps sessions between peers and the hosts of clusters."""

    __slots__ = ("_clusters", "_manager", "_start", "arena", "callbacks", "config")

    def __init__(self, config: UdpProxyConfig, callbacks: UdpListenerCallbacks) -> None:
        self.config = config
        self.callbacks = callbacks
        self.arena = DatagramArena(MESSAGES_AT_ONCE, config.upstream_socket.room)
        self._manager = config.context.cluster_manager
        self._clusters: dict[str, ClusterSessions] = {}
        dispatcher = callbacks.dispatcher
        self._start = (dispatcher.system_time(), dispatcher.monotonic_ns())

    def on_data(self, flow: bytes, data: bytes) -> FilterStatus:
        """A datagram: to the session of its flow, in the cluster that it is routed to."""
        name = self.config.router.route(flow)
        cluster = None if name is None else self._manager.get(name)
        if name is None or cluster is None:
            self.config.stats.inc(SESS_NO_ROUTE)
            return STOP_ITERATION
        sessions = self._clusters.get(name)
        if sessions is None or sessions.cluster is not cluster:
            sessions = self._attach(name, cluster)
        if self.config.per_packet:
            sessions.on_data_per_packet(flow, data)
        else:
            sessions.on_data(flow, data)
        return STOP_ITERATION

    def _attach(self, name: str, cluster: object) -> ClusterSessions:
        """The first datagram for a cluster, or for its replacement: the sessions of the old one ended with it."""
        old = self._clusters.pop(name, None)
        if old is not None:
            old.close()
        made = self._clusters[name] = ClusterSessions(self, cluster)  # type: ignore[arg-type]
        return made

    def on_receive_error(self, error: int) -> FilterStatus:
        """Reading the listening socket failed."""
        self.config.stats.inc(SESS_RX_ERRORS)
        return STOP_ITERATION

    def close(self) -> None:
        """All sessions end, then the proxy's own record is written."""
        for sessions in self._clusters.values():
            sessions.close()
        self._clusters.clear()
        self._log()

    def _log(self) -> None:
        if not self.config.proxy_access_logs:
            return
        info = StreamInfo(ConnectionInfo(UNNAMED, UNNAMED, 0), *self._start)
        info.end_ns = self.callbacks.dispatcher.monotonic_ns()
        stats = self.config.stats
        info.bytes_received, info.bytes_sent = stats.get(SESS_RX_BYTES), stats.get(SESS_TX_BYTES)
        info.dynamic_metadata[METADATA] = {name: stats.get(slot) for name, slot in _TOTALS}
        for access_log in self.config.proxy_access_logs:
            access_log.log(None, None, None, info, NOT_SET)
