"""One UDP session (Envoy: ``UdpProxyFilter::ActiveSession``): a downstream flow and the socket to its upstream host."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Any, Final

from proxeny.access_log.access_log import UDP_PERIODIC, UDP_SESSION_END
from proxeny.extensions.udp_filters.udp_proxy.stats import (
    IDLE_TIMEOUT,
    SESS_ACTIVE,
    SESS_RX_BYTES,
    SESS_RX_DATAGRAMS,
    SESS_TOTAL,
    SESS_TX_BYTES,
    SESS_TX_DATAGRAMS,
    SESS_TX_ERRORS,
    UPSTREAM_RX_DATAGRAMS,
    UPSTREAM_RX_DROPPED,
    UPSTREAM_RX_ERRORS,
    UPSTREAM_TX_DATAGRAMS,
    UPSTREAM_TX_ERRORS,
)
from proxeny.kernel.datagrams import DatagramSocket
from proxeny.kernel.sockets import bind_to, close_descriptor, connect_to, local_sockaddr, open_socket, set_option
from proxeny.listener.udp_config import UDP_GRO
from proxeny.listener.udp_filter import local_of, peer_of
from proxeny.network.address import from_sockaddr, ip_address
from proxeny.network.socket_options import SO_RXQ_OVFL, SocketState, apply_options, transparent_options
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo
from proxeny.upstream.stats import UPSTREAM_CX_RX_BYTES_TOTAL, UPSTREAM_CX_TX_BYTES_TOTAL

if TYPE_CHECKING:
    from proxeny.extensions.udp_filters.udp_proxy.cluster_sessions import ClusterSessions
    from proxeny.network.address import Address
    from proxeny.upstream.host import Host

METADATA: Final = "udp.proxy.session"

_next_id = itertools.count().__next__


class Session(DatagramSocket):
    """Datagrams of one flow go to one host, and those that come back to the flow's peer. Itself the upstream socket."""

    __slots__ = (
        "_cluster_stats",
        "_connected",
        "_flow",
        "_flush_timer",
        "_idle_ms",
        "_idle_timer",
        "_info",
        "_proxy",
        "_sessions",
        "_source",
        "_stats",
        "_upstream_stats",
        "host",
        "key",
        "rx_bytes",
        "rx_datagrams",
        "tx_bytes",
        "tx_datagrams",
        "tx_errors",
    )

    def __init__(self, sessions: ClusterSessions, flow: bytes, key: Any) -> None:
        proxy = sessions.proxy
        config = proxy.config
        dispatcher = proxy.callbacks.dispatcher
        self.key = key
        """What it is found by: the flow, with the host under per-packet load balancing."""
        self.host: Host | None = None
        self._sessions = sessions
        self._flow = flow
        self._proxy = proxy
        self._stats = config.stats
        self._upstream_stats = sessions.stats
        self._cluster_stats = sessions.cluster.info.stats
        self._connected = False
        self._source = b""
        self._idle_ms = config.idle_timeout_ms
        self._idle_timer = dispatcher.create_timer(self._on_idle)
        self._flush_timer = dispatcher.create_timer(self._on_flush) if config.flush_interval_ms else None
        self.rx_bytes = self.rx_datagrams = 0
        self.tx_bytes = self.tx_datagrams = self.tx_errors = 0
        self._info: StreamInfo | None = None
        """For access logs."""
        if config.access_logs:
            info = ConnectionInfo(local_of(flow), peer_of(flow), _next_id())
            self._info = StreamInfo(info, dispatcher.system_time(), dispatcher.monotonic_ns())
            self._info.stream_id = config.context.random.uuid()
        self._stats.inc(SESS_TOTAL)
        self._stats.inc(SESS_ACTIVE)

    def start(self, host: Host) -> None:
        """Open the socket to the host; OSError when the system has none left."""
        config = self._proxy.config
        address = host.address
        self.host = host
        if self._info is not None:
            self._info.upstream_host = host
        fd = open_socket(address.family, socket.SOCK_DGRAM)
        try:
            set_option(fd, socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            if config.upstream_socket.prefer_gro:
                set_option(fd, socket.IPPROTO_UDP, UDP_GRO, 1)
            if config.use_original_src_ip:
                self._source = _source_for(address.family, peer_of(self._flow))
                apply_options(fd, transparent_options(address.family), SocketState.PREBIND)
            local = host.cluster.local_address_to(host.address)
            apply_options(fd, local.options, SocketState.PREBIND)
            source = local.address
            if source is not None and not config.use_original_src_ip:
                bind_to(fd, source.sockaddr)
            self.open(self._proxy.callbacks.dispatcher.poller, fd, self._proxy.arena)
        except BaseException:
            close_descriptor(fd)
            raise
        if self._flush_timer is not None:
            self._flush_timer.enable(config.flush_interval_ms)

    # -- downstream to upstream --------------------------------------------------------------------------------

    def forward(self, data: bytes) -> None:
        """A datagram of the flow's peer."""
        size = len(data)
        stats = self._stats
        stats.add(SESS_RX_BYTES, size)
        stats.inc(SESS_RX_DATAGRAMS)
        self.rx_bytes += size
        self.rx_datagrams += 1
        self._idle_timer.enable(self._idle_ms)
        if self._write_upstream(data):
            self._upstream_stats.inc(UPSTREAM_TX_ERRORS)
        else:
            self._upstream_stats.inc(UPSTREAM_TX_DATAGRAMS)
            self._cluster_stats.add(UPSTREAM_CX_TX_BYTES_TOTAL, size)

    def _write_upstream(self, data: bytes) -> int:
        if self._connected:
            return self.send(data)
        assert self.host is not None
        to = self.host.address.sockaddr
        if self._proxy.config.use_original_src_ip:
            # Not connected: the source address is the peer's, with every datagram.
            return self.send_to(data, to, self._source)
        error = connect_to(self.fd, to)
        if error:
            return error
        self._connected = True
        if self._info is not None:
            self._info.upstream_addresses = (from_sockaddr(local_sockaddr(self.fd)), self.host.address)
        return self.send(data)

    # -- upstream to downstream --------------------------------------------------------------------------------

    def on_datagram(self, flow: bytes | None, data: bytes) -> None:
        """A datagram of the upstream host."""
        size = len(data)
        self._upstream_stats.inc(UPSTREAM_RX_DATAGRAMS)
        self._cluster_stats.add(UPSTREAM_CX_RX_BYTES_TOTAL, size)
        stats = self._stats
        if self._proxy.callbacks.reply(self._flow, data):
            stats.inc(SESS_TX_ERRORS)
            self.tx_errors += 1
            return
        stats.add(SESS_TX_BYTES, size)
        stats.inc(SESS_TX_DATAGRAMS)
        self.tx_bytes += size
        self.tx_datagrams += 1

    def on_received(self) -> None:
        """Something came: the session lives."""
        self._idle_timer.enable(self._idle_ms)

    def on_receive_error(self, error: int) -> None:
        """Mostly that nobody listens there (ICMP port unreachable)."""
        self._upstream_stats.inc(UPSTREAM_RX_ERRORS)

    def on_dropped(self, count: int) -> None:
        """Datagrams of the host were lost."""
        self._upstream_stats.add(UPSTREAM_RX_DROPPED, count)

    # -- the end -----------------------------------------------------------------------------------------------

    def _on_idle(self) -> None:
        self._stats.inc(IDLE_TIMEOUT)
        self._sessions.remove(self)

    def _on_flush(self) -> None:
        self._log(UDP_PERIODIC)
        if self._flush_timer is not None:
            self._flush_timer.enable(self._proxy.config.flush_interval_ms)

    def refuse(self, flag: ResponseFlag) -> None:
        """It never got a host."""
        if self._info is not None:
            self._info.set_flag(flag)
        self.end()

    def end(self) -> None:
        """Close the socket, log and count; whoever keeps it forgets it."""
        self._idle_timer.close()
        if self._flush_timer is not None:
            self._flush_timer.close()
            self._flush_timer = None
        self.close()
        self._stats.dec(SESS_ACTIVE)
        if self._info is not None:
            self._info.end_ns = self._proxy.callbacks.dispatcher.monotonic_ns()
            self._log(UDP_SESSION_END)

    def _log(self, log_type: bytes) -> None:
        info = self._info
        if info is None:
            return
        info.bytes_received, info.bytes_sent = self.rx_bytes, self.tx_bytes
        info.dynamic_metadata[METADATA] = {
            "bytes_received": self.rx_bytes,
            "bytes_sent": self.tx_bytes,
            "cluster_name": self._sessions.cluster.info.name,
            "datagrams_received": self.rx_datagrams,
            "datagrams_sent": self.tx_datagrams,
            "errors_sent": self.tx_errors,
        }
        for access_log in self._proxy.config.access_logs:
            access_log.log(None, None, None, info, log_type)

    def __repr__(self) -> str:
        return f"<Session {peer_of(self._flow).as_string()} to {self.host}>"


def _source_for(family: int, peer: Address) -> bytes:
    """A peer's address as a socket of that family may send from it: an IPv4 peer of an IPv6 listener is one of IPv4."""
    if family == socket.AF_INET and peer.ip_version == 4:
        return ip_address(peer.ip).sockaddr
    return peer.sockaddr
