"""Which route of a list is the first that matches a request, without asking every route.

Envoy asks its routes one after the other; here the path conditions are indexed and the order is kept by number. Each
source (exact paths, prefixes, regexes, URI templates, CONNECT) leads to a group of routes and gives the lowest number
of it that matches; the lowest of all sources is Envoy's first match. A source is told what was found so far and looks
no further than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.event.slices import finish
from proxeny.router.regex_groups import RegexGroups
from proxeny.router.route_group import NO_ROUTE, Conditions, PrefixGroups, RouteGroup, make_group_steps

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.router.request_facts import RequestFacts


class ExactGroups:
    """Whole texts to groups of routes: ``add`` in ascending order, ``freeze_steps`` once, then ``group``."""

    __slots__ = ("_conditions", "_table")

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._table: dict[bytes, list[int] | int | RouteGroup] = {}

    def add(self, text: bytes, number: int) -> None:
        """Route ``number`` matches ``text``."""
        numbers = self._table.setdefault(text, [])
        if not numbers or self._conditions[numbers[-1]] is not None:  # type: ignore[index]
            numbers.append(number)  # type: ignore[union-attr]

    def freeze_steps(self) -> Steps[None]:
        """Make the groups, in slices."""
        for number, (text, numbers) in enumerate(self._table.items()):
            self._table[text] = yield from make_group_steps(numbers, self._conditions, frozenset())  # type: ignore[arg-type]
            if not number & 63:
                yield

    def group(self, text: bytes) -> int | RouteGroup | None:
        """The group of exactly this text."""
        return self._table.get(text)  # type: ignore[return-value]


class PathIndex:
    """All path conditions of one list of routes; ``add_*`` in ascending order of route numbers, then ``freeze``."""

    __slots__ = (
        "_conditions",
        "_connect",
        "_connect_numbers",
        "_exact",
        "_exact_any_case",
        "_ignores_parameters",
        "_others",
        "_prefix",
        "_prefix_any_case",
        "_regex",
        "_template",
    )

    def __init__(self, conditions: Conditions, ignores_parameters: bool = False) -> None:
        """``conditions``: of each route beyond its path.

        ``ignores_parameters``: paths are matched without parameters, but for URI templates, which Envoy gives all.
        """
        self._conditions = conditions
        self._ignores_parameters = ignores_parameters
        self._exact: ExactGroups | None = None
        self._exact_any_case: ExactGroups | None = None
        self._prefix: PrefixGroups | None = None
        self._prefix_any_case: PrefixGroups | None = None
        self._regex: RegexGroups | None = None
        self._template: RegexGroups | None = None
        self._connect: int | RouteGroup | None = None
        self._connect_numbers: list[int] = []
        self._others = False

    def add_prefix(self, prefix: bytes, number: int, case_sensitive: bool) -> None:
        """Route ``number`` matches paths that begin with ``prefix``."""
        if case_sensitive:
            self._prefix = self._prefix or PrefixGroups(self._conditions)
            self._prefix.add(prefix, number)
        else:
            self._prefix_any_case = self._prefix_any_case or PrefixGroups(self._conditions)
            self._prefix_any_case.add(prefix.lower(), number)

    def add_exact(self, path: bytes, number: int, case_sensitive: bool) -> None:
        """Route ``number`` matches this path."""
        if case_sensitive:
            self._exact = self._exact or ExactGroups(self._conditions)
            self._exact.add(path, number)
        else:
            self._exact_any_case = self._exact_any_case or ExactGroups(self._conditions)
            self._exact_any_case.add(path.lower(), number)

    def add_separated_prefix(self, prefix: bytes, number: int, case_sensitive: bool) -> None:
        """Route ``number`` matches this path and all below it."""
        self.add_exact(prefix, number, case_sensitive)
        self.add_prefix(prefix + b"/", number, case_sensitive)

    def add_regex(self, pattern: bytes, number: int) -> None:
        """Route ``number`` matches paths that ``pattern`` matches as a whole."""
        self._regex = self._regex or RegexGroups(self._conditions)
        self._regex.add(pattern, number)

    def add_template(self, pattern: bytes, number: int) -> None:
        """Route ``number`` matches paths that ``pattern``, made of a URI template, matches as a whole."""
        if not self._ignores_parameters:
            self.add_regex(pattern, number)
            return
        self._template = self._template or RegexGroups(self._conditions)
        self._template.add(pattern, number)

    def add_connect(self, number: int) -> None:
        """Route ``number`` matches CONNECT requests of any path."""
        self._connect_numbers.append(number)

    def freeze(self) -> None:
        """Lay the indexes out."""
        finish(self.freeze_steps())

    def freeze_steps(self) -> Steps[None]:
        """``freeze`` in slices."""
        others = (self._exact, self._exact_any_case, self._prefix_any_case, self._regex, self._template)
        for index in (*others, self._prefix):
            if index is not None:
                yield from index.freeze_steps()
        if self._connect_numbers:
            self._connect = yield from make_group_steps(self._connect_numbers, self._conditions, frozenset())
        self._others = any(index is not None for index in others) or self._connect is not None

    def quick(self, path: bytes) -> int:
        """The first match where the path alone decides it (most lists have prefixes only), -1 where it does not."""
        if self._others or self._prefix is None:
            return -1
        group = self._prefix.group(path)
        if group is None:
            return NO_ROUTE
        return group if isinstance(group, int) else -1

    def first(self, facts: RequestFacts, whole_path: bytes | None) -> int:
        """The first route that matches, NO_ROUTE when none does.

        ``whole_path`` is the path with its parameters, None where there is no path: then CONNECT routes only match.
        """
        bound = NO_ROUTE
        if whole_path is not None:
            path = facts.path
            if self._exact is not None:
                bound = _of(self._exact.group(path), facts, bound)
            if self._prefix is not None:
                bound = _of(self._prefix.group(path), facts, bound)
            if self._exact_any_case is not None or self._prefix_any_case is not None:
                path = path.lower()
                if self._exact_any_case is not None:
                    bound = _of(self._exact_any_case.group(path), facts, bound)
                if self._prefix_any_case is not None:
                    bound = _of(self._prefix_any_case.group(path), facts, bound)
            if self._regex is not None:
                bound = self._regex.first(facts.path, facts, bound)
            if self._template is not None:
                bound = self._template.first(whole_path, facts, bound)
        return bound if self._connect is None else _of(self._connect, facts, bound)


def _of(group: int | RouteGroup | None, facts: RequestFacts, bound: int) -> int:
    if group is None:
        return bound
    if isinstance(group, int):
        return min(group, bound)
    return group.first(facts, bound)
