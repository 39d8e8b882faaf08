"""Routes of which the first that matches counts (Envoy: ``getRouteFromRoutes``), indexed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proxeny.event.slices import finish
from proxeny.router.path_index import PathIndex
from proxeny.router.request_facts import RequestFacts
from proxeny.router.route_group import NO_ROUTE

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.path_policy import PathPattern
    from proxeny.router.route import Route


class RouteList:
    """Some routes in their order."""

    __slots__ = ("_ignores_parameters", "index", "routes")

    def __init__(self, routes: tuple[Route, ...], index: PathIndex, ignores_parameters: bool) -> None:
        """``ignores_parameters``: ``ignore_path_parameters_in_path_matching``."""
        self.routes = routes
        self.index = index
        self._ignores_parameters = ignores_parameters

    @classmethod
    def build(
        cls,
        routes: Sequence[Route],
        matches: Sequence[Any],
        patterns: Mapping[int, PathPattern],
        ignores_parameters: bool = False,
    ) -> RouteList:
        """``matches``: the ``RouteMatch`` messages; ``patterns``: of those with a ``path_match_policy``."""
        return finish(cls.build_steps(routes, matches, patterns, ignores_parameters))

    @classmethod
    def build_steps(
        cls,
        routes: Sequence[Route],
        matches: Sequence[Any],
        patterns: Mapping[int, PathPattern],
        ignores_parameters: bool = False,
    ) -> Steps[RouteList]:
        """``build`` in slices."""
        index = PathIndex(tuple([route.condition for route in routes]), ignores_parameters)
        for number, match in enumerate(matches):
            _add(index, match, number, patterns.get(number))
            if not number & 15:
                yield
        yield from index.freeze_steps()
        return cls(tuple(routes), index, ignores_parameters)

    def route(self, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int) -> Route | None:
        """The first route that matches."""
        whole_path = headers.get(b":path")
        if whole_path is None:
            path = b""
        else:
            # Asked for the numbers of "?" and "#", bytes are searched without a call.
            if 0x3F in whole_path:
                whole_path = whole_path[: whole_path.index(b"?")]
            if 0x23 in whole_path:
                whole_path = whole_path[: whole_path.index(b"#")]
            path = whole_path
            if self._ignores_parameters and path.find(b";") >= 0:
                path = without_parameters(path)
            number = self.index.quick(path)
            if number >= 0:
                return self._chosen(number, headers, stream_info, random_value)
        number = self.index.first(RequestFacts(headers, path, stream_info, random_value), whole_path)
        return self._chosen(number, headers, stream_info, random_value)

    def _chosen(
        self, number: int, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int
    ) -> Route | None:
        if number == NO_ROUTE:
            return None
        route = self.routes[number]
        if route.weighted is not None:
            return route.weighted.pick(headers, random_value, stream_info)
        return route


def without_parameters(path: bytes) -> bytes:
    """A path whose segments end before their ``;``."""
    return b"/".join([segment.partition(b";")[0] for segment in path.split(b"/")])


def _add(index: PathIndex, match: Any, number: int, pattern: PathPattern | None) -> None:
    """Enter one route's path specifier into the index."""
    kind = match.WhichOneof("path_specifier")
    case_sensitive = match.case_sensitive.value if match.HasField("case_sensitive") else True
    if kind == "prefix":
        index.add_prefix(match.prefix.encode("utf-8"), number, case_sensitive)
    elif kind == "path":
        index.add_exact(match.path.encode("utf-8"), number, case_sensitive)
    elif kind == "path_separated_prefix":
        index.add_separated_prefix(match.path_separated_prefix.encode("utf-8"), number, case_sensitive)
    elif kind == "safe_regex":
        index.add_regex(match.safe_regex.regex.encode("utf-8"), number)
    elif pattern is not None:
        if pattern.regex is not None:
            index.add_template(pattern.regex, number)
    else:
        index.add_connect(number)
