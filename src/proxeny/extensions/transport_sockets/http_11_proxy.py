"""``envoy.transport_sockets.http_11_proxy``: connections through an HTTP proxy, by CONNECT.

The proxy and the name to ask it for come with a request (filter state), or the proxy's address is in the metadata of
the endpoint or of its locality. Requests in plain text need no tunnel for the former: they are sent to the proxy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import address_pb2

from proxeny.extensions.transport_sockets.passthrough import PassthroughUpstreamFactory
from proxeny.kernel.transports import Tunnel
from proxeny.network.address import from_proto
from proxeny.network.transport_socket import compile_upstream

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.kernel.stream import Stream, Transport
    from proxeny.network.address import Address
    from proxeny.network.connection import ClientConnection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import TransportSocketOptions, UpstreamHost

HOST_METADATA: Final = "envoy.http11_proxy_transport_socket.proxy_address"
"""Typed metadata of an endpoint or a locality: the address of its proxy."""
_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] +200(?:[ \t][^\r\n]*)?\r?\n")


def connect_request(target: str) -> bytes:
    """What is asked of the proxy."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("utf-8", "surrogateescape")


def accepts(answer: bytes) -> int:
    """How long the head of a proxy's answer is that says 200; 0: it has not all come, -1: it says no."""
    end = _END.search(answer)
    if end is None:
        return 0
    return end.end() if _STATUS.match(answer) else -1


def proxy_of(host: UpstreamHost) -> Any:
    """The ``core.v3.Address`` of the proxy through which a host is reached; None where it says nothing of one."""
    for metadata in (host.metadata, host.locality_metadata):
        if metadata is not None and HOST_METADATA in metadata.typed_filter_metadata:
            address = address_pb2.Address()
            if metadata.typed_filter_metadata[HOST_METADATA].Unpack(address):
                return address
    return None


class Http11ProxySocketFactory(PassthroughUpstreamFactory):
    """Of a cluster."""

    __slots__ = ()

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport | None:
        """As UpstreamTransportSocketFactory.create."""
        inner = self.inner.create(connection, options, host)
        proxy = None if options is None else options.http11_proxy
        if proxy is not None:
            if not self.secure:
                return inner
            request = connect_request(f"{proxy.hostname}:443")
        elif proxy_of(host) is not None:
            request = connect_request(host.address.as_string())
        else:
            return inner

        def compose(stream: Stream) -> bytes:
            return request

        return Tunnel(compose, accepts, inner)

    def hash_key(self, options: TransportSocketOptions | None) -> tuple[Hashable, ...]:
        """As UpstreamTransportSocketFactory.hash_key."""
        key = self.inner.hash_key(options)
        proxy = None if options is None else options.http11_proxy
        return key if proxy is None else (*key, proxy.address.as_string(), proxy.hostname)

    def redirect(self, options: TransportSocketOptions | None, host: UpstreamHost) -> Address | None:
        """As UpstreamTransportSocketFactory.redirect."""
        proxy = None if options is None else options.http11_proxy
        if proxy is not None:
            address: Address = proxy.address
            return address
        message = proxy_of(host)
        return None if message is None else from_proto(message)


class Http11ProxyFactory:
    """Compiles ``Http11ProxyUpstreamTransport``."""

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> Http11ProxySocketFactory:
        """As TransportSocketExtension.create_upstream."""
        inner = message.transport_socket if message.HasField("transport_socket") else None
        factory = Http11ProxySocketFactory(compile_upstream(inner, scope, context))
        factory.uses_options = True
        return factory


FACTORY: Final = Http11ProxyFactory()
