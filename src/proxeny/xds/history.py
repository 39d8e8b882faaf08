"""The last updates of dynamic configuration, with what they changed; bounded in number and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

MOST_EVENTS: Final = 500
"""Events that are kept."""
MOST_CHANGES: Final = 1000
"""Changes that are kept of one event; further ones are counted."""
MOST_BYTES: Final = 16 << 20
"""Contents that are kept, in all: the oldest events lose theirs first."""
_TOGETHER_S: Final = 1.0
"""Updates of one version that follow each other so closely are one event: a response may feed many subscriptions."""


@dataclass(slots=True)
class Change:
    """One resource before and after; None: it was not there, or its content is not kept (any more)."""

    kind: str
    """"added", "changed", "removed" or "refused"."""
    name: str
    before: bytes | None
    after: bytes | None
    details: str = ""
    """Why it was refused."""

    @property
    def size(self) -> int:
        """Bytes of content that it holds."""
        return len(self.before or b"") + len(self.after or b"")


@dataclass(slots=True)
class Event:
    """One update: applied, or refused (``details`` say why), or not to be had."""

    at: float
    type_name: str
    source: str
    version: str
    outcome: str
    """"accepted", "rejected" or "failed"."""
    details: str = ""
    changes: list[Change] = field(default_factory=list)
    size: int = 0
    """Bytes of all resources that came."""
    seconds: float = 0.0
    """How long it took to apply them."""
    number: int = 0
    left_out: int = 0
    """Changes beyond MOST_CHANGES."""

    def continues(self, last: Event) -> bool:
        """Whether it is one with ``last``."""
        return self.at - last.at <= _TOGETHER_S and self._what == last._what

    @property
    def _what(self) -> tuple[str, ...]:
        return self.type_name, self.source, self.version, self.outcome, self.details


class History:
    """The events, by number."""

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: dict[int, Event] = {}
        self._full: deque[Event] = deque()
        """Those whose contents are kept, the oldest first."""
        self._last: Event | None = None
        self._bytes = 0
        self._numbers = count(1)

    def newest_first(self) -> Iterator[Event]:
        """All that is kept."""
        return reversed(list(self._events.values()))

    def find(self, number: int) -> Event | None:
        """The event of this number, if it is still there."""
        return self._events.get(number)

    def add(self, event: Event) -> None:
        """Something happened."""
        last = self._last
        if last is None or not event.continues(last):
            last = Event(event.at, event.type_name, event.source, event.version, event.outcome, event.details)
            self._begin(last)
        kept = event.changes[: MOST_CHANGES - len(last.changes)]
        last.left_out += len(event.changes) - len(kept)
        last.changes += kept
        last.size += event.size
        last.seconds += event.seconds
        self._bytes += sum([change.size for change in kept])
        while self._bytes > self._most_bytes and self._full:
            self._empty(self._full.popleft())

    def _begin(self, event: Event) -> None:
        event.number = next(self._numbers)
        self._events[event.number] = self._last = event
        self._full.append(event)
        if len(self._events) > self._most_events:
            oldest = self._events.pop(next(iter(self._events)))
            if self._full[0] is oldest:
                self._empty(self._full.popleft())

    def _empty(self, event: Event) -> None:
        if event is self._last:
            self._last = None
        self._bytes -= sum([change.size for change in event.changes])
        for change in event.changes:
            change.before = change.after = None
