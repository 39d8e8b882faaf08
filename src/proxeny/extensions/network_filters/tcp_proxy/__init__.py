"""``envoy.filters.network.tcp_proxy``: the bytes of a connection go to a host of a cluster, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.extensions.network_filters.tcp_proxy.config import TcpProxyConfig
from proxeny.extensions.network_filters.tcp_proxy.proxy import TcpProxy

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME = "envoy.filters.network.tcp_proxy"


class TcpProxyFactory:
    """One configured TCP proxy: the network filter factory."""

    __slots__ = ("config",)

    name = NAME
    is_terminal = True

    def __init__(self, config: TcpProxyConfig) -> None:
        self.config = config

    def create(self) -> TcpProxy:
        """The proxy of one connection."""
        return TcpProxy(self.config)

    def describe(self) -> str:
        """Where connections go, for people."""
        return self.config.describe_clusters()


class TcpProxyExtension:
    """The registered factory."""

    is_terminal = True

    def create_filter_factory(self, config: Any, context: FactoryContext) -> TcpProxyFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return TcpProxyFactory(TcpProxyConfig(config, context))


FACTORY = TcpProxyExtension()
