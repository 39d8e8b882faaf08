"""``envoy.transport_sockets.starttls``: plain bytes until a filter asks for TLS.

(``Connection.start_secure_transport``, as filters of protocols that begin in plain text do.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.transport_sockets.passthrough import PassthroughUpstreamFactory
from proxeny.kernel.transports import StartTls
from proxeny.network.transport_socket import KIND, DownstreamTransportSocketFactory
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.kernel.stream import Transport
    from proxeny.network.connection import ClientConnection, Connection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import TransportSocketOptions, UpstreamHost

TLS: Final = "envoy.transport_sockets.tls"


class Downstream(DownstreamTransportSocketFactory):
    """Of a filter chain."""

    __slots__ = ("_secure",)

    secure = True

    def __init__(self, secure: DownstreamTransportSocketFactory) -> None:
        self._secure = secure

    def create(self, connection: Connection) -> Transport | None:
        """As DownstreamTransportSocketFactory.create."""
        return _before(self._secure.create(connection))


class Upstream(PassthroughUpstreamFactory):
    """Of a cluster."""

    __slots__ = ()

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport | None:
        """As UpstreamTransportSocketFactory.create."""
        return _before(self.inner.create(connection, options, host))


def _before(secure: Transport | None) -> Transport | None:
    return None if secure is None else StartTls(secure)


class StartTlsFactory:
    """Compiles ``StartTlsConfig`` and ``UpstreamStartTlsConfig``."""

    def create_downstream(self, message: Any, context: FactoryContext) -> Downstream:
        """As TransportSocketExtension.create_downstream."""
        return Downstream(REGISTRY.factory(KIND, TLS).create_downstream(message.tls_socket_config, context))

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> Upstream:
        """As TransportSocketExtension.create_upstream."""
        return Upstream(REGISTRY.factory(KIND, TLS).create_upstream(message.tls_socket_config, scope, context))


FACTORY: Final = StartTlsFactory()
