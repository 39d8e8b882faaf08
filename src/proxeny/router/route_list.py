"""Routes of which the first that matches counts (Envoy: ``getRouteFromRoutes``), indexed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proxeny.router.path_index import PathIndex
from proxeny.router.request_facts import RequestFacts
from proxeny.router.route_group import NO_ROUTE

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.path_policy import PathPattern
    from proxeny.router.route import Route


class RouteList:
    """Some routes in their order."""

    __slots__ = ("_ignores_parameters", "_index", "routes")

    def __init__(
        self,
        routes: Sequence[Route],
        matches: Sequence[Any],
        patterns: Mapping[int, PathPattern],
        ignores_parameters: bool = False,
    ) -> None:
        """``matches``: the ``RouteMatch`` messages of ``routes``; ``patterns``: of those with a ``path_match_policy``.

        ``ignores_parameters``: ``ignore_path_parameters_in_path_matching``.
        """
        self.routes = tuple(routes)
        self._ignores_parameters = ignores_parameters
        self._index = PathIndex(tuple([route.condition for route in routes]), ignores_parameters)
        for number, match in enumerate(matches):
            _add(self._index, match, number, patterns.get(number))
        self._index.freeze()

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
            number = self._index.quick(path)
            if number >= 0:
                return self._chosen(number, headers, stream_info, random_value)
        number = self._index.first(RequestFacts(headers, path, stream_info, random_value), whole_path)
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
