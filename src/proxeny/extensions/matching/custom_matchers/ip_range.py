"""``envoy.matching.custom_matchers.ip_range_matcher``: a match tree by the longest prefix of an IP address.

The ranges that hold the address are tried from the longest on, of equally long ones in the order of configuration. When
one leads to no action the next, wider one is tried, unless that one is ``exclusive``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from proxeny.matcher.cidr import LongestPrefix, Range, parse_ip, parse_range
from proxeny.matcher.tree import InputTree, OnMatch

if TYPE_CHECKING:
    from proxeny.matcher.inputs import DataInput
    from proxeny.matcher.tree_compiler import MatchTreeCompiler


class Entry:
    """One range and what it leads to."""

    __slots__ = ("exclusive", "on_match", "order", "prefix")

    def __init__(self, order: tuple[int, int], prefix: Range, exclusive: bool, on_match: OnMatch) -> None:
        self.order = order
        self.prefix = prefix
        self.exclusive = exclusive
        self.on_match = on_match


class IpRangeTree(InputTree):
    """The compiled tree."""

    __slots__ = ("_ranges",)

    def __init__(self, data_input: DataInput, on_no_match: OnMatch | None, entries: list[Entry]) -> None:
        super().__init__(data_input, on_no_match)
        by_range: dict[Range, list[Entry]] = {}
        for entry in sorted(entries, key=lambda entry: entry.order):
            by_range.setdefault(entry.prefix, []).append(entry)
        self._ranges = LongestPrefix(by_range.items())

    def candidates(self, value: bytes) -> Iterable[tuple[str, OnMatch]]:
        """From the longest range to the widest, exclusive ones only where they come first."""
        packed = parse_ip(value.decode("latin-1"))
        if packed is None:
            return
        first = True
        for entries in self._ranges.all(packed):
            for entry in entries:
                if first or not entry.exclusive:
                    yield str(entry.prefix), entry.on_match
                first = False


class IpRangeFactory:
    """The registered factory."""

    def create_tree(
        self, message: Any, data_input: DataInput, on_no_match: OnMatch | None, compiler: MatchTreeCompiler
    ) -> IpRangeTree:
        """ConfigError in Envoy's words."""
        entries = []
        for index, matcher in enumerate(message.range_matchers):
            on_match = compiler.on_match(matcher.on_match)
            for cidr in matcher.ranges:
                order = (-cidr.prefix_len.value, index)
                entries.append(Entry(order, parse_range(cidr), matcher.exclusive, on_match))
        return IpRangeTree(data_input, on_no_match, entries)


FACTORY = IpRangeFactory()
