"""Listeners by name and by address: thousands of them are checked against each other with one look-up each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """What a table holds: a name, and a compiled configuration with addresses."""

    @property
    def name(self) -> str:
        """The listener's name."""
        ...

    @property
    def config(self) -> Any:
        """The compiled listener."""
        ...


Item = TypeVar("Item", bound=Named)


class ListenerTable(dict[str, Item]):
    """In the order they were added; a listener that takes another's name takes its place. Change it by put and drop."""

    def __init__(self) -> None:
        super().__init__()
        self._by_address: dict[Any, dict[Item, None]] = {}

    def put(self, item: Item) -> None:
        """Add a listener, or replace the one of its name."""
        self._forget(self.get(item.name))
        self[item.name] = item
        for address in item.config.addresses:
            self._by_address.setdefault(address, {})[item] = None

    def drop(self, name: str) -> Item | None:
        """Take the listener of a name out."""
        item = self.pop(name, None)
        self._forget(item)
        return item

    def _forget(self, item: Item | None) -> None:
        if item is None:
            return
        for address in item.config.addresses:
            found = self._by_address.get(address, {})
            found.pop(item, None)
            if not found:
                self._by_address.pop(address, None)

    def sharing(self, config: Any) -> Iterator[Item]:
        """Listeners with an address that ``config`` has too."""
        for address in config.addresses:
            yield from self._by_address.get(address, ())

    def clear(self) -> None:
        """Take all out."""
        super().clear()
        self._by_address.clear()
