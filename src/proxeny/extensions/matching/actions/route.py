"""``route`` and ``route_match_action``: actions that are routes, of trees in virtual hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxeny.router.route_list import RouteList
    from proxeny.router.route_tree import RouteTreeCompiler


class RouteFactory:
    """The registered factory of one route."""

    def create_routes(self, message: Any, compiler: RouteTreeCompiler) -> RouteList:
        """The route, with its own match."""
        return compiler.routes([message])


class RouteListFactory:
    """The registered factory of several."""

    def create_routes(self, message: Any, compiler: RouteTreeCompiler) -> RouteList:
        """The first of them that matches counts."""
        return compiler.routes(message.routes)


ROUTE = RouteFactory()
ROUTE_LIST = RouteListFactory()
