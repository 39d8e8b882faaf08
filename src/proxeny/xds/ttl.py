"""Resources that are forgotten unless the control plane keeps them alive (Envoy: ``TtlManager``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher


class TtlManager:
    """When each name expires; ``on_expired`` hears of those that did, together where they did together."""

    def __init__(self, dispatcher: Dispatcher, on_expired: Callable[[list[str]], object]) -> None:
        self._dispatcher = dispatcher
        self._on_expired = on_expired
        self._expiries: dict[str, int] = {}
        self._timer = dispatcher.create_timer(self._on_timer)
        self._next_ms: int | None = None

    def add(self, name: str, ttl_ms: int) -> None:
        """``name`` lives for ``ttl_ms`` from now."""
        self._expiries[name] = self._dispatcher.now_ms + ttl_ms

    def clear(self, name: str) -> None:
        """``name`` lives until it is removed."""
        self._expiries.pop(name, None)

    def refresh(self) -> None:
        """After adding and clearing: set the timer to the first expiry."""
        first = min(self._expiries.values(), default=None)
        if first == self._next_ms:
            return
        self._next_ms = first
        if first is None:
            self._timer.disable()
        else:
            self._timer.enable(max(first - self._dispatcher.now_ms, 0))

    def _on_timer(self) -> None:
        self._next_ms = None
        now = self._dispatcher.now_ms
        expired = sorted((at, name) for name, at in self._expiries.items() if at <= now)
        for _, name in expired:
            del self._expiries[name]
        if expired:
            self._on_expired([name for _, name in expired])
        self.refresh()

    def close(self) -> None:
        """Nothing expires any more."""
        self._expiries.clear()
        self._timer.disable()
