"""Which routes of a virtual host match a path, without asking every route.

Envoy asks its routes one after the other; here the path conditions are indexed and the order is kept by number. For a
path, the sources (exact paths, prefixes, regexes) give candidate route numbers in ascending order; a candidate without
further conditions ends its source: nothing behind it can win.

Prefixes: the longest registered prefix of a path is found by a binary search over the registered lengths (each prefix
leaves markers at the lengths that the search visits on its way to it). All other prefixes that match are prefixes of
that one, so the candidates belong to its node and are collected once, at its first use. The cost is one slice and one
dict look-up per step, log2 of the number of different lengths, whatever the number of routes.

Paths come without query and fragment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from typing import Final

from proxeny.matcher.regex import CompiledRegex, RegexSet

SET_FROM: Final = 8
"""From so many regexes on, a set is asked instead of one after the other (measured: a set costs about three)."""

Candidates = tuple[int, ...]
NONE: Final[Candidates] = ()


class PrefixNode:
    """A registered prefix and its routes; a marker that covers no registered prefix is a node without routes."""

    __slots__ = ("candidates", "parent", "routes")

    def __init__(self) -> None:
        self.parent: PrefixNode | None = None
        self.routes: Candidates = NONE
        self.candidates: Candidates | None = None


_NOTHING: Final = PrefixNode()
_NOTHING.candidates = NONE


class PrefixIndex:
    """Prefixes to route numbers: ``add`` in ascending order, ``freeze`` once, then ``candidates``."""

    __slots__ = ("_final", "_lengths", "_nodes", "_table")

    def __init__(self, final: Sequence[bool]) -> None:
        """``final[i]``: route i has no condition beyond its prefix."""
        self._final = final
        self._nodes: dict[bytes, PrefixNode] = {}
        self._table: dict[bytes, PrefixNode] = {}
        self._lengths: Candidates = NONE

    def add(self, prefix: bytes, index: int) -> None:
        """Route ``index`` matches what begins with ``prefix``."""
        node = self._nodes.get(prefix)
        if node is None:
            node = self._nodes[prefix] = PrefixNode()
        # What stands behind a route without conditions, of the same prefix, can never win.
        if not node.routes or not self._final[node.routes[-1]]:
            node.routes += (index,)

    def freeze(self) -> None:
        """Lay out the table."""
        nodes, table = self._nodes, self._table
        self._lengths = lengths = tuple(sorted({len(prefix) for prefix in nodes}))
        marked = [[lengths[at] for at in _steps_before(len(lengths), target)] for target in range(len(lengths))]
        markers_of = dict(zip(lengths, marked, strict=True))
        texts = set(nodes)
        if len(lengths) > 1:
            texts.update([prefix[:cut] for prefix in nodes for cut in markers_of[len(prefix)]])
        stack: list[tuple[bytes, PrefixNode]] = []
        for text in sorted(texts):
            while stack and not text.startswith(stack[-1][0]):
                stack.pop()
            node = nodes.get(text)
            covering = stack[-1][1] if stack else None
            if node is None:
                table[text] = covering or _NOTHING
                continue
            node.parent = covering
            if covering is None:
                node.candidates = node.routes
            table[text] = node
            stack.append((text, node))
        self._nodes = {}

    def candidates(self, path: bytes) -> Candidates:
        """Numbers of the routes whose prefix matches, ascending, up to the first without further conditions."""
        best = None
        table = self._table
        lengths = self._lengths
        low, high, size = 0, len(lengths) - 1, len(path)
        while low <= high:
            middle = (low + high) >> 1
            length = lengths[middle]
            node = table.get(path[:length]) if length <= size else None
            if node is None:
                high = middle - 1
            else:
                best = node
                low = middle + 1
        if best is None:
            return NONE
        found = best.candidates
        return self._collect(best) if found is None else found

    def _collect(self, node: PrefixNode) -> Candidates:
        chain: list[Candidates] = []
        ancestor: PrefixNode | None = node
        while ancestor is not None:
            chain.append(ancestor.routes)
            ancestor = ancestor.parent
        found: list[int] = []
        for index in merge(*chain):
            found.append(index)
            if self._final[index]:
                break
        node.candidates = tuple(found)
        return node.candidates


def _steps_before(count: int, target: int) -> list[int]:
    """Positions below ``target`` that a binary search over ``count`` visits on its way to it."""
    low, high, steps = 0, count - 1, []
    while low <= high:
        middle = (low + high) >> 1
        if middle == target:
            break
        if middle < target:
            steps.append(middle)
            low = middle + 1
        else:
            high = middle - 1
    return steps


class ExactIndex:
    """Whole paths to route numbers."""

    __slots__ = ("_final", "_table")

    def __init__(self, final: Sequence[bool]) -> None:
        self._final = final
        self._table: dict[bytes, Candidates] = {}

    def add(self, path: bytes, index: int) -> None:
        """Route ``index`` matches ``path``; ascending over the calls."""
        routes = self._table.get(path, NONE)
        if not routes or not self._final[routes[-1]]:
            self._table[path] = (*routes, index)

    def candidates(self, path: bytes) -> Candidates:
        """Numbers of the routes of exactly this path."""
        return self._table.get(path, NONE)


class RegexIndex:
    """Regex routes in their order; as a set when they are many."""

    __slots__ = ("_final", "_numbers", "_regexes", "_set")

    def __init__(self, final: Sequence[bool]) -> None:
        self._final = final
        self._numbers: list[int] = []
        self._regexes: list[CompiledRegex] = []
        self._set: RegexSet | None = None

    def add(self, regex: CompiledRegex, index: int) -> None:
        """Route ``index`` matches what ``regex`` matches as a whole."""
        self._numbers.append(index)
        self._regexes.append(regex)

    def freeze(self) -> None:
        """Build the set."""
        if len(self._regexes) >= SET_FROM:
            self._set = RegexSet.compile([regex.pattern for regex in self._regexes])

    def candidates(self, path: bytes, below: int) -> list[int]:
        """Numbers under ``below`` of the routes whose regex matches, up to the first without further conditions."""
        numbers, final = self._numbers, self._final
        found: list[int] = []
        if self._set is not None:
            for position in self._set.matching(path):
                if numbers[position] >= below:
                    break
                found.append(numbers[position])
            return found
        for index, regex in zip(numbers, self._regexes, strict=True):
            if index >= below:
                break
            if regex.match(path):
                found.append(index)
                if final[index]:
                    break
        return found


class PathIndex:
    """All path conditions of one virtual host; ``add_*`` in ascending order of route numbers, then ``freeze``."""

    __slots__ = ("_exact", "_exact_ci", "_final", "_prefix", "_prefix_ci", "_regex", "_size", "candidates")

    candidates: Callable[[bytes], Sequence[int]]
    """Numbers of the routes whose path condition matches, ascending; nothing behind the first without further
    conditions can win. There after ``freeze``."""

    def __init__(self, final: Sequence[bool]) -> None:
        """``final[i]``: route i has no condition beyond the path condition that is added here."""
        self._final = final
        self._size = len(final)
        self._exact: ExactIndex | None = None
        self._exact_ci: ExactIndex | None = None
        self._prefix: PrefixIndex | None = None
        self._prefix_ci: PrefixIndex | None = None
        self._regex: RegexIndex | None = None

    def add_prefix(self, prefix: bytes, index: int, case_sensitive: bool) -> None:
        """Route ``index`` matches paths that begin with ``prefix``."""
        if case_sensitive:
            self._prefix = self._prefix or PrefixIndex(self._final)
            self._prefix.add(prefix, index)
        else:
            self._prefix_ci = self._prefix_ci or PrefixIndex(self._final)
            self._prefix_ci.add(prefix.lower(), index)

    def add_exact(self, path: bytes, index: int, case_sensitive: bool) -> None:
        """Route ``index`` matches this path."""
        if case_sensitive:
            self._exact = self._exact or ExactIndex(self._final)
            self._exact.add(path, index)
        else:
            self._exact_ci = self._exact_ci or ExactIndex(self._final)
            self._exact_ci.add(path.lower(), index)

    def add_regex(self, regex: CompiledRegex, index: int) -> None:
        """Route ``index`` matches paths that ``regex`` matches as a whole."""
        self._regex = self._regex or RegexIndex(self._final)
        self._regex.add(regex, index)

    def freeze(self) -> None:
        """Lay the indexes out."""
        for index in (self._prefix, self._prefix_ci, self._regex):
            if index is not None:
                index.freeze()
        others = (self._exact, self._exact_ci, self._prefix_ci, self._regex)
        # Most virtual hosts have prefixes only: their index is asked without a call in between.
        alone = self._prefix is not None and not any(others)
        self.candidates = self._prefix.candidates if alone and self._prefix is not None else self._all_candidates

    def _all_candidates(self, path: bytes) -> Sequence[int]:
        found: Sequence[int] = self._exact.candidates(path) if self._exact is not None else NONE
        if self._prefix is not None:
            found = _join(found, self._prefix.candidates(path))
        if self._exact_ci is not None:
            found = _join(found, self._exact_ci.candidates(path.lower()))
        if self._prefix_ci is not None:
            found = _join(found, self._prefix_ci.candidates(path.lower()))
        if self._regex is not None:
            found = _join(found, self._regex.candidates(path, self._first_final(found)))
        return found

    def _first_final(self, found: Sequence[int]) -> int:
        """The first of ``found`` behind which nothing can win; a number above all if there is none."""
        for index in found:
            if self._final[index]:
                return index
        return self._size


def _join(one: Sequence[int], other: Sequence[int]) -> Sequence[int]:
    if not one:
        return other
    if not other:
        return one
    return sorted((*one, *other))
