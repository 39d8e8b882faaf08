"""``envoy.transport_sockets.tls`` compiled: a context of the kernel, and the factory that makes transports of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.sockets import ContextHolder, TlsDownstreamFactory, TlsUpstreamFactory
from proxeny.extensions.transport_sockets.tls.stats import SSL
from proxeny.kernel.tls_context import TlsContext, TlsError

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import DownstreamTransportSocketFactory, UpstreamTransportSocketFactory


class TlsTransportSockets:
    """Compiles ``DownstreamTlsContext`` and ``UpstreamTlsContext``."""

    __slots__ = ()

    def create_downstream(self, message: Any, context: FactoryContext) -> DownstreamTransportSocketFactory:
        """For a filter chain."""
        scope = context.listener_scope
        made = new_context(True, scope, context)
        fill(made, message.common_tls_context, message.require_client_certificate.value)
        return TlsDownstreamFactory(ContextHolder(made), scope, context)

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> UpstreamTransportSocketFactory:
        """For a cluster."""
        made = new_context(False, scope, context)
        fill(made, message.common_tls_context, False)
        return TlsUpstreamFactory(ContextHolder(made), scope, context, message.sni)


def new_context(server: bool, scope: str, context: FactoryContext) -> TlsContext:
    """An empty context that counts under ``scope``."""
    return TlsContext(server, context.stats.block(SSL, f"{scope}ssl."), context.stats.dynamic(f"{scope}ssl."))


def fill(context: TlsContext, common: Any, require: bool) -> None:
    """Give a context what a CommonTlsContext says; ConfigError on what libssl refuses."""
    try:
        trusted = _read(common.validation_context.trusted_ca)
        if trusted:
            context.trust(trusted)
        context.set_verification(bool(trusted), require, bool(trusted))
        context.set_alpn([protocol.encode() for protocol in common.alpn_protocols])
        for certificate in common.tls_certificates:
            context.add_certificate(_read(certificate.certificate_chain), _read(certificate.private_key))
    except TlsError as error:
        raise ConfigError(str(error)) from None


def _read(source: Any) -> bytes:
    kind = source.WhichOneof("specifier")
    if kind == "filename":
        try:
            return Path(source.filename).read_bytes()
        except OSError:
            raise ConfigError(f"Invalid path: {source.filename}") from None
    value = getattr(source, kind) if kind else b""
    return value.encode() if isinstance(value, str) else bytes(value)


FACTORY: Final = TlsTransportSockets()
