"""``envoy.filters.http.dynamic_forward_proxy``: a request waits until the host that it names is resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.dynamic_forward_proxy.filter import (
    NAME,
    DynamicForwardProxy,
    FilterConfig,
    RouteConfig,
)
from proxeny.upstream.dns_cache.caches import MainDnsCaches, WorkerDnsCaches

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class DynamicForwardProxyFactory:
    """The compiled filter."""

    __slots__ = ("_config", "name")

    filter_class = DynamicForwardProxy
    is_terminal = False

    def __init__(self, config: FilterConfig) -> None:
        self._config = config
        self.name = NAME

    def create(self) -> DynamicForwardProxy:
        """The filter of one request."""
        return DynamicForwardProxy(self._config)


class DynamicForwardProxyExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(
        self, config: Any, stats_prefix: str, context: FactoryContext
    ) -> DynamicForwardProxyFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        cache = None
        if context.role == "worker":
            cache = WorkerDnsCaches.of(context).add(config.dns_cache_config)
        else:
            MainDnsCaches.of(context).add(config.dns_cache_config)
        return DynamicForwardProxyFactory(FilterConfig(config, cache, context))

    def create_route_config(self, config: Any, context: FactoryContext) -> RouteConfig:
        """From a ``PerRouteConfig``."""
        return RouteConfig(config)


FACTORY: Final = DynamicForwardProxyExtension()
