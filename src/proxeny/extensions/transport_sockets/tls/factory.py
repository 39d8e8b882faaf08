"""``envoy.transport_sockets.tls`` compiled: a context of the kernel, and the factory that makes transports of it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.sockets import (
    CLIENT,
    SERVER,
    ContextHolder,
    TlsDownstreamFactory,
    TlsUpstreamFactory,
)
from proxeny.extensions.transport_sockets.tls.stats import SOCKET_FACTORY, SSL, UPDATE_BY_SDS
from proxeny.kernel.tls_context import TlsContext, TlsError
from proxeny.network.process_secret import derived

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import DownstreamTransportSocketFactory, UpstreamTransportSocketFactory
    from proxeny.secret.sources import SecretSources


class TlsTransportSockets:
    """Compiles ``DownstreamTlsContext`` and ``UpstreamTlsContext``."""

    __slots__ = ()

    def create_downstream(self, message: Any, context: FactoryContext) -> DownstreamTransportSocketFactory:
        """For a filter chain."""
        scope = context.listener_scope
        return TlsDownstreamFactory(ServerContext(message, scope, context), scope, context)

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> UpstreamTransportSocketFactory:
        """For a cluster."""
        return TlsUpstreamFactory(ClientContext(message, scope, context), scope, context, message.sni)


class BuiltContext(ContextHolder):
    """A context that is built anew when what it is made of changes; a build that fails leaves the one before."""

    __slots__ = ("_context", "_message", "_scope", "_sources")

    prefix = ""

    def __init__(self, message: Any, scope: str, context: FactoryContext) -> None:
        super().__init__()
        self._message = message
        self._scope = scope
        self._context = context
        count = functools.partial(context.stats.block(SOCKET_FACTORY, scope + self.prefix).add, UPDATE_BY_SDS)
        self._sources = context.secrets.sources(message, self._build, count)
        self._sources.begin()

    def _build(self) -> None:
        raise NotImplementedError

    def _new(self, server: bool) -> TlsContext:
        """An empty context that counts under the scope."""
        stats = self._context.stats
        made = TlsContext(server, stats.block(SSL, f"{self._scope}ssl."), stats.dynamic(f"{self._scope}ssl."))
        if server:
            made.set_resumption(True, True, secret=derived(f"tickets of {self._scope}".encode()))
        return made


class ServerContext(BuiltContext):
    """The context of a ``DownstreamTlsContext``."""

    __slots__ = ()

    prefix = SERVER

    def _build(self) -> None:
        made = self._new(True)
        fill(made, self._message.common_tls_context, self._message.require_client_certificate.value, self._sources)
        self.context = made


class ClientContext(BuiltContext):
    """The context of an ``UpstreamTlsContext``."""

    __slots__ = ()

    prefix = CLIENT

    def _build(self) -> None:
        made = self._new(False)
        fill(made, self._message.common_tls_context, False, self._sources)
        self.context = made


def fill(context: TlsContext, common: Any, require: bool, sources: SecretSources) -> None:
    """Give a context what a CommonTlsContext says; ConfigError on what libssl refuses."""
    try:
        trusted = _read(common.validation_context.trusted_ca, sources)
        if trusted:
            context.trust(trusted)
        context.set_verification(bool(trusted), require, bool(trusted))
        context.set_alpn([protocol.encode() for protocol in common.alpn_protocols])
        for certificate in common.tls_certificates:
            chain, key = _read(certificate.certificate_chain, sources), _read(certificate.private_key, sources)
            context.add_certificate(chain, key)
    except TlsError as error:
        raise ConfigError(str(error)) from None


def _read(source: Any, sources: SecretSources) -> bytes:
    kind = source.WhichOneof("specifier")
    if kind == "filename":
        try:
            return sources.read(source.filename)
        except OSError:
            raise ConfigError(f"Invalid path: {source.filename}") from None
    value = getattr(source, kind) if kind else b""
    return value.encode() if isinstance(value, str) else bytes(value)


FACTORY: Final = TlsTransportSockets()
