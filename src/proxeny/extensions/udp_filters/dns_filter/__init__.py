"""``envoy.filters.udp.dns_filter``: a name server, and the receiver of captured DNS queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.udp_filters.dns_filter.config import DnsFilterConfig
from proxeny.extensions.udp_filters.dns_filter.dns_filter import DnsFilter

if TYPE_CHECKING:
    from proxeny.listener.udp_filter import UdpListenerCallbacks
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.udp.dns_filter"


class DnsFilterFactory:
    """One configured DNS filter: the UDP listener filter factory."""

    __slots__ = ("config",)

    name = NAME

    def __init__(self, config: DnsFilterConfig) -> None:
        self.config = config

    def create(self, callbacks: UdpListenerCallbacks) -> DnsFilter:
        """The name server of one address in one worker."""
        return DnsFilter(self.config, callbacks)


class DnsFilterExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> DnsFilterFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return DnsFilterFactory(DnsFilterConfig(config, context))


FACTORY = DnsFilterExtension()
