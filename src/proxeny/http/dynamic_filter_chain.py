"""A chain some of whose filters are discovered: compiled anew when one of them changed, by the first request after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxeny.filter_config.provider import FilterConfigProvider
from proxeny.http.filter_chain import FilterChain
from proxeny.http.missing_config import MissingConfigFactory


class DynamicFilterChain(FilterChain):
    """As a chain it is what it was when it was made; ``for_route`` gives what it is now."""

    __slots__ = ("_chain", "_disabled", "_entries", "_providers", "_seen")

    def __init__(self, entries: Sequence[Any], disabled: Sequence[bool] = ()) -> None:
        """``entries``: factories, and providers of factories."""
        self._entries = tuple(entries)
        self._disabled = tuple(disabled)
        self._providers = tuple([entry for entry in entries if isinstance(entry, FilterConfigProvider)])
        self._look()
        super().__init__(self._chain.factories, disabled)

    def _look(self) -> None:
        self._seen = [provider.current for provider in self._providers]
        self._chain = FilterChain([_factory_of(entry) for entry in self._entries], self._disabled)

    def now(self) -> FilterChain:
        """The chain with what its filters have now."""
        for provider, seen in zip(self._providers, self._seen, strict=True):
            if provider.current is not seen:
                self._look()
                break
        return self._chain

    def for_route(self, route: Any) -> FilterChain:
        """See ``FilterChain``."""
        return self.now().for_route(route)


def _factory_of(entry: Any) -> Any:
    if not isinstance(entry, FilterConfigProvider):
        return entry
    return MissingConfigFactory(entry.name) if entry.current is None else entry.current
