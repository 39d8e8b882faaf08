"""``envoy.config.common.mutation_rules.v3.HeaderMutation``, one after the other (Envoy: ``Http::HeaderMutations``).

Unlike the mutations of routes (``header_mutation``), each sees what those before it left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.matcher.string import StringMatcher, compile_string_matcher
from proxeny.router.header_mutation import HeaderEntry

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo


class Mutation(Protocol):
    """One change."""

    def apply(
        self,
        headers: HeaderMap,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        info: StreamInfo,
    ) -> None:
        """Change ``headers``; the others are what formatters see."""


class Append:
    """Sets, adds or replaces one header by the action of its HeaderValueOption."""

    __slots__ = ("_entry",)

    def __init__(self, option: Any) -> None:
        self._entry = HeaderEntry(option)

    def apply(
        self,
        headers: HeaderMap,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        info: StreamInfo,
    ) -> None:
        """An empty value does nothing unless it is to be kept."""
        entry = self._entry
        value = entry.value(request_headers, response_headers, info)
        if value or entry.keep_empty:
            entry.apply(headers, value)


class Remove:
    """Removes one header."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name.lower().encode("utf-8")

    def apply(
        self,
        headers: HeaderMap,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        info: StreamInfo,
    ) -> None:
        """``host`` is the pseudo header ``:authority`` here, which this name does not reach."""
        headers.remove(self._name)


class RemoveOnMatch:
    """Removes the headers whose names match."""

    __slots__ = ("_matcher",)

    def __init__(self, matcher: StringMatcher) -> None:
        self._matcher = matcher

    def apply(
        self,
        headers: HeaderMap,
        request_headers: HeaderMap | None,
        response_headers: HeaderMap | None,
        info: StreamInfo,
    ) -> None:
        """By their lower-case names."""
        match = self._matcher.match
        names = {name for name, _ in headers.items()}
        headers.remove_many(tuple([name for name in names if match(name)]))


def compile_mutations(messages: Iterable[Any]) -> tuple[Mutation, ...]:
    """From HeaderMutation messages; ConfigError in Envoy's words."""
    mutations: list[Mutation] = []
    for message in messages:
        action = message.WhichOneof("action")
        if action == "append":
            mutations.append(Append(message.append))
        elif action == "remove":
            mutations.append(Remove(message.remove))
        else:
            mutations.append(RemoveOnMatch(compile_string_matcher(message.remove_on_match.key_matcher)))
    return tuple(mutations)
