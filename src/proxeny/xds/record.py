"""What became of everything that was asked of control planes and files: /xds and every ``error_state`` show it.

Subscriptions are observed from outside (``proxeny.xds.recording``), where they hand resources to their owners; so it
holds whatever the transport. An entry of a resource lives as long as its subscription. Contents are kept as the bytes
that were delivered, for the diffs of the history; those of secrets, and of very large resources, are not.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from proxeny.config.errors import ConfigError
from proxeny.xds.history import Change, Event, History
from proxeny.xds.rejection import RefusedResource, UpdateRejected
from proxeny.xds.resource import DecodedResource

LARGEST_KEPT: Final = 1 << 20
"""Bytes of a resource up to which its content is kept."""
MOST_KEPT: Final = 64 << 20
"""Bytes of content that are kept of all resources together; what comes beyond is known by size and digest only."""
_CONFIDENTIAL: Final = frozenset(("envoy.extensions.transport_sockets.tls.v3.Secret",))


class Verdict(NamedTuple):
    """What was said of an update, and when (seconds since the epoch)."""

    version: str
    at: float
    details: str = ""


class Refusal(NamedTuple):
    """A resource that was refused."""

    version: str
    at: float
    details: str
    serialized: bytes | None


class _Contents:
    """How much is kept of the resources that hold."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def exchange(self, before: bytes | None, after: bytes | None) -> bytes | None:
        """``after`` is to be kept in the place of ``before``; what is kept."""
        self.size -= len(before or b"")
        if after is None or self.size + len(after) > MOST_KEPT:
            return None
        self.size += len(after)
        return after


class ResourceRecord:
    """The last that is known of one resource; ``version`` and ``updated_at`` are those of the last that was taken."""

    __slots__ = ("content", "digest", "name", "refusal", "size", "updated_at", "version")

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = ""
        self.updated_at = 0.0
        """When its content changed last; 0: nothing was taken yet."""
        self.size = 0
        self.digest = 0
        self.content: bytes | None = None
        self.refusal: Refusal | None = None


class TypeRecord:
    """All subscriptions to resources of one type from one source."""

    __slots__ = (
        "_heard",
        "accepted",
        "attempts",
        "failed",
        "rejected",
        "seconds",
        "size",
        "source",
        "subscriptions",
        "type_name",
    )

    def __init__(self, type_name: str, source: str) -> None:
        self.type_name = type_name
        self.source = source
        self.subscriptions: dict[SubscriptionRecord, None] = {}
        self.accepted: Verdict | None = None
        """The last update that was applied as a whole (an ACK, where there is a stream)."""
        self.rejected: Verdict | None = None
        """The last one that was refused, as a whole or in part (a NACK)."""
        self.failed: Verdict | None = None
        """When nothing could be had for the last time; ``details`` say why."""
        self.attempts = 0
        """Updates that came."""
        self.size = 0
        """Bytes of the resources of the last one."""
        self.seconds = 0.0
        """How long it took to apply the last one."""
        self._heard: weakref.ref[ConfigError] | None = None

    def has_heard(self, error: ConfigError) -> bool:
        """Whether this refusal is the one that was told last; it is now."""
        heard = self._heard is not None and self._heard() is error
        self._heard = weakref.ref(error)
        return heard

    @property
    def is_wildcard(self) -> bool:
        """Whether somebody asks for all that there is."""
        return any(one.names is None for one in self.subscriptions)

    def names(self) -> set[str]:
        """The resources that are asked for by name."""
        return {name for one in self.subscriptions for name in one.names or ()}

    def resources(self) -> Iterator[ResourceRecord]:
        """All that are known, subscription by subscription."""
        for one in list(self.subscriptions):
            yield from list(one.resources.values())


class SubscriptionRecord:
    """One subscription: what it asks for, and what it has."""

    __slots__ = ("_contents", "_history", "_on_last_closed", "_type", "names", "resources")

    def __init__(
        self,
        type_record: TypeRecord,
        history: History,
        contents: _Contents,
        on_last_closed: Callable[[TypeRecord], object],
    ) -> None:
        self._type = type_record
        self._history = history
        self._contents = contents
        self._on_last_closed = on_last_closed
        self.names: set[str] | None = set()
        """None: all that there is."""
        self.resources: dict[str, ResourceRecord] = {}

    def interested(self, names: Iterable[str] | None) -> None:
        """It asks for these now, and no others; None: for all."""
        wanted = {"*"} if names is None else set(names)
        self.names = None if "*" in wanted else wanted
        if self.names is not None:
            for name in [name for name in self.resources if name not in wanted]:
                self._forget(name)

    def also_interested(self, names: Iterable[str]) -> None:
        """It asks for these too."""
        if self.names is not None:
            self.names.update(names)

    def closed(self) -> None:
        """It asks no more."""
        for name in list(self.resources):
            self._forget(name)
        self._type.subscriptions.pop(self, None)
        if not self._type.subscriptions:
            self._on_last_closed(self._type)

    def updated(
        self,
        resources: Sequence[DecodedResource],
        removed: Iterable[str] | None,
        version: str,
        seconds: float,
        error: ConfigError | None,
    ) -> None:
        """Its owner took (or refused, ``error``) an update; ``removed`` None: ``resources`` are all that there is."""
        now = time.time()
        refused = self._refused(resources, error)
        changes = [change for one in resources if (change := self._take(one, version, now, refused)) is not None]
        if removed is None and (error is None or isinstance(error, UpdateRejected)):
            there = {one.name for one in resources}
            removed = [name for name in self.resources if name not in there]
        changes += self._remove(removed or ())
        self._told(version, now, error, changes, sum([len(one.serialized) for one in resources]), seconds)

    def rejected(self, error: ConfigError) -> None:
        """An update was refused before its owner saw it, or by another owner of a part of it.

        All subscriptions of a stream hear so; it is taken down once, and for the resources that are asked for here.
        """
        now, is_first = time.time(), not self._type.has_heard(error)
        refused = error.refused if isinstance(error, UpdateRejected) else ()
        own = [one for one in refused if self.names is None or one.name in self.names]
        changes = [self._refuse(one, one.version, now) for one in own if is_first or not self._is_refused(one)]
        version = next((one.version for one in refused), "")
        if is_first:
            self._told(version, now, error, changes, 0, 0.0)
        elif changes:
            self._note(Event(now, "", "", version, "rejected", str(error), changes))

    def _is_refused(self, one: RefusedResource) -> bool:
        record = self.resources.get(one.name)
        return record is not None and record.refusal is not None and record.refusal.details == one.details

    def failed(self, details: str) -> None:
        """Nothing was to be had; history notes it once, however often it is tried again."""
        kind, now = self._type, time.time()
        last, kind.failed = kind.failed, Verdict("", now, details)
        came_since = max([verdict.at for verdict in (kind.accepted, kind.rejected) if verdict is not None], default=0)
        if last is None or last.details != details or came_since > last.at:
            self._note(Event(now, "", "", "", "failed", details))

    def _refused(self, resources: Sequence[DecodedResource], error: ConfigError | None) -> dict[str, RefusedResource]:
        if error is None:
            return {}
        if isinstance(error, UpdateRejected):
            return {one.name: one for one in error.refused}
        # Whoever does not say which one he refuses has but one, or refuses all.
        return {one.name: RefusedResource(one.name, str(error)) for one in resources}

    def _take(
        self, one: DecodedResource, version: str, now: float, refused: dict[str, RefusedResource]
    ) -> Change | None:
        refusal = refused.get(one.name)
        if refusal is not None:
            return self._refuse(refusal._replace(serialized=one.serialized), one.version or version, now)
        record = self.resources.get(one.name)
        if record is None:
            record = self.resources[one.name] = ResourceRecord(one.name)
        record.refusal = None
        record.version = one.version or version
        digest = hash(one.serialized)
        is_new = not record.updated_at
        if not is_new and digest == record.digest:
            return None
        before = record.content
        record.content = self._contents.exchange(before, self._kept(one.serialized))
        record.digest, record.size, record.updated_at = digest, len(one.serialized), now
        return Change("added" if is_new else "changed", one.name, before, record.content)

    def _refuse(self, one: RefusedResource, version: str, now: float) -> Change:
        record = self.resources.get(one.name)
        if record is None:
            record = self.resources[one.name] = ResourceRecord(one.name)
        serialized = self._kept(one.serialized)
        record.refusal = Refusal(version, now, one.details, serialized)
        return Change("refused", one.name, record.content, serialized, one.details)

    def _kept(self, serialized: bytes | None) -> bytes | None:
        if serialized is None or len(serialized) > LARGEST_KEPT or self._type.type_name in _CONFIDENTIAL:
            return None
        return serialized

    def _remove(self, names: Iterable[str]) -> list[Change]:
        gone = [self._forget(name) for name in names if name in self.resources]
        return [Change("removed", one.name, one.content, None) for one in gone if one.updated_at]

    def _forget(self, name: str) -> ResourceRecord:
        record = self.resources.pop(name)
        self._contents.exchange(record.content, None)
        return record

    def _told(
        self, version: str, now: float, error: ConfigError | None, changes: list[Change], size: int, seconds: float
    ) -> None:
        kind = self._type
        kind.attempts += 1
        kind.size, kind.seconds = size, seconds
        if error is None:
            is_news = bool(changes) or kind.accepted is None or kind.accepted.version != version
            kind.accepted = Verdict(version, now)
            outcome, details = "accepted", ""
        else:
            kind.has_heard(error)
            is_news, outcome, details = True, "rejected", str(error)
            kind.rejected = Verdict(version, now, details)
        if is_news:
            self._note(Event(now, "", "", version, outcome, details, changes, size, seconds))

    def _note(self, event: Event) -> None:
        event.type_name, event.source = self._type.type_name, self._type.source
        self._history.add(event)


class XdsRecord:
    """The record of all subscriptions of the process."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str], TypeRecord] = {}
        self.history = History()
        self._contents = _Contents()

    def subscription(self, type_name: str, source: str) -> SubscriptionRecord:
        """A new subscription. ``source`` says in a word or a path whence: "ads", "/etc/lds.yaml", a cluster's name."""
        kind = self._types.get((type_name, source))
        if kind is None:
            kind = self._types[type_name, source] = TypeRecord(type_name, source)
        record = SubscriptionRecord(kind, self.history, self._contents, self._forget)
        kind.subscriptions[record] = None
        return record

    def types(self) -> list[TypeRecord]:
        """Those that somebody subscribes to, by type and source."""
        return [self._types[key] for key in sorted(self._types)]

    def _forget(self, kind: TypeRecord) -> None:
        self._types.pop((kind.type_name, kind.source), None)

    def refusals(self, type_name: str) -> dict[str, Refusal]:
        """What stands refused of a type, by name of the resource."""
        found: dict[str, Refusal] = {}
        for kind in self._types.values():
            if kind.type_name == type_name:
                found.update({one.name: one.refusal for one in kind.resources() if one.refusal is not None})
        return found
