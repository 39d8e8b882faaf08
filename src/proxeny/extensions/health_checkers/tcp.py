"""envoy.health_checkers.tcp: whether a host accepts connections, or answers bytes with bytes.

Without bytes to receive, the connection alone is the check, and nothing is sent. Else what is sent goes out with each
check over one connection (``reuse_connection``), and what must come back is looked for in all that came since the last
success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, FilterStatus, NetworkFilter
from proxeny.network.proxy_protocol_header import local_v2_header, v1_header
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.health_check.payload import compile_payload, contains_in_order

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.connection import ClientConnection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.health_check.contract import ProbeOwner

NO_FLUSH: Final = ConnectionCloseType.NO_FLUSH
_V1: Final = 0


class TcpProber:
    """A compiled ``TcpHealthCheck``."""

    __slots__ = ("buffer_limit", "kind", "proxy_protocol", "receive", "reuse_connection", "send")

    def __init__(self, message: Any, info: ClusterInfo) -> None:
        self.kind = "TCP"
        check = message.tcp_health_check
        self.reuse_connection = message.reuse_connection.value if message.HasField("reuse_connection") else True
        has_text = check.send.WhichOneof("payload") == "text"
        # Envoy looks at the text alone; binary bytes are not sent.
        self.send = compile_payload(check.send) if has_text else b""
        self.receive = tuple([compile_payload(payload) for payload in check.receive])
        self.proxy_protocol = check.proxy_protocol_config.version if check.HasField("proxy_protocol_config") else None
        self.buffer_limit = info.per_connection_buffer_limit

    def create(self, owner: ProbeOwner) -> TcpProbe:
        """The checks of one host."""
        return TcpProbe(self, owner)


class TcpProbe(NetworkFilter):
    """The checks of one host: the read filter and the callbacks of their connection."""

    __slots__ = ("_client", "_owner", "_prober", "_received")

    def __init__(self, prober: TcpProber, owner: ProbeOwner) -> None:
        self._prober = prober
        self._owner = owner
        self._client: ClientConnection | None = None
        self._received = bytearray()

    def check(self) -> None:
        """Connect if need be, and send."""
        client = self._client
        if client is None:
            client = self._client = self._owner.connect()
            client.add_filter(self)
            client.add_connection_callbacks(self)
            client.connect()
        elif client.connected_ns:
            self._send(client)

    def _send(self, client: ClientConnection) -> None:
        data = self._proxy_header(client) + self._prober.send
        if data:
            client.write(data, False)

    def _proxy_header(self, client: ClientConnection) -> bytes:
        version = self._prober.proxy_protocol
        if version is None:
            return b""
        if version != _V1:
            return local_v2_header()
        info = client.connection_info
        return v1_header(info.local_address, info.remote_address)

    def on_event(self, event: ConnectionEvent) -> None:
        """Connected: that may be all; closed: unless we did it, the check failed."""
        client = self._client
        if client is None:
            return
        if event is not ConnectionEvent.CONNECTED:
            self._forget()
            self._owner.failed(FailureType.NETWORK)
        elif self._prober.receive:
            client.initialize_read_filters()
            self._send(client)
        else:
            self._hang_up()
            self._owner.succeeded()

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes of an answer; of what never matches only so much is kept as a connection may buffer."""
        received = self._received
        received += data.take()
        limit = self._prober.buffer_limit
        if limit and len(received) > limit:
            del received[:-limit]
        if self._client is not None and contains_in_order(self._prober.receive, received):
            received.clear()
            if not self._prober.reuse_connection:
                self._hang_up()
            self._owner.succeeded()
        return FilterStatus.STOP_ITERATION

    def _forget(self) -> ClientConnection | None:
        client, self._client = self._client, None
        self._received.clear()
        return client

    def _hang_up(self) -> None:
        client = self._forget()
        if client is not None:
            client.close(NO_FLUSH)

    def on_timeout(self) -> None:
        """Give the connection up."""
        self._hang_up()

    def close(self) -> None:
        """The host goes."""
        self._hang_up()


class TcpHealthCheckerFactory:
    """Compiles ``tcp_health_check``."""

    def compile(self, message: Any, cluster: Any, info: ClusterInfo, context: FactoryContext) -> TcpProber:
        """ConfigError for what is no hexadecimal text."""
        return TcpProber(message, info)


FACTORY = TcpHealthCheckerFactory()
