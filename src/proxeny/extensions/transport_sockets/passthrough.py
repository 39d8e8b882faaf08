"""Factories of transport sockets around others (Envoy: ``PassthroughFactory``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.network.transport_socket import UpstreamTransportSocketFactory

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.kernel.stream import Transport
    from proxeny.network.address import Address
    from proxeny.network.connection import ClientConnection
    from proxeny.network.transport_socket import TransportSocketOptions, UpstreamHost


class PassthroughUpstreamFactory(UpstreamTransportSocketFactory):
    """Is what the factory inside is, unless a subclass says otherwise."""

    __slots__ = ("default_server_name_indication", "inner", "secure", "supports_alpn", "uses_addresses", "uses_options")

    def __init__(self, inner: UpstreamTransportSocketFactory) -> None:
        self.inner = inner
        self.secure = inner.secure
        self.supports_alpn = inner.supports_alpn
        self.default_server_name_indication = inner.default_server_name_indication
        self.uses_options = inner.uses_options
        self.uses_addresses = inner.uses_addresses

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport | None:
        """As UpstreamTransportSocketFactory.create."""
        return self.inner.create(connection, options, host)

    def hash_key(self, options: TransportSocketOptions | None) -> tuple[Hashable, ...]:
        """As UpstreamTransportSocketFactory.hash_key."""
        return self.inner.hash_key(options)

    def redirect(self, options: TransportSocketOptions | None, host: UpstreamHost) -> Address | None:
        """As UpstreamTransportSocketFactory.redirect."""
        return self.inner.redirect(options, host)
