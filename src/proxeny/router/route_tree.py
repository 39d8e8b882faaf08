"""``VirtualHost.matcher``: a match tree that leads to routes (Envoy: ``RouteActionContext``).

A request's headers and filter state decide, as in Envoy; what only connections or responses know is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.http.matching import HTTP_INPUT
from proxeny.matcher.tree_compiler import MatchTreeCompiler
from proxeny.router.route_compiler import RouteCompiler

if TYPE_CHECKING:
    from proxeny.matcher.inputs import DataInput
    from proxeny.matcher.tree import OnMatch
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.route import VirtualHost
    from proxeny.router.route_list import RouteList

ROUTE_ACTION: Final = "route_action"
"""The kind of actions that are routes."""

_INPUTS: Final = frozenset(
    (
        "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
        "envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
    )
)
_VIOLATION: Final = "requirement violation while creating route match tree: INVALID_ARGUMENT: "


class RouteTreeCompiler(MatchTreeCompiler):
    """Compiles the tree of one virtual host."""

    def __init__(self, context: FactoryContext, virtual_host: VirtualHost) -> None:
        super().__init__(context, HTTP_INPUT, ROUTE_ACTION)
        self._routes = RouteCompiler(virtual_host, context, validate_clusters=False)

    @property
    def rereads(self) -> bool:
        """As of ``RouteCompiler``."""
        return self._routes.rereads

    def routes(self, configs: Any) -> RouteList:
        """The routes that an action holds."""
        return self._routes.compile_list(configs)

    def on_match(self, message: Any) -> OnMatch:
        """Matching does not go on behind a route."""
        if message.keep_matching:
            raise ConfigError(f"{_VIOLATION}keep_matching is not supported in this context")
        return super().on_match(message)

    def data_input(self, message: Any) -> DataInput:
        """Facts that are known when a route is looked for."""
        made = super().data_input(message)
        type_url = message.typed_config.type_url
        name = type_url.rpartition("/")[2]
        if name not in _INPUTS and self.is_own_input(message.name, name):
            raise ConfigError(f"{_VIOLATION}Route table can only match on request headers, saw {type_url}")
        return made

    def create_action(self, factory: Any, config: Any) -> Any:
        """Routes need their virtual host."""
        return factory.create_routes(config, self)
