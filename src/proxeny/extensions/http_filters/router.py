"""``envoy.filters.http.router``: registers the router filter (``proxeny.router.filter``)."""

from __future__ import annotations

from typing import Any

from proxeny.router.config import RouterConfig
from proxeny.router.filter_factory import RouterFilterFactory


class RouterExtension:
    """Compiles the filter's configuration; it has no per-route one."""

    is_terminal = True

    def create_filter_factory(self, config: Any, stats_prefix: str, context: Any) -> RouterFilterFactory:
        """``config``: an ``envoy.extensions.filters.http.router.v3.Router`` message or None."""
        return RouterFilterFactory(RouterConfig(config, stats_prefix, context))

    def create_route_config(self, config: Any, context: Any) -> None:
        """The router reads nothing from ``typed_per_filter_config``."""
        return None


FACTORY = RouterExtension()
