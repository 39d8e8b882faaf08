"""Match trees from ``xds.type.matcher.v3.Matcher``, or from Envoy's older message of the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.matcher.string import StringMatcher, compile_string_matcher
from proxeny.matcher.tree import (
    AllOf,
    AnyOf,
    ExactMap,
    MatcherList,
    MatchTree,
    NoMatcher,
    Not,
    OnMatch,
    Predicate,
    PrefixMap,
    SinglePredicate,
)
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.matcher.inputs import DataInput, InputMatcher
    from proxeny.network.factory_context import FactoryContext

COMMON_INPUT = "common_input"
INPUT_MATCHER = "input_matcher"
CUSTOM_MATCHER = "custom_matcher"


class TextMatcher:
    """A StringMatcher as an input matcher."""

    __slots__ = ("_match", "_text")

    def __init__(self, matcher: StringMatcher, text: str) -> None:
        self._match = matcher.match
        self._text = text

    def match(self, value: Any) -> bool:
        """By the text; what is no text does not match."""
        return isinstance(value, bytes) and self._match(value)

    def __str__(self) -> str:
        return self._text


class MatchTreeCompiler:
    """Compiles the trees of one owner: ``input_kind`` and ``action_kind`` are its kinds in the registry."""

    def __init__(self, context: FactoryContext, input_kind: str, action_kind: str) -> None:
        self.context = context
        self._input_kind = input_kind
        self._action_kind = action_kind

    def tree(self, message: Any) -> MatchTree:
        """From a Matcher message; ConfigError in Envoy's words."""
        on_no_match = self.on_match(message.on_no_match) if message.HasField("on_no_match") else None
        kind = message.WhichOneof("matcher_type")
        if kind == "matcher_list":
            matchers = [
                (self._predicate(item.predicate), self.on_match(item.on_match))
                for item in message.matcher_list.matchers
            ]
            return MatcherList(matchers, on_no_match)
        if kind == "matcher_tree":
            return self._input_tree(message.matcher_tree, on_no_match)
        return NoMatcher(on_no_match)

    def on_match(self, message: Any) -> OnMatch:
        """From an OnMatch message."""
        kind = message.WhichOneof("on_match")
        if kind == "matcher":
            return OnMatch(None, self.tree(message.matcher), message.keep_matching)
        if kind == "action":
            factory, config = _extension(self._action_kind, message.action)
            return OnMatch(self.create_action(factory, config), None, message.keep_matching)
        # Envoy crashes here: the matchers that are extensions of their own do not require the field.
        raise ConfigError('field: "on_match", reason: is required')

    def _input_tree(self, message: Any, on_no_match: OnMatch | None) -> MatchTree:
        data_input = self.data_input(message.input)
        kind = message.WhichOneof("tree_type")
        if kind == "custom_match":
            factory, config = _extension(CUSTOM_MATCHER, message.custom_match)
            tree: MatchTree = factory.create_tree(config, data_input, on_no_match, self)
            return tree
        children = {key.encode(): self.on_match(value) for key, value in sorted(getattr(message, kind).map.items())}
        return (ExactMap if kind == "exact_match_map" else PrefixMap)(data_input, on_no_match, children)

    def _predicate(self, message: Any) -> Predicate:
        kind = message.WhichOneof("match_type")
        if kind == "single_predicate":
            single = message.single_predicate
            return SinglePredicate(self.data_input(single.input), self._input_matcher(single))
        if kind == "not_matcher":
            return Not(self._predicate(message.not_matcher))
        predicates = [self._predicate(part) for part in getattr(message, kind).predicate]
        return AllOf(predicates) if kind == "and_matcher" else AnyOf(predicates)

    def _input_matcher(self, message: Any) -> InputMatcher:
        if message.WhichOneof("matcher") == "value_match":
            return TextMatcher(compile_string_matcher(message.value_match), _string_text(message.value_match))
        factory, config = _extension(INPUT_MATCHER, message.custom_match)
        matcher: InputMatcher = factory.create_matcher(config, self.context)
        return matcher

    def data_input(self, message: Any) -> DataInput:
        """One of the owner's kind of input, else of those that need no data."""
        config_type = message.typed_config.type_url.rpartition("/")[2]
        known = self.is_own_input(message.name, config_type)
        factory, config = _extension(self._input_kind if known else COMMON_INPUT, message)
        data_input: DataInput = factory.create_input(config, self.context)
        return data_input

    def is_own_input(self, name: str, config_type: str) -> bool:
        """Whether there is such an input of the owner's kind."""
        return REGISTRY.knows(self._input_kind, name, config_type)

    def create_action(self, factory: Any, config: Any) -> Any:
        """What a match yields."""
        return factory.create_action(config, self.context)


def _extension(kind: str, message: Any) -> tuple[Any, Any]:
    """The factory for a TypedExtensionConfig, and its configuration."""
    config_type = message.typed_config.type_url.rpartition("/")[2]
    return REGISTRY.factory(kind, message.name, config_type), unpack_any(message.typed_config)


def _string_text(message: Any) -> str:
    """A StringMatcher for people."""
    kind = message.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return f"matches regex '{message.safe_regex.regex}'"
    words = {"exact": "is", "prefix": "begins with", "suffix": "ends in", "contains": "contains"}
    case = " (in any case)" if message.ignore_case else ""
    return f"{words.get(kind, kind)} '{getattr(message, kind)}'{case}"
