"""The sessions of one proxy to one cluster (Envoy: ``UdpProxyFilter::ClusterInfo``): found by flow, ended by host."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from proxeny.extensions.udp_filters.udp_proxy.session import Session
from proxeny.extensions.udp_filters.udp_proxy.stats import UDP_UPSTREAM, UPSTREAM_TX_ERRORS
from proxeny.network.stream_info import ResponseFlag
from proxeny.upstream.host import Health
from proxeny.upstream.stats import UPSTREAM_CX_OVERFLOW

if TYPE_CHECKING:
    from proxeny.extensions.udp_filters.udp_proxy.proxy import UdpProxy
    from proxeny.upstream.host import Host
    from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

log = logging.getLogger("proxeny.filter")


class ClusterSessions:
    """Makes and finds the sessions to the hosts of one cluster."""

    __slots__ = ("_by_host", "_connections", "_sessions", "cluster", "proxy", "stats")

    def __init__(self, proxy: UdpProxy, cluster: ThreadLocalCluster) -> None:
        self.proxy = proxy
        self.cluster = cluster
        self.stats = proxy.config.context.stats.block(UDP_UPSTREAM, f"{cluster.info.stat_prefix}udp.")
        self._connections = cluster.info.resource_manager(0).connections
        self._sessions: dict[Any, Session] = {}
        self._by_host: dict[Host, dict[Session, None]] = {}
        cluster.priority_set.removal_callbacks[self._on_hosts_removed] = None

    def on_data(self, flow: bytes, data: bytes) -> None:
        """A datagram for this cluster; its flow stays with its host as long as it can."""
        session = self._sessions.get(flow)
        if session is None:
            session = self._create(flow, flow, self._choose_host(flow))
        else:
            host = session.host
            if host is not None and host.health_flags and host.health is Health.UNHEALTHY:
                session = self._away_from(session, flow)
        if session is not None:
            session.forward(data)

    def on_data_per_packet(self, flow: bytes, data: bytes) -> None:
        """A datagram for this cluster under per-packet load balancing: a flow has a session with every host."""
        host = self._choose_host(flow)
        if host is None:
            return
        key = (flow, host)
        session = self._sessions.get(key)
        if session is None:
            session = self._create(flow, key, host)
        if session is not None:
            session.forward(data)

    def _choose_host(self, flow: bytes) -> Host | None:
        return self.cluster.choose_host(self.proxy.config.load_balancer_context(flow))

    def _away_from(self, session: Session, flow: bytes) -> Session | None:
        """The host became unhealthy: begin anew with a better one, if there is one."""
        host = self._choose_host(flow)
        if host is None or host is session.host or host.health is Health.UNHEALTHY:
            return session
        self.remove(session)
        return self._create(flow, flow, host)

    def _create(self, flow: bytes, key: Any, host: Host | None) -> Session | None:
        if host is None:
            return None
        session = Session(self, flow, key)
        if not self._connections.try_acquire():
            self.cluster.info.stats.inc(UPSTREAM_CX_OVERFLOW)
            session.refuse(ResponseFlag.UPSTREAM_OVERFLOW)
            return None
        try:
            session.start(host)
        except OSError as error:
            self._connections.dec()
            log.debug("%r has no socket: %s", session, error)
            self.stats.inc(UPSTREAM_TX_ERRORS)
            session.refuse(ResponseFlag.UPSTREAM_CONNECTION_FAILURE)
            return None
        self._sessions[key] = session
        self._by_host.setdefault(host, {})[session] = None
        return session

    def remove(self, session: Session) -> None:
        """A session ends."""
        del self._sessions[session.key]
        host = session.host
        if host is not None:
            of_host = self._by_host[host]
            del of_host[session]
            if not of_host:
                del self._by_host[host]
        self._connections.dec()
        session.end()

    def _on_hosts_removed(self, hosts: list[Host]) -> None:
        for host in hosts:
            for session in list(self._by_host.get(host, ())):
                self.remove(session)

    def close(self) -> None:
        """All sessions end."""
        self.cluster.priority_set.removal_callbacks.pop(self._on_hosts_removed, None)
        for session in list(self._sessions.values()):
            self.remove(session)

    def __len__(self) -> int:
        return len(self._sessions)
