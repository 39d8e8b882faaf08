"""Longest-prefix look-up over bytes, whatever the number of prefixes.

The longest registered prefix of a text is found by a binary search over the registered lengths (each prefix leaves
markers at the lengths that the search visits on its way to it). All other prefixes that match are prefixes of that one:
a chain of ``parent``. The cost is one slice and one dict look-up per step, log2 of the number of different lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.event.slices import finish, sort_steps

if TYPE_CHECKING:
    from proxeny.event.slices import Steps

Lengths = tuple[int, ...]


class PrefixNode:
    """A registered prefix; a marker that covers none leads to a node without value and parent."""

    __slots__ = ("parent", "resolved", "value")

    def __init__(self) -> None:
        self.parent: PrefixNode | None = None
        self.value: Any = None
        """What was registered under the prefix."""
        self.resolved: Any = None
        """What the owner of the table made of this node and its parents; None = nothing yet."""


_NOTHING: Final = PrefixNode()


class PrefixTable:
    """Prefixes to nodes: ``node`` for each prefix, ``freeze`` once, then ``find``."""

    __slots__ = ("_lengths", "_nodes", "_table")

    def __init__(self) -> None:
        self._nodes: dict[bytes, PrefixNode] = {}
        self._table: dict[bytes, PrefixNode] = {}
        self._lengths: Lengths = ()

    def node(self, prefix: bytes) -> PrefixNode:
        """The node of ``prefix``; made where there is none."""
        found = self._nodes.get(prefix)
        if found is None:
            found = self._nodes[prefix] = PrefixNode()
        return found

    def freeze(self) -> list[PrefixNode]:
        """Lay out the table; the nodes, parents before their children."""
        return finish(self.freeze_steps())

    def freeze_steps(self) -> Steps[list[PrefixNode]]:
        """``freeze`` in slices."""
        nodes, table = self._nodes, self._table
        by_length: dict[int, list[PrefixNode]] = {}
        for number, (prefix, node) in enumerate(nodes.items()):
            by_length.setdefault(len(prefix), []).append(node)
            if not number & 255:
                yield
        self._lengths = lengths = tuple(sorted(by_length))
        texts = yield from sort_steps((yield from self._with_markers()))
        stack: list[tuple[bytes, PrefixNode]] = []
        for number, text in enumerate(texts):
            while stack and not text.startswith(stack[-1][0]):
                stack.pop()
            found = nodes.get(text)
            covering = stack[-1][1] if stack else None
            if found is None:
                table[text] = covering or _NOTHING
            else:
                found.parent = covering
                table[text] = found
                stack.append((text, found))
            if not number & 127:
                yield
        self._nodes = {}
        return [node for length in lengths for node in by_length[length]]

    def _with_markers(self) -> Steps[set[bytes]]:
        """All prefixes, and what of them a search looks up on its way to them."""
        lengths = self._lengths
        marked = [[lengths[at] for at in _steps_before(len(lengths), target)] for target in range(len(lengths))]
        markers_of = dict(zip(lengths, marked, strict=True))
        texts = set(self._nodes)
        for number, prefix in enumerate(self._nodes):
            texts.update([prefix[:cut] for cut in markers_of[len(prefix)]])
            if not number & 127:
                yield
        return texts

    def find(self, text: bytes) -> PrefixNode | None:
        """The node of the longest prefix of ``text``; its value is None, or it is None, when there is none."""
        best = None
        table = self._table
        lengths = self._lengths
        low, high, size = 0, len(lengths) - 1, len(text)
        while low <= high:
            middle = (low + high) >> 1
            length = lengths[middle]
            node = table.get(text[:length]) if length <= size else None
            if node is None:
                high = middle - 1
            else:
                best = node
                low = middle + 1
        return best


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
