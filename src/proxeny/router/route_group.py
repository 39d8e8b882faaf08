"""Routes that share a test which a request has passed: which of them is the first that matches.

Route numbers stand for the order of the configuration, so the first match among several groups is the lowest number
that any of them gives. A group that holds one route without further conditions is that route's number itself: most
groups of large tables are.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from typing import TYPE_CHECKING

from proxeny.router.prefix_table import PrefixNode, PrefixTable

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.router.condition_index import ConditionIndex
    from proxeny.router.condition_keys import Used
    from proxeny.router.request_facts import RequestFacts
    from proxeny.router.route_condition import RouteCondition

NO_ROUTE = 1 << 62
"""A number behind all routes."""

FLAT = 8
"""So many conditions are asked one after the other; more of them are indexed (``condition_index``)."""

Conditions = Sequence["RouteCondition | None"]
"""By route number; None: nothing is asked beyond the path."""


class RouteGroup:
    """Routes with conditions, and the first without any behind them."""

    __slots__ = ("conditions", "final", "flat", "index", "parent")

    def __init__(self, conditions: Conditions, flat: tuple[int, ...], final: int) -> None:
        self.conditions = conditions
        self.flat = flat
        """Routes with conditions, ascending, all below ``final``."""
        self.final = final
        """The first route without conditions, NO_ROUTE when there is none."""
        self.index: ConditionIndex | None = None
        """Finds further routes with conditions."""
        self.parent: RouteGroup | None = None
        """Another group that what is in this one belongs to as well."""

    @property
    def lowest(self) -> int:
        """No route of this group (its parent aside) has a lower number."""
        found = self.flat[0] if self.flat else self.final
        return found if self.index is None else min(found, self.index.lowest)

    def first(self, facts: RequestFacts, bound: int) -> int:
        """The first route below ``bound`` that matches, else ``bound``."""
        group: RouteGroup | None = self
        while group is not None:
            if group.final < bound:
                bound = group.final
            for number in group.flat:
                if number >= bound:
                    break
                if group.conditions[number].matches(facts):  # type: ignore[union-attr]
                    bound = number
                    break
            if group.index is not None:
                bound = group.index.first(facts, bound)
            group = group.parent
        return bound


def make_group_steps(numbers: Sequence[int], conditions: Conditions, used: Used) -> Steps[int | RouteGroup]:
    """The group of some routes, ascending; what of them can never win is left out.

    ``used``: the kinds of keys (``RouteCondition.keys``) by which the routes were found already.
    """
    asking: list[int] = []
    final = NO_ROUTE
    for number in numbers:
        if conditions[number] is None:
            final = number
            break
        asking.append(number)
        if not len(asking) & 1023:
            yield
    if not asking:
        return final
    if len(asking) <= FLAT:
        return RouteGroup(conditions, tuple(asking), final)
    from proxeny.router.condition_index import ConditionIndex

    index, rest = yield from ConditionIndex.build_steps(asking, conditions, used)
    group = RouteGroup(conditions, tuple(rest), final)
    group.index = index
    return group


class PrefixGroups:
    """Prefixes to groups of routes: ``add`` in ascending order, ``freeze_steps`` once, then ``group``."""

    __slots__ = ("_conditions", "_table", "_used")

    def __init__(self, conditions: Conditions, used: Used = frozenset()) -> None:
        self._conditions = conditions
        self._used = used
        self._table = PrefixTable()

    def add(self, prefix: bytes, number: int) -> None:
        """Route ``number`` matches what begins with ``prefix``."""
        node = self._table.node(prefix)
        if node.value is None:
            node.value = [number]
        # What stands behind a route without conditions, of the same prefix, can never win.
        elif self._conditions[node.value[-1]] is not None:
            node.value.append(number)

    def freeze_steps(self) -> Steps[None]:
        """Lay out the table, in slices."""
        nodes = yield from self._table.freeze_steps()
        for number, node in enumerate(nodes):
            node.value = yield from make_group_steps(node.value, self._conditions, self._used)
            if not number & 63:
                yield

    def group(self, text: bytes) -> int | RouteGroup | None:
        """The group of all routes whose prefix matches; None when none does."""
        node = self._table.find(text)
        if node is None:
            return None
        return node.resolved if node.resolved is not None or node.value is None else self._resolve(node)

    def _resolve(self, node: PrefixNode) -> int | RouteGroup:
        """A node's routes together with those of its parents; once, at its first use."""
        chain: list[PrefixNode] = []
        at: PrefixNode | None = node
        while at is not None and at.resolved is None:
            chain.append(at)
            at = at.parent
        above = None if at is None else at.resolved
        for link in reversed(chain):
            above = link.resolved = link.value if above is None else self._joined(link.value, above)
        return node.resolved  # type: ignore[no-any-return]

    def _joined(self, own: int | RouteGroup, above: int | RouteGroup) -> int | RouteGroup:
        if isinstance(own, int):
            if isinstance(above, int):
                return min(own, above)
            own = RouteGroup(self._conditions, (), own)
        if isinstance(above, int):
            above = RouteGroup(self._conditions, (), above)
        final = min(own.final, above.final)
        mine = tuple([number for number in own.flat if number < final])
        theirs = tuple([number for number in above.flat if number < final])
        joined = RouteGroup(self._conditions, mine, final)
        joined.index = own.index
        if above.index is None and above.parent is None and len(mine) + len(theirs) <= FLAT:
            joined.flat = tuple(merge(mine, theirs))
        elif theirs or above.index is not None or above.parent is not None:
            joined.parent = above
        return joined if joined.flat or joined.index is not None or joined.parent is not None else final
