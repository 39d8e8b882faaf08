"""A request that waits for what main has to say about a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Name = TypeVar("Name")
Told = TypeVar("Told", bound=Callable[..., object])


class PendingAnswer(Generic[Name, Told]):
    """One of those in ``waiting`` for ``name``; whoever has the answer calls ``callback``."""

    __slots__ = ("_waiting", "callback", "name")

    def __init__(self, waiting: dict[Name, list[PendingAnswer[Name, Told]]], name: Name, callback: Told) -> None:
        self._waiting = waiting
        self.name = name
        self.callback = callback
        waiting.setdefault(name, []).append(self)

    def cancel(self) -> None:
        """It does not wait any more."""
        others = self._waiting.get(self.name)
        if others is not None and self in others:
            others.remove(self)
            if not others:
                del self._waiting[self.name]
