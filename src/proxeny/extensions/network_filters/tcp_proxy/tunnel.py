"""``tunneling_config``: the session's bytes as the body of a CONNECT or POST (Envoy: ``TcpProxy::HttpUpstream``).

Until the response's head says that the tunnel is open, a failure is one of the pool: the proxy may try again. What the
pool speaks decides how much a tunnel costs: HTTP/2 carries many of them on one connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.formatter.substitution import compile as compile_formatter
from proxeny.http.codec import ResponseDecoder, StreamResetReason
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.filter import ConnectionEvent
from proxeny.network.stream_info import ResponseFlag
from proxeny.pool.cluster_stats import (
    UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL,
    UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL,
)
from proxeny.pool.failure import CancelPolicy, PoolFailureReason
from proxeny.router.header_mutation import compile_mutation

if TYPE_CHECKING:
    from proxeny.extensions.network_filters.tcp_proxy.proxy import TcpProxy
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.failure import Cancellable
    from proxeny.upstream.host import Host

LOCAL_CLOSE: Final = ConnectionEvent.LOCAL_CLOSE
LOCAL_RESET: Final = StreamResetReason.LOCAL_RESET
RESPONSE_HEADERS: Final = "envoy.tcp_proxy.propagate_response_headers"
RESPONSE_TRAILERS: Final = "envoy.tcp_proxy.propagate_response_trailers"


class Tunneling:
    """The compiled ``TunnelingConfig``."""

    __slots__ = ("_hostname", "_method", "_mutation", "_path", "keeps_headers", "keeps_trailers")

    def __init__(self, message: Any) -> None:
        if message.post_path and not message.use_post:
            raise ConfigError("Can't set a post path when POST method isn't used")
        self._hostname = compile_formatter(message.hostname)
        self._method = b"POST" if message.use_post else b"CONNECT"
        self._path = (message.post_path or "/").encode() if message.use_post else b""
        self._mutation = compile_mutation(message.headers_to_add, ())
        self.keeps_headers: bool = message.propagate_response_headers
        self.keeps_trailers: bool = message.propagate_response_trailers

    def request(self, info: Any, secure: bool) -> HeaderMap:
        """The head that opens a tunnel for the session ``info`` tells of; ``secure``: over TLS."""
        host = self._hostname.format(None, None, None, info)
        headers = HeaderMap([(b":method", self._method), (b":authority", host)])
        if self._path:
            headers.add(b":path", self._path)
            headers.add(b":scheme", b"https" if secure else b"http")
        if self._mutation is not None:
            self._mutation.evaluate(headers, headers, None, info)
        return headers


class FieldsState:
    """A response's head or trailers in the filter state of a session, for logs."""

    __slots__ = ("_fields",)

    def __init__(self, headers: HeaderMap) -> None:
        self._fields = headers.items()

    def serialize_as_proto(self) -> Any:
        """As Envoy's message of the same."""
        return {"headers": [{"key": name.decode("latin-1"), "value": v.decode("latin-1")} for name, v in self._fields]}


class TunnelUpstream(ResponseDecoder):
    """One tunnel: asks for a stream, opens it, and is the upstream of its session then."""

    __slots__ = (
        "_config",
        "_encoder",
        "_handle",
        "_open",
        "_read_ended",
        "_write_ended",
        "connection",
        "host",
        "proxy",
    )

    connection: ClientConnection
    """What carries it; once there is a stream."""

    def __init__(self, proxy: TcpProxy, config: Tunneling, host: Host) -> None:
        self.proxy: TcpProxy | None = proxy
        """None once nobody wants to hear of it."""
        self.host = host
        self._config = config
        self._encoder: Any = None
        self._handle: Cancellable | None = None
        self._open = False
        self._read_ended = False
        self._write_ended = False

    remote_reset = False
    """What ends a tunnel is never a RST of TCP."""

    # Asking

    def start(self, pool: Any) -> None:
        """Ask for a stream."""
        handle = pool.new_stream(self, self)
        if self._encoder is None and self.proxy is not None:
            self._handle = handle

    def cancel(self, policy: CancelPolicy = CancelPolicy.DEFAULT) -> None:
        """The session is over before the tunnel was open."""
        self.proxy = None
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel(policy)
        self._give_up()

    def on_pool_ready(self, encoder: Any, host: Host, codec_client: Any) -> None:
        """A stream: open the tunnel."""
        self._handle = None
        proxy = self.proxy
        assert proxy is not None
        self._encoder = encoder
        self.host = host
        encoder.stream.callbacks = self
        info = proxy.connection.stream_info
        info.upstream_host = host
        info.upstream_stream = encoder.stream
        self.connection = codec_client.connection
        error = encoder.encode_headers(self._config.request(info, self.host.transport_socket.factory.secure), False)
        if error is not None:
            self._give_up()
            self._fail()

    def on_pool_failure(self, reason: PoolFailureReason, details: str, host: Host | None) -> None:
        """No stream."""
        self._handle = None
        proxy, self.proxy = self.proxy, None
        if proxy is not None:
            proxy.on_pool_failure(reason, details, host)

    def _fail(self) -> None:
        proxy, self.proxy = self.proxy, None
        if proxy is not None:
            proxy.on_pool_failure(PoolFailureReason.REMOTE_CONNECTION_FAILURE, "", self.host)

    def _give_up(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.stream.callbacks = None
            encoder.stream.reset_stream(LOCAL_RESET)

    # The response

    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        """Of no interest."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Open, or refused."""
        proxy = self.proxy
        if proxy is None:
            return
        if self._config.keeps_headers:
            proxy.connection.stream_info.filter_state[RESPONSE_HEADERS] = FieldsState(headers)
        status = headers.get(b":status") or b""
        framed = self._encoder is not None and self._encoder.stream.framed
        opens = status == b"200" if framed else len(status) == 3 and status[:1] == b"2"
        if end_stream or not opens:
            self._give_up()
            self._fail()
            return
        self._open = True
        proxy.on_tunnel_open(self)

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Bytes for the client."""
        proxy = self.proxy
        if proxy is not None:
            proxy.on_upstream_data(data, end_stream)
        if end_stream:
            self._done_reading()

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """The end of the tunnel's bytes."""
        proxy = self.proxy
        if proxy is not None:
            if self._config.keeps_trailers:
                proxy.connection.stream_info.filter_state[RESPONSE_TRAILERS] = FieldsState(trailers)
            proxy.on_upstream_data(Buffer(), True)
        self._done_reading()

    # The session's side, as TcpUpstream's

    def send(self, data: Buffer, end_stream: bool) -> None:
        """Bytes of the client."""
        encoder = self._encoder
        if encoder is None:
            data.clear()
            return
        if data.length or end_stream:
            encoder.encode_data(data, end_stream)
        if end_stream:
            self._write_ended = True
            self._check_ended()

    def read_disable(self, disable: bool) -> None:
        """The client's write buffer is full, or no longer is."""
        if self._encoder is None:
            return
        self._encoder.stream.read_disable(disable)
        self.host.cluster.stats.inc(
            UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL if disable else UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL
        )

    def on_downstream_closed(self, event: ConnectionEvent, was_reset: bool) -> None:
        """The client is gone: so is the tunnel."""
        self.proxy = None
        self._give_up()

    def _done_reading(self) -> None:
        self._read_ended = True
        self._check_ended()

    def _check_ended(self) -> None:
        """Both directions ended: that is the session's end."""
        if self._read_ended and self._write_ended:
            self._end()

    def _end(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.stream.callbacks = None
        proxy, self.proxy = self.proxy, None
        if proxy is not None:
            proxy.on_upstream_closed(LOCAL_CLOSE)

    # The stream

    def on_reset_stream(self, reason: StreamResetReason, details: str) -> None:
        """The tunnel broke, or never opened."""
        self._encoder = None
        if self._open:
            if self.proxy is not None and reason is StreamResetReason.REMOTE_RESET:
                self.proxy.connection.stream_info.set_flag(ResponseFlag.UPSTREAM_REMOTE_RESET)
            self._end()
        else:
            self._fail()

    def on_above_write_buffer_high_watermark(self) -> None:
        """The upstream takes less than the client sends."""
        if self.proxy is not None:
            self.proxy.read_disable_downstream(True)

    def on_below_write_buffer_low_watermark(self) -> None:
        """It has caught up."""
        if self.proxy is not None:
            self.proxy.read_disable_downstream(False)

    def __repr__(self) -> str:
        return f"<TunnelUpstream {self.host!r} open={self._open}>"
