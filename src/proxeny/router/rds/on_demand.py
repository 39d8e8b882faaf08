"""Requests that wait for routes which main is to load (Envoy: ``RouteConfigUpdateRequester``)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

OnUpdated = Callable[[bool], object]
"""Hears whether there is something now."""

log = logging.getLogger("proxeny.router")


class Asker(Protocol):
    """Who asks main."""

    def ask(self, key: str, on_updated: OnUpdated, host: str = "", scope: Sequence[bytes] = ()) -> PendingRoutes:
        """Ask for a virtual host of the route configuration, or for a scope of the scopes, of this key."""


class PendingRoutes:
    """One request that waits."""

    __slots__ = ("_waiting",)

    def __init__(self, waiting: dict[PendingRoutes, OnUpdated], on_updated: OnUpdated) -> None:
        """``waiting``: all that wait for the same."""
        self._waiting = waiting
        waiting[self] = on_updated

    def cancel(self) -> None:
        """It waits no longer."""
        self._waiting.pop(self, None)


class _Question:
    """Has one answer, however many requests ask it; it stays open when none waits any more."""

    __slots__ = ("number", "subject", "waiting")

    def __init__(self, number: int, subject: tuple[str, str, tuple[bytes, ...]]) -> None:
        self.number = number
        self.subject = subject
        self.waiting: dict[PendingRoutes, OnUpdated] = {}


class RouteQuestions:
    """A worker's questions that main has not answered."""

    def __init__(self, send: Callable[[int, str, str, list[bytes]], object]) -> None:
        """``send``: the question's number, the key, the host and the scope."""
        self._send = send
        self._number = 0
        self._open: dict[int, _Question] = {}
        self._by_subject: dict[tuple[str, str, tuple[bytes, ...]], _Question] = {}

    def ask(self, key: str, on_updated: OnUpdated, host: str = "", scope: Sequence[bytes] = ()) -> PendingRoutes:
        """Ask main; ``on_updated`` is called unless the answer is cancelled or main is gone."""
        subject = key, host, tuple(scope)
        question = self._by_subject.get(subject)
        if question is None:
            self._number += 1
            question = self._by_subject[subject] = self._open[self._number] = _Question(self._number, subject)
        pending = PendingRoutes(question.waiting, on_updated)
        self._send(question.number, key, host, list(scope))  # each counts as an attempt there
        return pending

    def answered(self, number: int, found: bool) -> None:
        """Main says whether there is something now; what it found holds already."""
        question = self._open.pop(number, None)
        if question is None:
            return
        del self._by_subject[question.subject]
        for pending in list(question.waiting):
            on_updated = question.waiting.pop(pending, None)
            if on_updated is None:
                continue  # cancelled by one that went on
            try:
                on_updated(found)
            except Exception:
                log.exception("a request that waited for routes failed")
