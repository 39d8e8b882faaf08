"""``ClusterSpecifierPlugin``: extensions that name a route's cluster for each request
(Envoy: ``envoy/router/cluster_specifier_plugin.h``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.message_types import type_name_of
from proxeny.registry import REGISTRY
from proxeny.router.per_filter_config import unpack

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.route import Route

KIND: Final = "cluster_specifier_plugin"
_NOT_SERVED: Final = frozenset(
    ("envoy.router.cluster_specifier_plugin.lua", "envoy.router.cluster_specifier_plugin.golang")
)
"""What Envoy knows and we do not: being optional does not help."""


class ClusterSpecifier(Protocol):
    """A compiled plugin."""

    def cluster(self, headers: HeaderMap, info: StreamInfo | None) -> str | None:
        """The cluster's name ("": that of none); None = there is no route."""


class NoSpecifier:
    """In place of an optional plugin that is not known here."""

    __slots__ = ()

    def cluster(self, headers: HeaderMap, info: StreamInfo | None) -> str | None:
        """No route."""
        return None


class SpecifiedClusters:
    """The routes that a plugin's route stands for, one per cluster, each made when the plugin first names it."""

    __slots__ = ("_made", "_make", "_specifier")

    def __init__(self, specifier: ClusterSpecifier, make: Callable[[str], Route]) -> None:
        self._specifier = specifier
        self._make = make
        self._made: dict[str, Route] = {}

    @property
    def routes(self) -> tuple[Route, ...]:
        """Those that were made so far."""
        return tuple(self._made.values())

    @property
    def chosen_by(self) -> str:
        """For people."""
        return "the cluster specifier plugin"

    def shares(self) -> list[tuple[str, int]]:
        """Their clusters; a plugin has no weights."""
        return [(name, 0) for name in self._made]

    def pick(self, headers: HeaderMap, random_value: int, info: StreamInfo | None = None) -> Route | None:
        """The route with the cluster for this request."""
        name = self._specifier.cluster(headers, info)
        if name is None:
            return None
        route = self._made.get(name)
        if route is None:
            route = self._made[name] = self._make(name)
        return route


def compile_specifier(config: Any, context: FactoryContext) -> ClusterSpecifier:
    """From a ``ClusterSpecifierPlugin`` message; ConfigError in Envoy's words."""
    extension = config.extension
    if extension.name in _NOT_SERVED:
        raise UnsupportedFieldError(f"the cluster specifier plugin '{extension.name}' is not supported yet")
    try:
        factory = REGISTRY.factory(KIND, extension.name, type_name_of(extension.typed_config.type_url))
    except ConfigError:
        if config.is_optional:
            return NoSpecifier()
        raise
    made: ClusterSpecifier = factory.create(unpack(extension.typed_config), context)
    return made


def compile_specifiers(configs: Iterable[Any], context: FactoryContext) -> dict[str, ClusterSpecifier]:
    """Those of a ``RouteConfiguration``, by name."""
    found: dict[str, ClusterSpecifier] = {}
    for config in configs:
        made = compile_specifier(config, context)
        # Of several of one name the first counts, as in Envoy.
        found.setdefault(config.extension.name, made)
    return found
