"""What an update of a route configuration takes over from the one before: virtual hosts and routes that say the same.

What was compiled remembers what it was compiled from as digests, 32 bytes for a route and 16 for the rest of a virtual
host. In main statistics have owners; what is taken over is therefore asked for again (``Claims``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.kernel.stats import Block, DynamicStats
    from proxeny.router.route import Route
    from proxeny.router.route_compiler import RouteCompiler
    from proxeny.router.route_list import RouteList
    from proxeny.stats.schema import Schema
    from proxeny.stats.store import Store, Tags

SIZE: Final = 16
"""Bytes of a digest."""
NONE: Final = bytes(SIZE)
"""Stands where there is no digest."""

_RUN: Final = 64 * SIZE
"""Digests that are compared at once."""
_FEW: Final = 8
"""Of so many runs one may differ for only these to be looked through."""

MANY_ROUTES: Final = 64
"""From so many routes on, a virtual host that changed takes over those of its routes that did not."""


def digest(data: bytes) -> bytes:
    """What stands for ``data``."""
    return blake2b(data, digest_size=SIZE).digest()


def digest_of(message: Any) -> bytes:
    """What stands for the content of a message."""
    return digest(message.SerializeToString(deterministic=True))


def digest_without(message: Any, field: str) -> bytes:
    """What stands for the content of a message but one of its fields."""
    bare = type(message)()
    for descriptor, value in message.ListFields():
        if descriptor.name == field:
            continue
        if hasattr(value, "MergeFrom"):
            getattr(bare, descriptor.name).MergeFrom(value)
            if hasattr(value, "SetInParent"):
                getattr(bare, descriptor.name).SetInParent()
        else:
            setattr(bare, descriptor.name, value)
    return digest_of(bare)


class Claims:
    """A ``Store`` that remembers which blocks it was asked for."""

    __slots__ = ("_store", "blocks")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.blocks: list[tuple[Schema, str, Tags]] = []

    def block(self, schema: Schema, prefix: str, tags: Tags = ()) -> Block:
        """As of the store."""
        self.blocks.append((schema, prefix, tags))
        return self._store.block(schema, prefix, tags)

    def dynamic(self, prefix: str) -> DynamicStats:
        """As of the store."""
        return self._store.dynamic(prefix)

    def text_readout(self, name: str, value: str) -> None:
        """As of the store."""
        self._store.text_readout(name, value)

    def wide_gauge(self, name: str, value: int | None) -> None:
        """As of the store."""
        self._store.wide_gauge(name, value)

    def renew(self) -> None:
        """Ask for all of them again, on behalf of a new owner."""
        for schema, prefix, tags in self.blocks:
            self._store.block(schema, prefix, tags)


class RouteKeys:
    """What some routes were compiled from, a digest each: of the whole, and of the match alone."""

    __slots__ = ("matches", "whole")

    def __init__(self, whole: bytes) -> None:
        self.whole = whole
        self.matches = b""

    @classmethod
    def of_steps(cls, configs: Sequence[Any]) -> Steps[RouteKeys]:
        """Those of ``Route`` messages (of their matches ``RouteReuse`` knows), in slices."""
        whole = bytearray()
        for number, config in enumerate(configs):
            whole += blake2b(config.SerializeToString(deterministic=True), digest_size=SIZE).digest()
            if not number & 31:
                yield
        return cls(bytes(whole))


class Digests(msgspec.Struct, array_like=True):
    """Those of all virtual hosts of a configuration, as main tells workers, which need not make them again."""

    hosts: bytes
    """One after the other; zeros where there is none."""
    routes: dict[int, bytes]
    """``RouteKeys.whole`` of virtual hosts with many routes, by their number."""

    @classmethod
    def of(cls, origins: Iterable[Origin]) -> Digests:
        """Those of a table's virtual hosts, in their order."""
        hosts, routes = bytearray(), {}
        for number, origin in enumerate(origins):
            hosts += origin.digest or NONE
            if origin.keys is not None:
                routes[number] = origin.keys.whole
        return cls(bytes(hosts), routes)

    def find(self, number: int) -> tuple[bytes, RouteKeys | None] | None:
        """The digest of a virtual host, and those of its routes where it has many; None: they are not known."""
        digest_of_host = self.hosts[number * SIZE : (number + 1) * SIZE]
        if digest_of_host == NONE:
            return None
        keys = self.routes.get(number)
        return digest_of_host, None if keys is None else RouteKeys(keys)


class Origin:
    """What a virtual host was compiled from."""

    __slots__ = ("claims", "common", "compiler", "digest", "keys")

    def __init__(self, own_digest: bytes, claims: Claims) -> None:
        self.digest = own_digest
        """b"": not to be taken over, since it holds what files said when it was compiled."""
        self.claims = claims
        self.common = b""
        """The digest of all but its routes, where it has many."""
        self.keys: RouteKeys | None = None
        """Those of its routes; None: they are not to be taken over one by one."""
        self.compiler: RouteCompiler | None = None
        """What compiled its routes, for further ones."""

    @property
    def claimed(self) -> int:
        """How many blocks of statistics it has asked for."""
        return len(self.claims.blocks)

    def renew(self) -> None:
        """A new table takes it over."""
        self.claims.renew()


class RouteReuse:
    """Routes of a virtual host before its update, for the list that replaces theirs.

    ``run`` is asked for the next routes again and again; where it gives none, the next one is compiled, and ``made``.
    """

    def __init__(self, keys: RouteKeys, before: RouteList | None = None, old_keys: RouteKeys | None = None) -> None:
        self._keys = keys
        self._routes: tuple[Route, ...] = () if before is None else before.routes
        self._before = before
        self._old_matches = b"" if old_keys is None else old_keys.matches
        self._old_whole = b"" if old_keys is None else old_keys.whole
        self._places: dict[bytes, int] = {}
        self._shift = 0
        """How far behind the new routes the old ones stand that they are."""
        self._matches = bytearray()
        self._same_index = before is not None and len(keys.whole) == len(self._old_whole)

    def prepare_steps(self) -> Steps[None]:
        """Learn where old routes stand that may be others by now."""
        old, new = self._old_whole, self._keys.whole
        runs = range(0, len(old), _RUN)
        if len(old) == len(new):
            changed = [at for at in runs if old[at : at + _RUN] != new[at : at + _RUN]]
            if len(changed) * _FEW <= len(runs):
                runs = changed  # type: ignore[assignment]
        yield
        for run in runs:
            for at in range(run, min(run + _RUN, len(old)), SIZE):
                self._places[old[at : at + SIZE]] = at
            yield

    def run(self, config: Any) -> tuple[Route, ...]:
        """The old routes that the next ones are, as far as they stood together; none: the next one, whose message is
        ``config``, is new."""
        at = len(self._matches)
        wanted = self._keys.whole[at : at + _RUN]
        old = at + self._shift
        if old < 0 or self._old_whole[old : old + len(wanted)] != wanted:
            wanted = wanted[:SIZE]
            found = self._places.get(wanted)
            if found is None:
                self._matches += digest_of(config.match)
                self._compare_match(at)
                return ()
            old = found
            self._shift = old - at
        self._matches += self._old_matches[old : old + len(wanted)]
        if old != at and self._same_index:
            for place in range(at, len(self._matches), SIZE):
                self._compare_match(place)
        return self._routes[old // SIZE : (old + len(wanted)) // SIZE]

    def _compare_match(self, at: int) -> None:
        if self._matches[at : at + SIZE] != self._old_matches[at : at + SIZE]:
            self._same_index = False

    def made(self, number: int, route: Route) -> None:
        """``route`` was compiled: where its runtime keys may rule it out, its match is not all of its condition."""
        if self._same_index and (_by_runtime(route) or _by_runtime(self._routes[number])):
            self._same_index = False

    def finish(self) -> RouteList | None:
        """All routes were asked for; the old list where its index serves the new routes too."""
        self._keys.matches = bytes(self._matches)
        return self._before if self._same_index else None


def _by_runtime(route: Route) -> bool:
    return bool(getattr(route.weighted, "by_runtime", False))
