"""The factories of TLS transports (Envoy: ``ServerSslSocketFactory``, ``ClientSslSocketFactory``).

A factory holds its current context, which new secrets replace; connections keep the one that they began with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.extensions.transport_sockets.tls.stats import DOWNSTREAM_NOT_READY, SOCKET_FACTORY, UPSTREAM_NOT_READY
from proxeny.kernel.tls import NotReadyTransport, TlsTransport
from proxeny.kernel.tls_context import alpn_wire
from proxeny.network.ssl_connection import SslConnectionInfo
from proxeny.network.transport_socket import DownstreamTransportSocketFactory, UpstreamTransportSocketFactory

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.extensions.transport_sockets.tls.key_log import KeyLogFile
    from proxeny.kernel.stats import Block
    from proxeny.kernel.stream import Transport
    from proxeny.kernel.tls_context import TlsContext
    from proxeny.network.connection import ClientConnection, Connection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import TransportSocketOptions, UpstreamHost

SERVER: Final = "server_ssl_socket_factory."
CLIENT: Final = "client_ssl_socket_factory."


class ContextHolder:
    """The current context, None while a secret is missing, and where secrets of its sessions are written down."""

    __slots__ = ("__weakref__", "context", "key_log")

    def __init__(self, context: TlsContext | None = None) -> None:
        self.context = context
        self.key_log: KeyLogFile | None = None


class TlsDownstreamFactory(DownstreamTransportSocketFactory):
    """TLS as a server."""

    __slots__ = ("_stats", "holder")

    secure = True

    def __init__(self, holder: ContextHolder, scope: str, context: FactoryContext) -> None:
        self.holder = holder
        self._stats: Block = context.stats.block(SOCKET_FACTORY, scope + SERVER)

    def create(self, connection: Connection) -> Transport:
        """A session that waits for its ClientHello."""
        context = self.holder.context
        if context is None:
            self._stats.inc(DOWNSTREAM_NOT_READY)
            return NotReadyTransport()
        transport = TlsTransport(context)
        if self.holder.key_log is not None:
            transport.key_log = self.holder.key_log.writer(connection)
        connection.connection_info.ssl = SslConnectionInfo(transport)
        return transport


class TlsUpstreamFactory(UpstreamTransportSocketFactory):
    """TLS as a client; ``server_name`` is ``sni``, before which goes the host's name with ``auto_host_sni``."""

    __slots__ = ("_auto_host_sni", "_stats", "default_server_name_indication", "holder")

    secure = True
    supports_alpn = True
    uses_options = True

    def __init__(
        self, holder: ContextHolder, scope: str, context: FactoryContext, server_name: str, auto_host_sni: bool = False
    ) -> None:
        self.holder = holder
        self._auto_host_sni = auto_host_sni
        self.default_server_name_indication = server_name
        self._stats: Block = context.stats.block(SOCKET_FACTORY, scope + CLIENT)

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport:
        """A session that begins when the socket is connected."""
        context = self.holder.context
        if context is None:
            self._stats.inc(UPSTREAM_NOT_READY)
            return NotReadyTransport()
        name, alpn = self.default_server_name_indication, None
        if self._auto_host_sni:
            name = host.hostname or name
        if options is not None:
            name = options.server_name_override or name
            protocols = options.alpn_override or (() if context.alpn else options.alpn_fallback)
            if protocols:
                alpn = alpn_wire([protocol.encode() for protocol in protocols])
        transport = TlsTransport(context, name.encode("utf-8", "surrogateescape"), alpn, options)
        if self.holder.key_log is not None:
            transport.key_log = self.holder.key_log.writer(connection)
        connection.connection_info.ssl = SslConnectionInfo(transport)
        return transport

    def hash_key(self, options: TransportSocketOptions | None) -> tuple[Hashable, ...]:
        """Sessions that ask for different names, or verify different ones, are not shared."""
        return () if options is None else options.tls_key()
