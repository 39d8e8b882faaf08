"""How much of a route configuration its tests look at.

What can be covered is each route; of a route with weighted clusters each cluster; routes of a virtual host's
``matcher`` too. It is covered when a test came to it and something that the test expects of it was so. Envoy's tool
counts less: there, tests of headers cover nothing, neither does the virtual host of a direct response, and routes of a
``matcher`` are not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proxeny.explain.routes import describe_match
from proxeny.router.direct_response import RedirectEntry
from proxeny.router.route_list import RouteList

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxeny.router.route_table import RouteTable

FORWARD_FIELDS: Final = ("cluster_name", "virtual_host_name", "path_rewrite", "host_rewrite")
REDIRECT_FIELDS: Final = ("path_redirect", "code_redirect")
DIRECT_FIELDS: Final = ("code_redirect",)


@dataclass(slots=True)
class Unit:
    """Something to be covered."""

    virtual_host: str
    position: int
    """Of the route; -1 in a ``matcher``."""
    name: str
    match: str
    cluster: str
    """Which of the weighted clusters; "" where there is no choice."""
    fields: tuple[str, ...]
    """What all tests together should look at."""
    seen: set[str] = field(default_factory=set)

    @property
    def covered(self) -> bool:
        """Whether any test looked at it."""
        return bool(self.seen)

    @property
    def share(self) -> float:
        """How much of its fields tests looked at."""
        return len(self.seen & set(self.fields)) / len(self.fields)

    @property
    def title(self) -> str:
        """For people."""
        name = f"'{self.name}' " if self.name else ""
        cluster = f", weighted cluster {self.cluster}" if self.cluster else ""
        return f"{name}{self.match}{cluster}"


class Coverage:
    """The units of one route configuration, by the route that serves them."""

    def __init__(self, config: Any, table: RouteTable) -> None:
        self.units: list[Unit] = []
        self._by_route: dict[int, Unit] = {}
        self._kept: list[Any] = []
        """The routes themselves, so that no other gets the identity of one."""
        for message, host in zip(config.virtual_hosts, table.virtual_hosts, strict=True):
            matches = [describe_match(route.match) for route in message.routes]
            for position, route in enumerate(host.routes):
                self._add(message, position, matches[position], route)
            if host.tree is not None:
                for route in _routes_of(host.tree):
                    self._add(message, -1, "a route of the matcher", route)

    def _add(self, host: Any, position: int, match: str, route: Any) -> None:
        parts = [(route, "")]
        if route.weighted is not None:
            shares = route.weighted.shares()
            parts = [(part, name) for part, (name, _) in zip(route.weighted.routes, shares, strict=True)]
        for part, cluster in parts:
            unit = Unit(host.name, position, route.name, match, cluster, _fields_of(part))
            self.units.append(unit)
            self._by_route[id(part)] = unit
            self._kept.append(part)

    def mark(self, route: Any, kind: str) -> None:
        """A test found of ``route`` what it expects in the field ``kind``."""
        unit = self._by_route.get(id(route))
        if unit is not None:
            unit.seen.add(kind)

    def percent(self, comprehensive: bool = False) -> float:
        """Of all units those that are covered; ``comprehensive``: of all fields of all units."""
        if not self.units:
            return 100.0
        parts = [unit.share if comprehensive else float(unit.covered) for unit in self.units]
        return 100.0 * sum(parts) / len(parts)

    def missing(self) -> list[Unit]:
        """What no test looks at."""
        return [unit for unit in self.units if not unit.covered]


def _fields_of(route: Any) -> tuple[str, ...]:
    entry = route.entry
    if not entry.is_direct:
        virtual = ("virtual_cluster_name",) if entry.virtual_host.virtual_clusters else ()
        return (*FORWARD_FIELDS, *virtual)
    return REDIRECT_FIELDS if isinstance(entry, RedirectEntry) else DIRECT_FIELDS


def _routes_of(tree: Any) -> Iterator[Any]:
    """The routes that a match tree may lead to, each once."""
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if node is None or isinstance(node, str | bytes | int | float) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, RouteList):
            yield from node.routes
        elif isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list | tuple):
            waiting += node
        elif type(node).__module__.startswith("proxeny."):
            names = [name for kind in type(node).__mro__ for name in getattr(kind, "__slots__", ())]
            waiting += [getattr(node, name, None) for name in names]
