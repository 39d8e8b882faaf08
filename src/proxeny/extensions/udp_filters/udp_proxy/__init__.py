"""``envoy.filters.udp_listener.udp_proxy``: datagrams go to a host of a cluster, and the answers back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.udp_filters.udp_proxy.config import UdpProxyConfig
from proxeny.extensions.udp_filters.udp_proxy.proxy import UdpProxy

if TYPE_CHECKING:
    from proxeny.listener.udp_filter import UdpListenerCallbacks
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.udp_listener.udp_proxy"


class UdpProxyFactory:
    """One configured UDP proxy: the UDP listener filter factory."""

    __slots__ = ("config",)

    name = NAME

    def __init__(self, config: UdpProxyConfig) -> None:
        self.config = config

    def create(self, callbacks: UdpListenerCallbacks) -> UdpProxy:
        """The proxy of one address in one worker."""
        return UdpProxy(self.config, callbacks)


class UdpProxyExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> UdpProxyFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return UdpProxyFactory(UdpProxyConfig(config, context))


FACTORY = UdpProxyExtension()
