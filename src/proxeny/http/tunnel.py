"""A granted upgrade or CONNECT whose bytes nobody wants to see: the kernel moves them, by splice(2) where it pays.

As in the TCP proxy. It needs a chain in which only the router touches bodies, connections without other network
filters, and a codec on both sides that has nothing left to frame. Ends of stream, watermarks and time-outs keep coming
through the codecs and the stream; what was moved is added to its byte counts when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.kernel.splice import SplicePump

if TYPE_CHECKING:
    from proxeny.http.active_stream import ActiveStream


class Tunnel:
    """Both directions of one tunnel."""

    __slots__ = ("_downstream", "_pumps", "_upstream")

    def __init__(self, stream: ActiveStream, upstream: Any) -> None:
        """``upstream``: the request's encoder, whose connection is the other end."""
        near, far = stream.connection, upstream.tunnel_connection
        pool, timer, idle_ms = stream.dispatcher.pipe_pool, stream.idle_timer, stream.idle_timeout_ms
        self._downstream = stream.encoder
        self._upstream = upstream
        self._pumps = (
            SplicePump(near, far, pool, timer, idle_ms, far.buffer_limit),
            SplicePump(far, near, pool, timer, idle_ms, near.buffer_limit),
        )
        for pump in self._pumps:
            pump.attach()

    def finish(self, stream_info: Any) -> None:
        """The stream ends: its byte counts."""
        there, back = self._pumps
        stream_info.bytes_received += there.moved
        stream_info.bytes_sent += back.moved
        self._downstream.bytes_received += there.moved
        self._downstream.bytes_sent += back.moved
        self._upstream.bytes_sent += there.moved
        self._upstream.bytes_received += back.moved

    def statistics(self) -> dict[str, Any]:
        """Facts for admin pages and tests."""
        return {"moved": [pump.moved for pump in self._pumps], "spliced": [pump.spliced for pump in self._pumps]}


def start_tunnel(stream: ActiveStream) -> Tunnel | None:
    """Let the kernel relay what follows; None where somebody wants to see the bytes."""
    if stream.terminal is None or stream.decode_path is not None or stream.encode_path is not None:
        return None
    begin = getattr(stream.terminal, "begin_tunnel", None)
    upstream = begin() if begin is not None else None
    if upstream is None or upstream.tunnel_connection is None:
        return None
    for connection in (stream.connection, upstream.tunnel_connection):
        manager = connection.filter_manager
        if len(manager.read_filters) > 1 or manager.write_filters:
            return None
    return Tunnel(stream, upstream)
