"""Requests that wait for routes which main is to load (Envoy: ``RouteConfigUpdateRequester``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

OnUpdated = Callable[[bool], object]
"""Hears whether there is something now."""


class Asker(Protocol):
    """Who asks main."""

    def ask(self, key: str, on_updated: OnUpdated, host: str = "", scope: Sequence[bytes] = ()) -> PendingRoutes:
        """Ask for a virtual host of the route configuration, or for a scope of the scopes, of this key."""


class PendingRoutes:
    """One request that waits."""

    __slots__ = ("_askers", "_number")

    def __init__(self, askers: dict[int, OnUpdated], number: int) -> None:
        self._askers = askers
        self._number = number

    def cancel(self) -> None:
        """It waits no longer."""
        self._askers.pop(self._number, None)


class RouteQuestions:
    """A worker's questions that main has not answered."""

    def __init__(self, send: Callable[[int, str, str, list[bytes]], object]) -> None:
        """``send``: the question's number, the key, the host and the scope."""
        self._send = send
        self._number = 0
        self._waiting: dict[int, OnUpdated] = {}

    def ask(self, key: str, on_updated: OnUpdated, host: str = "", scope: Sequence[bytes] = ()) -> PendingRoutes:
        """Ask main; ``on_updated`` is called unless the answer is cancelled or main is gone."""
        self._number += 1
        self._waiting[self._number] = on_updated
        self._send(self._number, key, host, list(scope))
        return PendingRoutes(self._waiting, self._number)

    def answered(self, number: int, found: bool) -> None:
        """Main says whether there is something now; what it found holds already."""
        on_updated = self._waiting.pop(number, None)
        if on_updated is not None:
            on_updated(found)
