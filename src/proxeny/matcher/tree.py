"""The unified matcher at run time (Envoy: ``source/common/matcher``): predicates, match trees, what a match leads to.

A match yields an action, None (nothing matched) or NOT_AVAILABLE (a fact that decides is not known yet). Everything
here is made once per configuration by ``tree_compiler``. An observer, where one is given, is told what was asked and
found: explanations are made by the same code as decisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from proxeny.matcher.inputs import NOT_AVAILABLE, DataInput, InputMatcher


class Observer(Protocol):
    """Follows one match."""

    def note(self, text: str) -> None:
        """A step, for people."""

    def skipped(self, action: Any) -> None:
        """An action was matched under ``keep_matching``: matching goes on as if it had not been."""


def shown(value: Any) -> str:
    """A fact for people."""
    if value is None:
        return "absent"
    return repr(value)[1:] if isinstance(value, bytes) else str(value)


class Predicate(Protocol):
    """A condition (Envoy: ``FieldMatcher``)."""

    def match(self, data: Any, observer: Observer | None = None) -> bool | None:
        """Whether it holds; None when that cannot be said yet."""


class SinglePredicate:
    """One fact, judged by one matcher; a fact that does not exist is not wanted by any."""

    __slots__ = ("input", "matcher")

    def __init__(self, data_input: DataInput, matcher: InputMatcher) -> None:
        self.input = data_input
        self.matcher = matcher

    def match(self, data: Any, observer: Observer | None = None) -> bool | None:
        """By the fact."""
        value = self.input.get(data)
        if value is NOT_AVAILABLE:
            return None
        holds = value is not None and self.matcher.match(value)
        if observer is not None:
            observer.note(f"{self.input.name} {shown(value)} {self.matcher}: {'yes' if holds else 'no'}")
        return holds


class AllOf:
    """Several, which must all hold; the first that does not, or cannot be said, decides."""

    __slots__ = ("predicates",)

    def __init__(self, predicates: Iterable[Predicate]) -> None:
        self.predicates = tuple(predicates)

    def match(self, data: Any, observer: Observer | None = None) -> bool | None:
        """In their order."""
        for predicate in self.predicates:
            holds = predicate.match(data, observer)
            if not holds:
                return holds
        return True


class AnyOf(AllOf):
    """Several, of which one must hold; what cannot be said yet counts only where none holds."""

    __slots__ = ()

    def match(self, data: Any, observer: Observer | None = None) -> bool | None:
        """In their order."""
        result: bool | None = False
        for predicate in self.predicates:
            holds = predicate.match(data, observer)
            if holds:
                return True
            if holds is None:
                result = None
        return result


class Not:
    """The opposite of another."""

    __slots__ = ("predicate",)

    def __init__(self, predicate: Predicate) -> None:
        self.predicate = predicate

    def match(self, data: Any, observer: Observer | None = None) -> bool | None:
        """What cannot be said stays so."""
        holds = self.predicate.match(data, observer)
        return None if holds is None else not holds


class MatchTree(Protocol):
    """A tree or a subtree (Envoy: ``MatchTree``)."""

    def match(self, data: Any, observer: Observer | None = None) -> Any:
        """The action, None or NOT_AVAILABLE."""


class OnMatch:
    """What a match leads to: an action, or another tree."""

    __slots__ = ("action", "keep_matching", "tree")

    def __init__(self, action: Any, tree: MatchTree | None, keep_matching: bool) -> None:
        self.action = action
        self.tree = tree
        self.keep_matching = keep_matching

    def resolve(self, data: Any, observer: Observer | None = None) -> Any:
        """The action, None when there is none in the end or matching goes on, or NOT_AVAILABLE."""
        result = self.action if self.tree is None else self.tree.match(data, observer)
        if self.keep_matching and result is not None and result is not NOT_AVAILABLE:
            if observer is not None:
                observer.skipped(result)
            return None
        return result


def resolve(on_match: OnMatch | None, data: Any, observer: Observer | None) -> Any:
    """``on_no_match``, which may be unset."""
    return None if on_match is None else on_match.resolve(data, observer)


class NoMatcher:
    """A tree that asks nothing: ``on_no_match`` at once."""

    __slots__ = ("on_no_match",)

    def __init__(self, on_no_match: OnMatch | None) -> None:
        self.on_no_match = on_no_match

    def match(self, data: Any, observer: Observer | None = None) -> Any:
        """Always the same."""
        return resolve(self.on_no_match, data, observer)


class MatcherList:
    """``matcher_list``: the first predicate that holds, whose match leads to an action."""

    __slots__ = ("matchers", "on_no_match")

    def __init__(self, matchers: Iterable[tuple[Predicate, OnMatch]], on_no_match: OnMatch | None) -> None:
        self.matchers = tuple(matchers)
        self.on_no_match = on_no_match

    def match(self, data: Any, observer: Observer | None = None) -> Any:
        """In their order."""
        for predicate, on_match in self.matchers:
            holds = predicate.match(data, observer)
            if holds is None:
                return NOT_AVAILABLE
            if holds:
                result = on_match.resolve(data, observer)
                if result is not None:
                    return result
        if observer is not None:
            observer.note("no matcher of the list leads to an action")
        return resolve(self.on_no_match, data, observer)


class InputTree:
    """A tree that is chosen from by one fact; subclasses say what fits it."""

    __slots__ = ("input", "on_no_match")

    def __init__(self, data_input: DataInput, on_no_match: OnMatch | None) -> None:
        self.input = data_input
        self.on_no_match = on_no_match

    def candidates(self, value: bytes) -> Iterable[tuple[str, OnMatch]]:
        """What fits the fact, the best first: each with its name for people."""
        raise NotImplementedError

    def match(self, data: Any, observer: Observer | None = None) -> Any:
        """The first candidate that leads to an action."""
        value = self.input.get(data)
        if value is NOT_AVAILABLE:
            return NOT_AVAILABLE
        if observer is not None:
            observer.note(f"{self.input.name} is {shown(value)}")
        if isinstance(value, bytes):
            for name, on_match in self.candidates(value):
                if observer is not None:
                    observer.note(f"it fits {name}")
                result = on_match.resolve(data, observer)
                if result is not None:
                    return result
        if observer is not None:
            observer.note("nothing that fits it leads to an action")
        return resolve(self.on_no_match, data, observer)


class ExactMap(InputTree):
    """``exact_match_map``."""

    __slots__ = ("children",)

    def __init__(self, data_input: DataInput, on_no_match: OnMatch | None, children: dict[bytes, OnMatch]) -> None:
        super().__init__(data_input, on_no_match)
        self.children = children

    def candidates(self, value: bytes) -> Iterable[tuple[str, OnMatch]]:
        """The value itself."""
        found = self.children.get(value)
        return () if found is None else ((shown(value), found),)


class PrefixMap(InputTree):
    """``prefix_match_map``: one look-up per length of prefix that occurs, however many there are."""

    __slots__ = ("children", "lengths")

    def __init__(self, data_input: DataInput, on_no_match: OnMatch | None, children: dict[bytes, OnMatch]) -> None:
        super().__init__(data_input, on_no_match)
        self.children = children
        self.lengths = sorted({len(prefix) for prefix in children}, reverse=True)

    def candidates(self, value: bytes) -> Iterable[tuple[str, OnMatch]]:
        """The longest prefix first."""
        size = len(value)
        for length in self.lengths:
            if length <= size:
                prefix = value[:length]
                found = self.children.get(prefix)
                if found is not None:
                    yield shown(prefix), found
