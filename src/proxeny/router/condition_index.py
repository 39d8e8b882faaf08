"""Which of many routes that share a path condition come into question for a request, by what they ask of it.

Each route is entered under one of its further conditions on a header, a query parameter or a cookie: the one that it
shares with the fewest others. A request then finds the few routes whose entry it fits; these are asked in full, so an
entry need only be necessary for its route, not sufficient. Routes that say nothing of the kind stay outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from proxeny.router.condition_keys import (
    ANY_CASE,
    COOKIE,
    EXACT,
    HEADER,
    PREFIX,
    PRESENT,
    QUERY,
    REGEX,
    SUFFIX,
    Key,
    Used,
)
from proxeny.router.regex_groups import RegexGroups
from proxeny.router.route_group import Conditions, PrefixGroups, RouteGroup, make_group_steps

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.router.request_facts import RequestFacts

_COSTS: Final = {
    EXACT: 0,
    EXACT + ANY_CASE: 0,
    PREFIX: 2,
    PREFIX + ANY_CASE: 2,
    SUFFIX: 2,
    SUFFIX + ANY_CASE: 2,
    REGEX: 8,
    PRESENT: 32,
}
"""What looking a value up costs, in conditions asked."""

FEW_NAMES: Final = 6
"""So many headers are asked for by name; of more, the request's are gone through."""


class ValueIndex:
    """Routes by the value of one header, parameter or cookie."""

    __slots__ = (
        "_exact",
        "_exact_any_case",
        "_prefix",
        "_prefix_any_case",
        "_present",
        "_regex",
        "_suffix",
        "_suffix_any_case",
    )

    def __init__(self) -> None:
        self._exact: dict[bytes, int | RouteGroup] = {}
        self._exact_any_case: dict[bytes, int | RouteGroup] = {}
        self._prefix: PrefixGroups | None = None
        self._prefix_any_case: PrefixGroups | None = None
        self._suffix: PrefixGroups | None = None
        self._suffix_any_case: PrefixGroups | None = None
        self._regex: RegexGroups | None = None
        self._present: int | RouteGroup | None = None

    def build_steps(self, tests: dict[str, dict[bytes, list[int]]], conditions: Conditions, used: Used) -> Steps[None]:
        """Fill it, once, in slices. ``tests``: route numbers by test and text."""
        self._exact = yield from _exact(tests.get(EXACT), conditions, used)
        self._exact_any_case = yield from _exact(tests.get(EXACT + ANY_CASE), conditions, used)
        self._prefix = yield from _prefixes(tests.get(PREFIX), conditions, used)
        self._prefix_any_case = yield from _prefixes(tests.get(PREFIX + ANY_CASE), conditions, used)
        self._suffix = yield from _suffixes(tests.get(SUFFIX), conditions, used)
        self._suffix_any_case = yield from _suffixes(tests.get(SUFFIX + ANY_CASE), conditions, used)
        self._regex = yield from _regexes(tests.get(REGEX), conditions, used)
        if PRESENT in tests:
            self._present = yield from make_group_steps(tests[PRESENT][b""], conditions, used)

    def first(self, value: bytes, facts: RequestFacts, bound: int) -> int:
        """The first route below ``bound`` that matches and whose test this value passes, else ``bound``."""
        if self._exact:
            bound = _of(self._exact.get(value), facts, bound)
        if self._prefix is not None:
            bound = _of(self._prefix.group(value), facts, bound)
        if self._suffix is not None:
            bound = _of(self._suffix.group(value[::-1]), facts, bound)
        if self._exact_any_case or self._prefix_any_case is not None or self._suffix_any_case is not None:
            bound = self._first_any_case(value.lower(), facts, bound)
        if self._regex is not None:
            bound = self._regex.first(value, facts, bound)
        return _of(self._present, facts, bound)

    def _first_any_case(self, value: bytes, facts: RequestFacts, bound: int) -> int:
        bound = _of(self._exact_any_case.get(value), facts, bound)
        if self._prefix_any_case is not None:
            bound = _of(self._prefix_any_case.group(value), facts, bound)
        if self._suffix_any_case is not None:
            bound = _of(self._suffix_any_case.group(value[::-1]), facts, bound)
        return bound


def _of(group: int | RouteGroup | None, facts: RequestFacts, bound: int) -> int:
    # A group of routes that were entered here is never a bare number: all of them have conditions.
    return bound if group is None else group.first(facts, bound)  # type: ignore[union-attr]


def _exact(
    texts: dict[bytes, list[int]] | None, conditions: Conditions, used: Used
) -> Steps[dict[bytes, int | RouteGroup]]:
    made: dict[bytes, int | RouteGroup] = {}
    for number, (text, numbers) in enumerate((texts or {}).items()):
        made[text] = yield from make_group_steps(numbers, conditions, used)
        if not number & 63:
            yield
    return made


def _prefixes(texts: dict[bytes, list[int]] | None, conditions: Conditions, used: Used) -> Steps[PrefixGroups | None]:
    if texts is None:
        return None
    groups = PrefixGroups(conditions, used)
    yield from _enter(groups, texts)
    yield from groups.freeze_steps()
    return groups


def _suffixes(texts: dict[bytes, list[int]] | None, conditions: Conditions, used: Used) -> Steps[PrefixGroups | None]:
    """Suffixes are prefixes of the reversed value."""
    if texts is None:
        return None
    return (yield from _prefixes({text[::-1]: numbers for text, numbers in texts.items()}, conditions, used))


def _regexes(texts: dict[bytes, list[int]] | None, conditions: Conditions, used: Used) -> Steps[RegexGroups | None]:
    if texts is None:
        return None
    groups = RegexGroups(conditions, used)
    yield from _enter(groups, texts)
    yield from groups.freeze_steps()
    return groups


def _enter(groups: PrefixGroups | RegexGroups, texts: dict[bytes, list[int]]) -> Steps[None]:
    for place, (text, numbers) in enumerate(texts.items()):
        for number in numbers:
            groups.add(text, number)
        if not place & 15:
            yield


class ConditionIndex:
    """The index of one group of routes."""

    __slots__ = ("_cookies", "_few_headers", "_headers", "_query", "lowest")

    def __init__(self, names: dict[str, dict[bytes, ValueIndex]], lowest: int) -> None:
        self._headers = names.get(HEADER, {})
        self._few_headers = tuple(self._headers.items()) if len(self._headers) <= FEW_NAMES else ()
        self._query = names.get(QUERY, {})
        self._cookies = names.get(COOKIE, {})
        self.lowest = lowest
        """The lowest number in it."""

    @classmethod
    def build_steps(
        cls, numbers: list[int], conditions: Conditions, used: Used
    ) -> Steps[tuple[ConditionIndex | None, list[int]]]:
        """The index of those of ``numbers`` (ascending) that it serves, and the others; in slices."""
        keys: dict[int, list[Key]] = {}
        counts: Counter[Key] = Counter()
        for place, number in enumerate(numbers):
            found = keys[number] = _usable(conditions[number].keys(), used)  # type: ignore[union-attr]
            counts.update(found)
            if not place & 31:
                yield
        names: dict[tuple[str, bytes], dict[str, dict[bytes, list[int]]]] = {}
        rest: list[int] = []
        lowest = -1
        for place, (number, found) in enumerate(keys.items()):
            if not place & 63:
                yield
            if not found:
                rest.append(number)
                continue
            kind, name, test, text = min(found, key=lambda key: counts[key] + _COSTS[key[2]])
            names.setdefault((kind, name), {}).setdefault(test, {}).setdefault(text, []).append(number)
            lowest = number if lowest < 0 else lowest
        if not names:
            return None, rest
        made: dict[str, dict[bytes, ValueIndex]] = {}
        for (kind, name), tests in names.items():
            now_used = used.union([(kind, name, test) for test in tests])
            index = made.setdefault(kind, {})[name] = ValueIndex()
            yield from index.build_steps(tests, conditions, now_used)
        return cls(made, lowest), rest

    def first(self, facts: RequestFacts, bound: int) -> int:
        """The first route below ``bound`` that matches, else ``bound``."""
        if self.lowest >= bound:
            return bound
        if self._few_headers:
            for name, index in self._few_headers:
                for value in facts.headers.get_all(name):
                    bound = index.first(value, facts, bound)
        elif self._headers:
            bound = _first(self._headers, facts.headers.items(), facts, bound)
        if self._query:
            bound = _first(self._query, facts.query().items(), facts, bound)
        if self._cookies:
            bound = _first(self._cookies, facts.cookies().items(), facts, bound)
        return bound


def _first(
    names: dict[bytes, ValueIndex], pairs: Iterable[tuple[bytes, bytes]], facts: RequestFacts, bound: int
) -> int:
    for name, value in pairs:
        index = names.get(name)
        if index is not None:
            bound = index.first(value, facts, bound)
    return bound


def _usable(keys: Iterable[Key], used: Used) -> list[Key]:
    return [key for key in keys if key[:3] not in used]
