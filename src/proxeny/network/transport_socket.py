"""Transport sockets: what stands between a connection and its socket (``envoy.config.core.v3.TransportSocket``).

A factory is compiled once per filter chain or cluster and makes a kernel ``Transport`` per connection; None is plain
bytes. The extension kind is ``transport_socket``; what the registry finds there fulfils ``TransportSocketExtension``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.kernel.stream import Transport
    from proxeny.network.address import Address
    from proxeny.network.connection import ClientConnection, Connection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.filter_state import Sharing

KIND: Final = "transport_socket"


class TransportSocketOptions:
    """What one request or session asks of the upstream connections that are made for it; immutable.

    (Envoy: ``Network::TransportSocketOptions``.) Pools are kept apart by what the factory's ``hash_key`` says of it.
    """

    __slots__ = (
        "alpn_fallback",
        "alpn_override",
        "http11_proxy",
        "proxy_protocol",
        "server_name_override",
        "shared",
        "verify_san_list_override",
    )

    def __init__(
        self,
        server_name_override: str = "",
        verify_san_list_override: tuple[str, ...] = (),
        alpn_override: tuple[str, ...] = (),
        alpn_fallback: tuple[str, ...] = (),
        proxy_protocol: Any = None,
        http11_proxy: Any = None,
        shared: dict[str, tuple[Any, Sharing]] | None = None,
    ) -> None:
        self.server_name_override = server_name_override
        """The name to ask for, in place of the configured one."""
        self.verify_san_list_override = verify_san_list_override
        """Alternative names of which the peer's certificate must have one, whatever else is verified."""
        self.alpn_override = alpn_override
        self.alpn_fallback = alpn_fallback
        """What to offer where neither the context nor ``alpn_override`` says."""
        self.proxy_protocol = proxy_protocol
        """What a PROXY protocol header upstream tells."""
        self.http11_proxy = http11_proxy
        """The proxy to connect through, and for which host (``http_11_proxy.info``)."""
        self.shared = shared or {}
        """Filter state that goes along: objects by name, and how they are shared."""

    def tls_key(self) -> tuple[Hashable, ...]:
        """What tells TLS sessions apart."""
        return (self.server_name_override, self.verify_san_list_override, self.alpn_override, self.alpn_fallback)

    def __repr__(self) -> str:
        return f"TransportSocketOptions({', '.join([f'{name}={getattr(self, name)!r}' for name in self.__slots__])})"


def with_alpn_fallback(options: TransportSocketOptions | None, protocols: tuple[str, ...]) -> TransportSocketOptions:
    """The same, and ``protocols`` are offered where nothing else says what is."""
    if options is None:
        return TransportSocketOptions(alpn_fallback=protocols)
    return TransportSocketOptions(
        options.server_name_override,
        options.verify_san_list_override,
        options.alpn_override,
        protocols,
        options.proxy_protocol,
        options.http11_proxy,
        options.shared,
    )


class UpstreamHost(Protocol):
    """What a transport socket may ask of the host that it leads to."""

    hostname: str

    @property
    def address(self) -> Address:
        """Where it is."""

    @property
    def metadata(self) -> Any:
        """Its core.v3.Metadata."""

    @property
    def locality_metadata(self) -> Any:
        """That of its locality; None: there is none."""


class DownstreamTransportSocketFactory:
    """Makes the transport of accepted connections."""

    __slots__ = ()

    secure = False
    """Whether what crosses the network is encrypted (Envoy: ``implementsSecureTransport``)."""

    def create(self, connection: Connection) -> Transport | None:
        """The transport of a connection whose addresses and filter state are known; None: plain bytes."""
        return None


class UpstreamTransportSocketFactory:
    """Makes the transport of connections to hosts."""

    __slots__ = ()

    secure = False
    supports_alpn = False
    """Whether the application protocol is agreed on while connecting."""
    default_server_name_indication = ""
    """The name that is asked for where options do not say."""
    uses_options = False
    """Whether requests' options matter: only then are they made."""
    uses_addresses = False
    """Whether the addresses of the downstream connection do (``options.proxy_protocol``)."""

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport | None:
        """The transport of a connection that is about to connect to ``host``; None: plain bytes."""
        return None

    def hash_key(self, options: TransportSocketOptions | None) -> tuple[Hashable, ...]:
        """What of the options tells pools apart; empty: nothing."""
        return ()

    def redirect(self, options: TransportSocketOptions | None, host: UpstreamHost) -> Address | None:
        """Where to connect in place of the host's own address; None: there."""
        return None


class TransportSocketExtension(Protocol):
    """The factory of factories; an extension fulfils one or both."""

    def create_downstream(self, message: Any, context: FactoryContext) -> DownstreamTransportSocketFactory:
        """For a filter chain, with its listener's context; ConfigError in Envoy's words."""

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> UpstreamTransportSocketFactory:
        """For a cluster whose stat prefix is ``scope``; ConfigError in Envoy's words."""


DOWNSTREAM: Final = "downstream"
UPSTREAM: Final = "upstream"
_SOCKETS: Final = "envoy.extensions.transport_sockets"
_ONE_SIDED: Final = {
    f"{_SOCKETS}.tls.v3.DownstreamTlsContext": DOWNSTREAM,
    f"{_SOCKETS}.tls.v3.UpstreamTlsContext": UPSTREAM,
    f"{_SOCKETS}.starttls.v3.StartTlsConfig": DOWNSTREAM,
    f"{_SOCKETS}.starttls.v3.UpstreamStartTlsConfig": UPSTREAM,
}
"""Messages of extensions that have one for either side."""

PLAIN_DOWNSTREAM: Final = DownstreamTransportSocketFactory()
PLAIN_UPSTREAM: Final = UpstreamTransportSocketFactory()


def find_extension(transport_socket: Any, side: str) -> tuple[TransportSocketExtension, Any]:
    """The extension of a ``core.v3.TransportSocket``, and its own configuration message.

    ``side``: UPSTREAM or DOWNSTREAM; what is for the other one only is not found, as in Envoy.
    """
    type_name = transport_socket.typed_config.type_url.rpartition("/")[2]
    extension = REGISTRY.factory(KIND, transport_socket.name, type_name) if type_name else None
    if extension is None or _ONE_SIDED.get(type_name, side) != side or not hasattr(extension, f"create_{side}"):
        raise ConfigError(
            f"Didn't find a registered implementation for '{transport_socket.name}' with type URL: '{type_name}'"
        )
    return extension, unpack_any(transport_socket.typed_config)


def compile_downstream(transport_socket: Any, context: FactoryContext) -> DownstreamTransportSocketFactory:
    """Compile the ``core.v3.TransportSocket`` of a filter chain; plain bytes for None."""
    if transport_socket is None:
        return PLAIN_DOWNSTREAM
    extension, message = find_extension(transport_socket, DOWNSTREAM)
    return extension.create_downstream(message, context)


def compile_upstream(transport_socket: Any, scope: str, context: FactoryContext) -> UpstreamTransportSocketFactory:
    """Compile the ``core.v3.TransportSocket`` of a cluster; plain bytes for None."""
    if transport_socket is None:
        return PLAIN_UPSTREAM
    extension, message = find_extension(transport_socket, UPSTREAM)
    return extension.create_upstream(message, scope, context)
