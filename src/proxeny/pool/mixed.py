"""The pool of ``auto_config`` (Envoy: ``HttpConnPoolImplMixed``): HTTP/2 or HTTP/1, as each TLS handshake says.

A connection is nobody's until then: a ``NegotiatingClient`` waits for it, and gives its place in the pool to the client
of the protocol. As in Envoy it is taken for HTTP/2 beforehand, so that one connection is opened for many requests; how
many streams the host was found to carry is remembered (``Host.known_streams``), so that one of HTTP/1 gets a connection
for each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.network.filter import ConnectionCloseType, ConnectionEvent
from proxeny.pool.base import CLOSED, CONNECTING, ActiveClient
from proxeny.pool.http1 import ActiveHttp1Client
from proxeny.pool.http2 import ActiveHttp2Client, Http2ConnPool

if TYPE_CHECKING:
    from proxeny.network.connection import ClientConnection

NO_FLUSH = ConnectionCloseType.NO_FLUSH
CONNECTED = ConnectionEvent.CONNECTED
HTTP2_ALPN = "h2"
ALPN = (HTTP2_ALPN, "http/1.1")


class NegotiatingClient(ActiveClient):
    """A connection of which it is not known yet what is spoken on it."""

    __slots__ = ()

    def on_event(self, event: ConnectionEvent) -> None:
        """Connected: who speaks the protocol takes over; else it failed."""
        if event is not CONNECTED or self.state is not CONNECTING:
            self.pool.on_connection_event(self, event)
            return
        pool: Any = self.pool
        pool.on_negotiated(self)

    def close(self) -> None:
        """Close the connection now."""
        self.connection.close(NO_FLUSH)


class MixedConnPool(Http2ConnPool):
    """The HTTP connections to one host at one priority, whatever each of them speaks."""

    __slots__ = ()

    def _instantiate_client(self) -> Any:
        connection = self.host.create_connection(self.dispatcher, self.options, ALPN)
        client = NegotiatingClient(self, connection, 0, self._assumed_streams())
        connection.add_connection_callbacks(client)
        connection.connect()
        return client

    def _assumed_streams(self) -> int:
        """How many requests a connection will carry at a time, as far as is known."""
        known = self.host.known_streams
        limit: int = self.cluster.http2_settings.max_concurrent_streams
        return limit if known is None else min(limit, known)

    def on_negotiated(self, client: NegotiatingClient) -> None:
        """The handshake is done: a client of the protocol takes the place of ``client``."""
        connection: ClientConnection = client.connection
        connection.remove_connection_callbacks(client)
        client.stop_timers()
        ssl = connection.connection_info.ssl
        # A server that negotiates nothing is an old one, which speaks HTTP/1.
        speaks_http2 = ssl is not None and ssl.alpn == HTTP2_ALPN
        heir: Any
        if speaks_http2:
            heir = ActiveHttp2Client(self, connection, client)
            heir.assume(self.host.known_streams)
        else:
            self.host.known_streams = 1
            heir = ActiveHttp1Client(self, connection, client)
        del self._connecting[client]
        client.state = CLOSED
        self._connecting[heir] = None
        heir.on_event(CONNECTED)
