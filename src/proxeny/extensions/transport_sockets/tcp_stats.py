"""``envoy.transport_sockets.tcp_stats``: what the system's TCP knows of connections.

It is counted when they close and, with ``update_period``, from time to time while they last.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.transport_sockets.passthrough import PassthroughUpstreamFactory
from proxeny.kernel.sockets import get_option
from proxeny.kernel.transports import Observed
from proxeny.network.transport_socket import (
    DownstreamTransportSocketFactory,
    compile_downstream,
    compile_upstream,
)
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.kernel.stream import Stream, Transport
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import ClientConnection, Connection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import TransportSocketOptions, UpstreamHost, UpstreamTransportSocketFactory

_COUNTERS: Final = (
    "cx_tx_segments",
    "cx_rx_segments",
    "cx_tx_data_segments",
    "cx_rx_data_segments",
    "cx_tx_retransmitted_segments",
    "cx_rx_bytes_received",
    "cx_tx_bytes_sent",
)
_GAUGES: Final = ("cx_tx_unsent_bytes", "cx_tx_unacked_segments")
TCP_STATS: Final = Schema(
    "tcp_stats",
    counters=_COUNTERS,
    gauges=_GAUGES,
    histograms=("cx_tx_percent_retransmitted_segments", "cx_rtt_us", "cx_rtt_variance_us"),
    percent_histograms=("cx_tx_percent_retransmitted_segments",),
)
"""Prefix ``listener.<address>.tcp_stats.`` or ``cluster.<name>.tcp_stats.``."""
_TX_DATA: Final = _COUNTERS.index("cx_tx_data_segments")
_RETRANSMITTED: Final = _COUNTERS.index("cx_tx_retransmitted_segments")
_FIRST_GAUGE: Final = len(_COUNTERS)
_PERCENT_RETRANSMITTED: Final = TCP_STATS.slot("cx_tx_percent_retransmitted_segments")
_RTT: Final = TCP_STATS.slot("cx_rtt_us")
_RTT_VARIANCE: Final = TCP_STATS.slot("cx_rtt_variance_us")
_PERCENT_SCALE: Final = 1_000_000

# struct tcp_info (linux/tcp.h): where the fields stand.
_SIZE: Final = 208
_AT: Final = (("I", 136), ("I", 140), ("I", 156), ("I", 152), ("I", 100), ("Q", 128), ("Q", 200), ("I", 144), ("I", 24))
"""Of counters and gauges, in their order."""
_RTT_AT: Final = 68


def read_facts(fd: int) -> tuple[list[int], int, int] | None:
    """Counters and gauges, round-trip time and its variance in microseconds; None where the socket is not TCP."""
    try:
        info = get_option(fd, socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return None
    info = info.ljust(_SIZE, b"\x00")
    facts = [struct.unpack_from(kind, info, at)[0] for kind, at in _AT]
    rtt, variance = struct.unpack_from("II", info, _RTT_AT)
    return facts, rtt, variance


class ConnectionFacts:
    """What was counted of one connection so far."""

    __slots__ = ("_last", "_period_ms", "_stats", "_timer")

    def __init__(self, stats: Block, period_ms: int) -> None:
        self._stats = stats
        self._period_ms = period_ms
        self._last = [0] * len(_AT)
        self._timer: Timer | None = None

    def connected(self, stream: Any) -> None:
        """Count from time to time, if that is wished."""
        if self._period_ms:
            self._timer = stream.dispatcher.create_timer(lambda: self._on_timer(stream))
            self._timer.enable(self._period_ms)

    def _on_timer(self, stream: Stream) -> None:
        self.record(stream.fd)
        if self._timer is not None:
            self._timer.enable(self._period_ms)

    def closing(self, stream: Stream) -> None:
        """The last time; gauges go to zero."""
        self.record(stream.fd)
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        for slot in range(_FIRST_GAUGE, len(_AT)):
            self._stats.sub(slot, self._last[slot])
            self._last[slot] = 0

    def record(self, fd: int) -> None:
        """Add what was not counted yet."""
        found = read_facts(fd)
        if found is None:
            return
        facts, rtt, variance = found
        sent = facts[_TX_DATA] - self._last[_TX_DATA]
        again = facts[_RETRANSMITTED] - self._last[_RETRANSMITTED]
        if sent > 0 and again >= 0:
            self._stats.record(_PERCENT_RETRANSMITTED, again * _PERCENT_SCALE // sent)
        for slot, (fact, last) in enumerate(zip(facts, self._last, strict=True)):
            if fact > last:
                self._stats.add(slot, fact - last)
            elif fact < last and slot >= _FIRST_GAUGE:
                self._stats.sub(slot, last - fact)
        self._last = facts
        self._stats.record(_RTT, rtt)
        self._stats.record(_RTT_VARIANCE, variance)


class Downstream(DownstreamTransportSocketFactory):
    """Of a filter chain."""

    __slots__ = ("_inner", "_period_ms", "_stats", "secure")

    def __init__(self, inner: DownstreamTransportSocketFactory, stats: Block, period_ms: int) -> None:
        self._inner = inner
        self._stats = stats
        self._period_ms = period_ms
        self.secure = inner.secure

    def create(self, connection: Connection) -> Transport:
        """As DownstreamTransportSocketFactory.create."""
        facts = ConnectionFacts(self._stats, self._period_ms)
        # An accepted socket is connected.
        facts.connected(connection)
        return Observed(facts.connected, facts.closing, self._inner.create(connection))


class Upstream(PassthroughUpstreamFactory):
    """Of a cluster."""

    __slots__ = ("_period_ms", "_stats")

    def __init__(self, inner: UpstreamTransportSocketFactory, stats: Block, period_ms: int) -> None:
        super().__init__(inner)
        self._stats = stats
        self._period_ms = period_ms

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport:
        """As UpstreamTransportSocketFactory.create."""
        facts = ConnectionFacts(self._stats, self._period_ms)
        return Observed(facts.connected, facts.closing, self.inner.create(connection, options, host))


def _period_ms(message: Any) -> int:
    return int(message.update_period.ToMilliseconds()) if message.HasField("update_period") else 0


class TcpStatsFactory:
    """Compiles ``envoy.extensions.transport_sockets.tcp_stats.v3.Config``."""

    def create_downstream(self, message: Any, context: FactoryContext) -> Downstream:
        """As TransportSocketExtension.create_downstream."""
        inner = compile_downstream(message.transport_socket, context)
        return Downstream(
            inner, context.stats.block(TCP_STATS, f"{context.listener_scope}tcp_stats."), _period_ms(message)
        )

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> Upstream:
        """As TransportSocketExtension.create_upstream."""
        inner = compile_upstream(message.transport_socket, scope, context)
        return Upstream(inner, context.stats.block(TCP_STATS, f"{scope}tcp_stats."), _period_ms(message))


FACTORY: Final = TcpStatsFactory()
