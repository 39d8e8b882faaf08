"""What the unified matcher stands on: data inputs, input matchers, and the factories that extensions register.

A data input reads one fact out of what is being matched (a connection, a request); an input matcher judges it. Text is
bytes; None is a fact that does not exist; NOT_AVAILABLE one that is not known yet. Some inputs give objects of their
own to the one input matcher that understands them; to all others those are no text and match nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from proxeny.matcher.tree import MatchTree, OnMatch
    from proxeny.matcher.tree_compiler import MatchTreeCompiler
    from proxeny.network.factory_context import FactoryContext


class NotAvailable:
    """The type of NOT_AVAILABLE."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOT_AVAILABLE"


NOT_AVAILABLE: Final = NotAvailable()
"""The fact may come later (the headers of a response): the decision has to wait."""


class DataInput(Protocol):
    """Reads one fact (Envoy: ``Matcher::DataInput``)."""

    name: str
    """For people: ``source IP``."""

    def get(self, data: Any) -> Any:
        """Text as bytes, another object, None or NOT_AVAILABLE."""


class InputMatcher(Protocol):
    """Judges a fact (Envoy: ``Matcher::InputMatcher``)."""

    def match(self, value: Any) -> bool:
        """Whether ``value`` (never None or NOT_AVAILABLE) is one that is wanted."""

    def __str__(self) -> str:
        """What is wanted, for people: ``is in 10.0.0.0/8``."""


class DataInputFactory(Protocol):
    """Registered under a kind of data input, ``network_input``, or ``common_input`` for those that read no data."""

    def create_input(self, message: Any, context: FactoryContext) -> DataInput:
        """The input of a configuration; ConfigError in Envoy's words."""


class InputMatcherFactory(Protocol):
    """Registered under ``input_matcher``."""

    def create_matcher(self, message: Any, context: FactoryContext) -> InputMatcher:
        """The matcher of a configuration; ConfigError in Envoy's words."""


class CustomMatcherFactory(Protocol):
    """Registered under ``custom_matcher``: match trees of other kinds than those of the API itself."""

    def create_tree(
        self, message: Any, data_input: DataInput, on_no_match: OnMatch | None, compiler: MatchTreeCompiler
    ) -> MatchTree:
        """The tree of a configuration; ConfigError in Envoy's words."""


class ActionFactory(Protocol):
    """Registered under a kind of action: ``filter_chain_action``."""

    def create_action(self, message: Any, context: FactoryContext) -> Any:
        """What a match yields: an object that is not None, which the owner of the tree understands."""
