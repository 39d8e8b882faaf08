"""Regexes to groups of routes, without asking every regex.

A regex is looked for by the literal text that all its matches begin with; regexes that share such a text are asked
together, as a set, when they are many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from proxeny.matcher.regex import CompiledRegex, RegexSet
from proxeny.router.prefix_table import PrefixTable
from proxeny.router.route_group import Conditions, RouteGroup, make_group_steps

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.router.condition_keys import Used
    from proxeny.router.request_facts import RequestFacts

SET_FROM: Final = 8
"""From so many regexes on, a set is asked instead of one after the other (measured: a set costs about three)."""

SET_PROGRAM: Final = 200_000
"""Instructions of one set at most: a set's automaton must fit its memory many times."""

SET_PATTERNS: Final = 1000
"""Patterns of one set at most: it is compiled in one piece, 4 ms for so many."""

MOST_COMPILED: Final = 16_384
"""Regexes that stay compiled, 2.3 KB each; of more than that the least used ones are compiled again (12 us)."""

compiled = lru_cache(maxsize=MOST_COMPILED)(CompiledRegex)


class RegexBatch:
    """Regexes of one literal beginning, in the order of their first routes."""

    __slots__ = ("_groups", "_lowest", "_patterns", "_sets")

    def __init__(self, members: list[tuple[bytes, int | RouteGroup]]) -> None:
        members.sort(key=lambda member: _lowest(member[1]))
        self._patterns = [pattern for pattern, _ in members]
        self._groups = [group for _, group in members]
        self._lowest = [_lowest(group) for group in self._groups]
        self._sets: tuple[Any, ...] = ()

    def make_sets(self) -> Steps[None]:
        """Put many regexes together, in slices; until then they are asked one by one."""
        if len(self._patterns) >= SET_FROM:
            made = []
            for one in _sets(self._patterns):
                made.append(one)
                yield
            self._sets = tuple(made)

    def first(self, text: bytes, facts: RequestFacts, bound: int) -> int:
        """The first route below ``bound`` whose regex and conditions match, else ``bound``."""
        if self._sets:
            for start, size, regexes in self._sets:
                if self._lowest[start] >= bound:
                    break
                for position in self._matching(text, start, size, regexes):
                    if self._lowest[position] >= bound:
                        break
                    bound = self._of(position, facts, bound)
            return bound
        for position, pattern in enumerate(self._patterns):
            if self._lowest[position] >= bound:
                break
            if compiled(pattern).match(text):
                bound = self._of(position, facts, bound)
        return bound

    def _matching(self, text: bytes, start: int, size: int, regexes: RegexSet | None) -> Sequence[int]:
        if regexes is None:
            return [at for at in range(start, start + size) if compiled(self._patterns[at]).match(text)]
        found = regexes.matching(text)
        return [start + position for position in found] if start else found

    def _of(self, position: int, facts: RequestFacts, bound: int) -> int:
        group = self._groups[position]
        if isinstance(group, int):
            return min(group, bound)
        return group.first(facts, bound)


def _lowest(group: int | RouteGroup) -> int:
    return group if isinstance(group, int) else group.lowest


def _sets(patterns: list[bytes]) -> Iterator[tuple[int, int, RegexSet | None]]:
    """Sets over runs of the patterns: where each begins, its size, and None where no set can be made."""
    start, total = 0, 0
    for position, pattern in enumerate(patterns):
        size = compiled(pattern).program_size
        if position > start and (total + size > SET_PROGRAM or position - start == SET_PATTERNS):
            yield start, position - start, _set(patterns[start:position], total)
            start, total = position, 0
        total += size
    yield start, len(patterns) - start, _set(patterns[start:], total)


def _set(patterns: list[bytes], program_size: int) -> RegexSet | None:
    return RegexSet.compile(patterns) if program_size <= SET_PROGRAM else None


class RegexGroups:
    """Regexes in their order; ``add`` in ascending order, ``freeze_steps`` once, then ``first``."""

    __slots__ = ("_conditions", "_table", "_used", "_waiting")

    def __init__(self, conditions: Conditions, used: Used = frozenset()) -> None:
        self._conditions = conditions
        self._used = used
        self._table = PrefixTable()
        self._waiting: dict[bytes, tuple[bytes, list[int]]] = {}

    def add(self, pattern: bytes, number: int) -> None:
        """Route ``number`` matches what ``pattern`` matches as a whole; ConfigError with RE2's words."""
        waiting = self._waiting.get(pattern)
        if waiting is None:
            self._waiting[pattern] = compiled(pattern).literal_prefix(), [number]
        elif self._conditions[waiting[1][-1]] is not None:
            waiting[1].append(number)

    def freeze_steps(self) -> Steps[None]:
        """Lay out the batches, in slices."""
        batches: dict[bytes, list[tuple[bytes, int | RouteGroup]]] = {}
        for number, (pattern, (prefix, numbers)) in enumerate(self._waiting.items()):
            group = yield from make_group_steps(numbers, self._conditions, self._used)
            batches.setdefault(prefix, []).append((pattern, group))
            if not number & 63:
                yield
        for prefix, members in batches.items():
            batch = self._table.node(prefix).value = RegexBatch(members)
            yield from batch.make_sets()
            yield
        yield from self._table.freeze_steps()
        self._waiting = {}

    def first(self, text: bytes, facts: RequestFacts, bound: int) -> int:
        """The first route below ``bound`` whose regex and conditions match, else ``bound``."""
        node = self._table.find(text)
        while node is not None:
            if node.value is not None:
                bound = node.value.first(text, facts, bound)
            node = node.parent
        return bound
