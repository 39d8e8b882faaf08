"""``envoy.filters.network.sni_dynamic_forward_proxy``: a connection waits until its server is resolved.

Behind it a TCP proxy leads to a dynamic forward proxy cluster, which chooses by the same name and port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.clusters.dynamic_forward_proxy.wanted import HOST_KEY, PORT_KEY, state_of, state_port
from proxeny.network.address import ip_address
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, FilterStatus, NetworkFilter
from proxeny.network.filter_state import UpstreamAddress
from proxeny.upstream.dns_cache.caches import MainDnsCaches, WorkerDnsCaches

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.connection import Connection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.dns_cache.worker_cache import KnownHost, PendingLoad, WorkerDnsCache

NAME: Final = "envoy.filters.network.sni_dynamic_forward_proxy"
CONTINUE: Final = FilterStatus.CONTINUE
STOP: Final = FilterStatus.STOP_ITERATION


class FilterConfig:
    """What all connections share."""

    __slots__ = ("cache", "port", "save_address")

    def __init__(self, config: Any, cache: WorkerDnsCache | None) -> None:
        self.cache = cache
        """None in main, where nothing is resolved for connections."""
        self.port: int = config.port_value
        self.save_address: bool = config.save_upstream_address


class SniDynamicForwardProxy(NetworkFilter):
    """Resolves the server of one connection."""

    __slots__ = ("_cache", "_config", "_pending")

    def __init__(self, config: FilterConfig) -> None:
        assert config.cache is not None
        self._config = config
        self._cache = config.cache
        self._pending: PendingLoad | None = None

    def initialize(self, connection: Connection) -> None:
        """Hear of its end."""
        self.connection = connection
        connection.add_connection_callbacks(self)

    def on_new_connection(self) -> FilterStatus:
        """Go on when the server is known, wait when it is not; without a name there is nothing to do."""
        connection = self.connection
        info = connection.stream_info
        named = state_of(info, None, HOST_KEY)
        text = connection.connection_info.requested_server_name if named is None else str(named)
        if not text:
            return CONTINUE
        host = text.encode("utf-8", "surrogateescape")
        if not self._cache.can_wait():
            return self._close()
        port = state_port(info, None)
        if not port:
            port = self._config.port
            info.filter_state[PORT_KEY] = port
        known = self._cache.find(host, port)
        if known is not None:
            self._save(known)
            return CONTINUE
        self._pending = self._cache.load(host, port, self._on_loaded)
        if self._pending is None:
            return self._close()
        self._cache.pending.inc()
        connection.read_disable(True)
        return STOP

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes pass once the server is resolved."""
        return CONTINUE if self._pending is None else STOP

    def on_event(self, event: ConnectionEvent) -> None:
        """The client is gone: nobody waits."""
        if event is not ConnectionEvent.CONNECTED and self._pending is not None:
            self._pending.cancel()
            self._end_wait()

    def _on_loaded(self, known: KnownHost) -> None:
        """Resolved, or not: the TCP proxy will see."""
        self._end_wait()
        self._save(known)
        self.connection.read_disable(False)
        self.connection.continue_reading(self)

    def _end_wait(self) -> None:
        self._pending = None
        self._cache.pending.dec()

    def _save(self, known: KnownHost) -> None:
        entry = known.entry
        if self._config.save_address and entry.addresses:
            address = ip_address(entry.addresses[0], entry.port)
            self.connection.stream_info.filter_state[UpstreamAddress.KEY] = UpstreamAddress(address)

    def _close(self) -> FilterStatus:
        self.connection.close(ConnectionCloseType.NO_FLUSH)
        return STOP


class SniDynamicForwardProxyFactory:
    """The network filter factory."""

    __slots__ = ("_config",)

    name = NAME
    is_terminal = False

    def __init__(self, config: FilterConfig) -> None:
        self._config = config

    def create(self) -> SniDynamicForwardProxy:
        """The filter of one connection."""
        return SniDynamicForwardProxy(self._config)


class SniDynamicForwardProxyExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, context: FactoryContext) -> SniDynamicForwardProxyFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        if context.role == "worker":
            return SniDynamicForwardProxyFactory(
                FilterConfig(config, WorkerDnsCaches.of(context).add(config.dns_cache_config))
            )
        MainDnsCaches.of(context).add(config.dns_cache_config)
        return SniDynamicForwardProxyFactory(FilterConfig(config, None))


FACTORY = SniDynamicForwardProxyExtension()
