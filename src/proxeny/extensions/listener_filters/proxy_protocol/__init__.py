"""``envoy.filters.listener.proxy_protocol``: the PROXY header in front of a connection tells its real addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.extensions.listener_filters.proxy_protocol.filter import NAME, ProxyProtocol, ProxyProtocolConfig

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class ProxyProtocolFactory:
    """The listener filter factory."""

    __slots__ = ("_config",)

    name = NAME

    def __init__(self, config: ProxyProtocolConfig) -> None:
        self._config = config

    def create(self) -> ProxyProtocol:
        """The filter of one socket."""
        return ProxyProtocol(self._config)


class ProxyProtocolExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> ProxyProtocolFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return ProxyProtocolFactory(ProxyProtocolConfig(config, context))


FACTORY = ProxyProtocolExtension()
