"""The server's half of the xDS protocol, without I/O: what is due to a client, given what it asked for and was sent.

One object per stream and type. The rules are those of the protocol's documentation and of go-control-plane: nothing is
sent for an ACK, nothing for a NACK until the resources change, a stale request changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from proxeny.testing.xds.records import Request
from proxeny.testing.xds.store import Entry, TypeStore
from proxeny.testing.xds.types import CDS, LDS, SRDS, VHDS, WILDCARD

_WHOLE_TYPES: Final = (LDS, CDS, SRDS, VHDS)
"""Who begins without names of these wants all there are; of other types it wants none."""


@dataclass(frozen=True, slots=True)
class Due:
    """The content of a response."""

    version: str
    entries: tuple[Entry, ...]
    removed: tuple[str, ...] = ()


class Interest(Protocol):
    """What a client wants of one type on one stream."""

    nonce: str
    """That of the last response."""

    @property
    def names(self) -> frozenset[str]:
        """What is subscribed to; ``*`` for everything."""

    def on_request(self, request: Request) -> None:
        """Take what it asks for."""

    def due(self) -> Due | None:
        """What is to be sent now; calling it is the promise to send it."""


class SotwInterest:
    """The state-of-the-world protocol."""

    __slots__ = ("_first", "_names", "_sent", "_sent_version", "_store", "_wildcard", "nonce")

    def __init__(self, store: TypeStore) -> None:
        self._store = store
        self._first = True
        self._wildcard = False
        self._names: tuple[str, ...] = ()
        self._sent: frozenset[str] = frozenset()
        self._sent_version: str | None = None
        self.nonce = ""

    @property
    def names(self) -> frozenset[str]:
        """What is subscribed to; ``*`` for everything."""
        return frozenset((*self._names, WILDCARD) if self._wildcard else self._names)

    def on_request(self, request: Request) -> None:
        """Take what it asks for; a request that answers an older response is passed over."""
        if request.nonce and self.nonce and request.nonce != self.nonce:
            return
        self._names = tuple(name for name in request.names if name != WILDCARD)
        self._wildcard = WILDCARD in request.names or (
            not request.names and (self._wildcard or (self._first and self._store.type_name in _WHOLE_TYPES))
        )
        if self._first and self._wildcard and request.version:
            self._sent_version = request.version  # a client that comes back with all there is
        self._first = False
        if not self._wildcard:
            self._sent &= set(self._names)

    def due(self) -> Due | None:
        """Everything that is asked for, when the version moved on or names were added."""
        if self._first or not self._store.version:
            return None
        chosen = self._chosen()
        names = frozenset(entry.name for entry in chosen)
        if self._store.version == self._sent_version and (self._wildcard or names <= self._sent):
            return None
        if not (chosen or self._sent or self._wildcard):
            return None
        self._sent = names
        self._sent_version = self._store.version
        return Due(self._store.version, tuple(chosen))

    def _chosen(self) -> list[Entry]:
        entries = self._store.entries
        if self._wildcard:
            return list(entries.values())
        return [entries[name] for name in self._names if name in entries]


class DeltaInterest:
    """The incremental protocol."""

    __slots__ = ("_asked", "_first", "_known", "_names", "_owes", "_store", "_tell_missing", "_wildcard", "nonce")

    def __init__(self, store: TypeStore, tell_missing: bool = True) -> None:
        """``tell_missing``: a name that does not exist is told of as removed, as the protocol has it."""
        self._store = store
        self._tell_missing = tell_missing
        self._first = True
        self._owes = False
        """A wildcard's first answer, which comes even when there is nothing."""
        self._wildcard = False
        self._names: dict[str, None] = {}
        self._known: dict[str, str] = {}
        self._asked: set[str] = set()
        """Subscribed to anew: to be answered even when nothing changed, or does not exist."""
        self.nonce = ""

    @property
    def names(self) -> frozenset[str]:
        """What is subscribed to; ``*`` for everything."""
        return frozenset((*self._names, WILDCARD) if self._wildcard else self._names)

    def on_request(self, request: Request) -> None:
        """Take what it asks for: in this protocol every request counts."""
        if self._first:
            self._known.update(request.initial_versions)
            self._wildcard = not request.subscribe and self._store.type_name in _WHOLE_TYPES
            self._owes = not request.initial_versions and (self._wildcard or WILDCARD in request.subscribe)
            self._first = False
        for name in request.subscribe:
            if name == WILDCARD:
                self._wildcard = True
                continue
            self._names[name] = None
            if name not in request.initial_versions:
                self._asked.add(name)
                self._known.pop(name, None)
        for name in request.unsubscribe:
            if name == WILDCARD:
                self._wildcard = False
                self._forget(known for known in list(self._known) if known not in self._names)
                continue
            self._names.pop(name, None)
            if not self._wildcard:
                self._forget((name,))

    def due(self) -> Due | None:
        """What changed, is new, or is gone."""
        if self._first or not self._store.version:
            return None
        entries = self._store.entries
        wanted: Iterable[str] = entries if self._wildcard else self._names
        there = [entries[name] for name in wanted if name in entries]
        fresh = [entry for entry in there if self._known.get(entry.name) != entry.version]
        gone = [name for name in self._known if name not in entries]
        if self._tell_missing:
            gone += [name for name in self._names if name in self._asked and name not in entries and name not in gone]
        if not (fresh or gone or self._owes):
            return None
        self._owes = False
        self._asked.clear()
        self._forget(gone)
        self._known.update((entry.name, entry.version) for entry in fresh)
        return Due(self._store.version, tuple(fresh), tuple(gone))

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._known.pop(name, None)
            self._asked.discard(name)
