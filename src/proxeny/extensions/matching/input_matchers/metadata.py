"""``envoy.matching.matchers.metadata_matcher``: a value out of metadata, as metadata inputs give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.value_matcher import compile_value_matcher

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class MetadataValue:
    """What a metadata input gives: a JSON value, None for one that is not there."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return repr(self.value)


class MetadataMatcher:
    """A ValueMatcher; any other kind of fact never matches, inverted or not."""

    __slots__ = ("_invert", "_matches")

    def __init__(self, message: Any) -> None:
        self._matches = compile_value_matcher(message.value)
        self._invert = message.invert

    def match(self, value: Any) -> bool:
        """By the value."""
        return isinstance(value, MetadataValue) and self._matches(value.value) is not self._invert

    def __str__(self) -> str:
        return "does not fit the value matcher" if self._invert else "fits the value matcher"


class MetadataMatcherFactory:
    """The registered factory."""

    def create_matcher(self, message: Any, context: FactoryContext) -> MetadataMatcher:
        """ConfigError in Envoy's words."""
        return MetadataMatcher(message)


FACTORY = MetadataMatcherFactory()
