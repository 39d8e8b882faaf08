"""``envoy.filters.connection_pools.http.tcp``: a request's body as plain bytes on a connection of its own.

Envoy: ``Upstreams::Http::Tcp``. The upstream speaks no HTTP: the answer to the request's head is a 200 of our own, made
once the connection is there; what the upstream sends is the answer's body, its end of stream the answer's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.codec import StreamCallbacks, StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.filter import (
    ConnectionCallbacks,
    ConnectionCloseType,
    ConnectionEvent,
    ConnectionState,
    FilterStatus,
    NetworkFilter,
)
from proxeny.router.connect_config import proxy_header

if TYPE_CHECKING:
    from proxeny.http.codec import CodecError, ResponseDecoder
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.failure import Cancellable, HttpPoolCallbacks, PoolFailureReason
    from proxeny.pool.tcp import ActiveTcpClient
    from proxeny.router.filter import RouterFilter
    from proxeny.upstream.host import Host
    from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

CONNECTED = ConnectionEvent.CONNECTED
OPEN = ConnectionState.OPEN
NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONTINUE = FilterStatus.CONTINUE


class TcpUpstream(NetworkFilter, ConnectionCallbacks):
    """One tunnel: the request encoder, its stream, and the connection's only reader."""

    __slots__ = ("_client", "_ended", "_router", "bytes_received", "bytes_sent", "callbacks", "decoder", "protocol")

    framed = True
    header_bytes_sent = header_bytes_received = decompressed_sent = decompressed_received = 0
    """Plain bytes have no headers."""

    connection: ClientConnection

    def __init__(
        self, connection: ClientConnection, decoder: ResponseDecoder, router: RouterFilter, client: ActiveTcpClient
    ) -> None:
        self.decoder: ResponseDecoder | None = decoder
        """None once the answer is complete, or the request was given up."""
        self.callbacks: StreamCallbacks | None = None
        self.protocol = ""
        self.bytes_received = self.bytes_sent = 0
        self._router: RouterFilter | None = router
        self._client: ActiveTcpClient | None = client
        self._ended = False
        """Whether the request is complete."""
        connection.enable_half_close(True)
        connection.add_connection_callbacks(self)
        connection.add_filter(self)
        connection.initialize_read_filters()

    @property
    def stream(self) -> TcpUpstream:
        """The stream of this encoder."""
        return self

    @property
    def tunnel_connection(self) -> ClientConnection:
        """The connection under it: a tunnel's bytes may go there directly."""
        return self.connection

    # RequestEncoder

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> CodecError | None:
        """Nothing of the head is sent but a PROXY header, if the route wants one; the 200 follows at once."""
        router, decoder = self._router, self.decoder
        self._router = None
        assert router is not None and decoder is not None
        connect = router.entry.policy.connect
        start = b""
        if connect is not None and connect.proxy_protocol is not None:
            start = proxy_header(connect.proxy_protocol, router.downstream_connection.connection_info)
        if start or end_stream:
            self._write(Buffer(start), end_stream)
        decoder.decode_headers(HeaderMap(((b":status", b"200"),)), False)
        return None

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: moved out of ``data``."""
        self._write(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """The end of the request; there is nowhere to put trailers."""
        self._write(Buffer(), True)

    def _write(self, data: Buffer, end_stream: bool) -> None:
        self.bytes_sent += data.length
        self._ended = self._ended or end_stream
        self.connection.write(data, end_stream)

    # Stream

    def reset_stream(self, reason: StreamResetReason) -> None:
        """Give the tunnel up."""
        self.decoder = self.callbacks = None
        self.connection.close(NO_FLUSH)

    def read_disable(self, disable: bool) -> None:
        """Stop or resume reading from the upstream (counted)."""
        if self.connection.state is OPEN:
            self.connection.read_disable(disable)

    # The connection

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes, or the end of the stream, from the upstream."""
        decoder = self.decoder
        if decoder is None:
            data.clear()
            return CONTINUE
        self.bytes_received += data.length
        if end_stream:
            # A reset behind the end of the stream is no second end.
            self.decoder = self.callbacks = None
            client, self._client = self._client, None
            if client is not None and self._ended:
                client.end_stream()
        decoder.decode_data(data, end_stream)
        return CONTINUE

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection closed."""
        callbacks = self.callbacks
        if event is not CONNECTED and callbacks is not None:
            self.decoder = self.callbacks = None
            callbacks.on_reset_stream(StreamResetReason.CONNECTION_TERMINATION, "")

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes less than the client sends."""
        if self.callbacks is not None:
            self.callbacks.on_above_write_buffer_high_watermark()

    def on_below_write_buffer_low_watermark(self) -> None:
        """It has caught up."""
        if self.callbacks is not None:
            self.callbacks.on_below_write_buffer_low_watermark()

    def __repr__(self) -> str:
        return f"<TcpUpstream {getattr(self, 'connection', None)!r}>"


class TcpUpstreamPool:
    """A TCP pool that looks like an HTTP pool; for one request."""

    __slots__ = ("_callbacks", "_decoder", "_pool", "_router", "client")

    client: ActiveTcpClient
    """Set by the pool, just before it is ready."""

    def __init__(self, cluster: ThreadLocalCluster, host: Host, router: RouterFilter) -> None:
        options = router.decoder_callbacks.upstream_options
        self._pool = cluster.tcp_pool(host, router.entry.policy.priority, options, router)
        self._router = router
        self._decoder: Any = None
        self._callbacks: Any = None

    def new_stream(self, response_decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) -> Cancellable | None:
        """As HttpConnPool.new_stream."""
        self._decoder = response_decoder
        self._callbacks = callbacks
        return self._pool.new_connection(self, self)

    def on_pool_ready(self, connection: ClientConnection, host: Host) -> None:
        """The connection is there."""
        upstream = TcpUpstream(connection, self._decoder, self._router, self.client)
        self._callbacks.on_pool_ready(upstream, host, upstream)

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Host | None) -> None:
        """There is none."""
        self._callbacks.on_pool_failure(reason, details, host)


class TcpPoolFactory:
    """Plain bytes for every request."""

    def pool(self, cluster: ThreadLocalCluster, host: Host, tunnel: bool, router: RouterFilter) -> Any:
        """As GenericPoolFactory."""
        return TcpUpstreamPool(cluster, host, router)


FACTORY = TcpPoolFactory()
