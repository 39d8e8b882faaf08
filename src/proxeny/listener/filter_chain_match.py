"""Which filter chain a connection gets (Envoy: ``FilterChainManagerImpl``).

The criteria are looked at one after the other, each by its most specific value: destination port, destination address,
server name, transport protocol, application protocol, direct source address, source type, source address, source port.
A decision is final: once a destination port matched, chains without one are out. So the chains compile into a tree with
one level per criterion, and matching is one look-up per level. Levels at which no chain of a branch asks for anything
are left out of the tree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import json_format

from proxeny.event.slices import Steps, finish
from proxeny.listener.filter_chain_levels import LEVELS, Level, MatchError

if TYPE_CHECKING:
    from proxeny.network.stream_info import ConnectionInfo, StreamInfo


class Step(NamedTuple):
    """A level that was asked, whether a chain fits there, and the value of it that was taken."""

    level: Level
    fits: bool
    value: Any


Asking = tuple[Any, dict[Level, list[Any]]]
"""A chain and what it asks for: values by level, without the levels at which all is welcome."""


class Node:
    """A place in the tree where a level has to be asked."""

    __slots__ = ("level", "table")

    def __init__(self, level: Level, table: Any) -> None:
        self.level = level
        self.table = table


class FilterChainMatcher:
    """All chains of a listener; ``default`` is taken when none matches."""

    __slots__ = ("_tree", "chains", "default", "only")

    def __init__(self, tree: Any, chains: Sequence[Asking], default: Any) -> None:
        self._tree = default if tree is None else tree
        self.chains = chains
        self.default = default
        self.only: Any = None if self._tree.__class__ is Node else self._tree
        """The one chain that takes every connection, where there is such a one."""

    def find(self, info: ConnectionInfo, stream: StreamInfo | None = None) -> Any:
        """The chain for a connection, or None."""
        node = self._tree
        while node.__class__ is Node:
            found = node.level.choose(node.table, info)
            if found is None:
                return self.default
            node = found[1]
        return node

    def trace(self, info: ConnectionInfo) -> tuple[list[Step], Any]:
        """As ``find``: the levels that were asked, and the chain that matched; None where none did."""
        steps: list[Step] = []
        node = self._tree
        while node.__class__ is Node:
            found = node.level.choose(node.table, info)
            if found is None:
                steps.append(Step(node.level, False, None))
                return steps, None
            steps.append(Step(node.level, True, found[0]))
            node = found[1]
        return steps, node


class FilterChainTable:
    """Takes the chains of a listener one by one and makes their matcher."""

    def __init__(self) -> None:
        self._chains: list[Asking] = []
        self._names: dict[bytes, str] = {}
        self._taken: set[tuple[Any, ...]] = set()

    def check(self, message: Any) -> None:
        """Refuse a FilterChain whose match says what an earlier one says, or what nothing serves."""
        check_implemented(message)
        match = message.filter_chain_match
        earlier = self._names.setdefault(match.SerializeToString(deterministic=True), message.name)
        if len(self._names) == len(self._chains):
            raise MatchError(
                f"filter chain '{message.name}' has the same matching rules defined as '{earlier}'. "
                f"duplicate matcher is: {_as_json(match)}"
            )

    def add(self, message: Any, chain: Any) -> None:
        """A FilterChain that passed ``check``, compiled to ``chain``; ConfigError in Envoy's words."""
        criteria = [level.values(message.filter_chain_match) for level in LEVELS]
        for combination in product(*criteria):
            if combination in self._taken:
                raise MatchError("multiple filter chains with overlapping matching rules are defined")
            self._taken.add(combination)
        asked = {level: values for level, values in zip(LEVELS, criteria, strict=True) if values != [level.anything]}
        self._chains.append((chain, asked))

    def build(self, default: Any = None) -> FilterChainMatcher:
        """The matcher of all that was added."""
        return finish(self.build_steps(default))

    def build_steps(self, default: Any = None) -> Steps[FilterChainMatcher]:
        """``build`` in slices."""
        tree = (yield from _build(self._chains, 0)) if self._chains else None
        return FilterChainMatcher(tree, self._chains, default)


def _build(chains: list[Asking], depth: int) -> Steps[Any]:
    """The tree of chains from a level on: Nodes, and a chain where nothing is left to ask."""
    yield
    while depth < len(LEVELS):
        level = LEVELS[depth]
        depth += 1
        if any(level in asked for _, asked in chains):
            groups: dict[Any, list[Asking]] = {}
            for one in chains:
                for value in one[1].get(level, (level.anything,)):
                    groups.setdefault(value, []).append(one)
            below = {}
            for value, group in groups.items():
                below[value] = yield from _build(group, depth)
            return Node(level, level.table(below))
    return chains[0][0]


def check_implemented(message: Any) -> None:
    """Refuse a FilterChain that asks for what Envoy does not implement either."""
    match = message.filter_chain_match
    if match.address_suffix or match.HasField("suffix_len"):
        raise MatchError(f"filter chain '{message.name}' contains unimplemented fields")


def _as_json(match: Any) -> str:
    fields = json_format.MessageToDict(match, preserving_proto_field_name=True)
    order = {field.name: field.number for field in match.DESCRIPTOR.fields}
    return json.dumps(dict(sorted(fields.items(), key=lambda item: order[item[0]])), separators=(",", ":"))
