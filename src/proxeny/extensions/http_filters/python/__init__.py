"""``proxeny.filters.http.python``: HTTP filters written in Python by users (see docs/extending.md)."""

from __future__ import annotations

from typing import Any

from proxeny.api import python_filter
from proxeny.config.errors import ConfigError
from proxeny.extensions.http_filters.python.factory import PythonFilterFactory, PythonRouteConfig

__all__ = ["FACTORY", "PythonExtension", "python_filter"]


class PythonExtension:
    """Compiles the filter's configuration and its per-route one."""

    is_terminal = False

    def __init__(self) -> None:
        self.has_route_configs = False
        """Whether any route of this process has a PythonPerRoute: until then no request looks for one."""

    def create_filter_factory(self, config: Any, stats_prefix: str, context: Any) -> PythonFilterFactory:
        """``config``: a ``proxeny.filters.http.python.v3.Python`` message."""
        if config is None or not config.filter:
            raise ConfigError("Python filter: 'filter' must name a class as 'package.module:Class'")
        return PythonFilterFactory(config, stats_prefix, context, self)

    def create_route_config(self, config: Any, context: Any) -> PythonRouteConfig:
        """``config``: a ``proxeny.filters.http.python.v3.PythonPerRoute`` message."""
        self.has_route_configs = True
        return PythonRouteConfig(config)


FACTORY = PythonExtension()
