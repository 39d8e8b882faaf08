"""``envoy.transport_sockets.tls`` compiled: a context of the kernel, and the factory that makes transports of it."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from proxeny.extensions.transport_sockets.tls.context_builder import fill_client_context, fill_server_context
from proxeny.extensions.transport_sockets.tls.key_log import KeyLogFile
from proxeny.extensions.transport_sockets.tls.settings import compile_downstream_settings, compile_upstream_settings
from proxeny.extensions.transport_sockets.tls.sockets import (
    CLIENT,
    SERVER,
    ContextHolder,
    TlsDownstreamFactory,
    TlsUpstreamFactory,
)
from proxeny.extensions.transport_sockets.tls.stats import SOCKET_FACTORY, SSL, UPDATE_BY_SDS
from proxeny.kernel.tls_context import TlsContext
from proxeny.secret.sources import file_key

if TYPE_CHECKING:
    from proxeny.extensions.transport_sockets.tls.settings import CommonSettings
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.transport_socket import DownstreamTransportSocketFactory, UpstreamTransportSocketFactory
    from proxeny.secret.certificates import ContextCertificates

log = logging.getLogger("proxeny.config")


class TlsTransportSockets:
    """Compiles ``DownstreamTlsContext`` and ``UpstreamTlsContext``."""

    __slots__ = ()

    def create_downstream(self, message: Any, context: FactoryContext) -> DownstreamTransportSocketFactory:
        """For a filter chain."""
        scope = context.listener_scope
        if context.role == "main":
            _warn(message, context)
        return TlsDownstreamFactory(_shared(message, scope, context), scope, context)

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> UpstreamTransportSocketFactory:
        """For a cluster."""
        holder = ClientContext(message, scope, context)
        return TlsUpstreamFactory(holder, scope, context, message.sni, message.auto_host_sni)


def _warn(message: Any, context: FactoryContext) -> None:
    """Of what Envoy warns of, and counts."""
    asks = message.common_tls_context.WhichOneof("validation_context_type") is not None
    if not asks or message.HasField("require_client_certificate"):
        return
    log.warning(
        "Using deprecated insecure default of not requiring client cert when a validation context is configured. This "
        "default will be changed in a future version. Please explicitly configure a value for "
        "require_client_certificate."
    )
    if context.runtime is not None:
        context.runtime.count_deprecated(1)


class BuiltContext(ContextHolder):
    """A context that is built anew when what it is made of changes; a build that fails leaves the one before."""

    __slots__ = ("_context", "_message", "_names", "_scope", "_sources", "stats")

    prefix = ""

    def __init__(self, message: Any, scope: str, context: FactoryContext) -> None:
        super().__init__()
        self._message = message
        self._scope = scope
        self._context = context
        # Allotted with the listener or cluster, whenever its secrets come.
        self.stats = context.stats.block(SSL, f"{scope}ssl.")
        self._names = context.stats.dynamic(f"{scope}ssl.")
        count = functools.partial(context.stats.block(SOCKET_FACTORY, scope + self.prefix).add, UPDATE_BY_SDS)
        self._sources = context.secrets.sources(message, self._build, count)
        self._sources.begin()

    @property
    def serves(self) -> bool:
        """Whether connections are made of it in this process."""
        return True

    def _build(self) -> None:
        raise NotImplementedError

    def _new(self, server: bool) -> TlsContext:
        """An empty context that counts under the scope."""
        return TlsContext(server, self.stats, self._names)

    def _wait(self) -> None:
        """A secret has not come yet."""
        self.context = None
        self._sources.show(None)

    def _take(self, made: TlsContext, common: CommonSettings, shown: ContextCertificates) -> None:
        """A context is complete."""
        key_log = None if common.key_log is None else KeyLogFile(common.key_log, self._context)
        self._sources.show(shown)
        if not self.serves:
            return
        self.key_log = key_log
        if key_log is not None:
            made.log_keys()
        self.context = made


class ServerContext(BuiltContext):
    """The context of a ``DownstreamTlsContext``."""

    __slots__ = ()

    prefix = SERVER

    @property
    def serves(self) -> bool:
        """Main builds it to learn whether that can be done: thousands need not be kept."""
        return self._context.is_worker

    def _build(self) -> None:
        settings = compile_downstream_settings(self._message, self._sources)
        if not settings.is_complete:
            self._wait()
            return
        made = self._new(True)
        shown = fill_server_context(made, settings, self._scope)
        self._take(made, settings.common, shown)


class ClientContext(BuiltContext):
    """The context of an ``UpstreamTlsContext``; main checks hosts with it."""

    __slots__ = ()

    prefix = CLIENT

    def _build(self) -> None:
        settings = compile_upstream_settings(self._message, self._sources)
        if not settings.is_complete:
            self._wait()
            return
        made = self._new(False)
        shown = fill_client_context(made, settings, self._scope)
        self._take(made, settings.common, shown)


def _shared(message: Any, scope: str, context: FactoryContext) -> ServerContext:
    """Chains of one listener that are configured alike have one context: there may be thousands of them."""
    stats = context.stats.block(SSL, f"{scope}ssl.")  # each generation of a listener owns its statistics
    contexts: WeakValueDictionary[tuple[str, str], ServerContext]
    contexts = context.singletons.setdefault("tls server contexts", WeakValueDictionary())
    key = scope, file_key(message)
    made = contexts.get(key)
    if made is None or made.stats.base != stats.base:
        made = contexts[key] = ServerContext(message, scope, context)
    return made


FACTORY: Final = TlsTransportSockets()
