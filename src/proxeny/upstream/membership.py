"""What becomes of a cluster's hosts when discovery brings new ones (Envoy: ``updateDynamicHostList``).

A host that is there again is the same host: it keeps its statistics, its connections and what was found out about its
health, whatever else changed of it, unless it moved to another locality or has another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxeny.upstream.endpoints import (
    EDS_FLAGS,
    FAILED_ACTIVE_HC,
    FAILED_EDS_HEALTH,
    NEW_HOST,
    PENDING_DYNAMIC_REMOVAL,
    HostEntry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Place = tuple[str, int, str]
"""Address, port and, of an internal listener, the endpoint's own name."""


class Merged(NamedTuple):
    """The hosts now."""

    hosts: list[HostEntry]
    """All of them have a ``stat_index``."""
    gone: list[int]
    """Which stat blocks nobody has any more."""
    changed: bool
    """Whether load balancing has to follow."""
    moved: int
    """In how many priorities hosts were added or removed."""
    rematched: int
    """Of how many hosts that stay the metadata changed."""


def unique(hosts: Iterable[HostEntry]) -> list[HostEntry]:
    """The first of each address."""
    seen: dict[_Place, HostEntry] = {}
    for entry in hosts:
        seen.setdefault(_place(entry), entry)
    return list(seen.values())


def merge(
    old: list[HostEntry],
    new: list[HostEntry],
    next_index: Callable[[], int],
    keep_healthy: bool = False,
    when_new: int = 0,
) -> Merged:
    """Replace ``old`` by ``new``; entries of ``new`` take over what stays of the hosts that they are.

    An entry that is in both lists is the same host; what of it changed is not known. ``keep_healthy``: hosts whose
    health checks succeed stay until they fail (``ignore_health_on_host_removal``: false). ``when_new``: health flags of
    hosts that are checked, but have not been yet.
    """
    again = {id(entry) for entry in old} & {id(entry) for entry in new}
    known: dict[_Place, list[HostEntry]] = {}
    for entry in old:
        if id(entry) not in again:
            known.setdefault(_place(entry), []).append(entry)
    moved: set[int] = set()
    changed = bool(again)
    rematched = 0
    for entry in new:
        if id(entry) in again:
            continue
        before = _same_host(entry, known)
        if before is None:
            entry.stat_index = next_index()
            moved.add(entry.priority)
            if not entry.is_unchecked:
                entry.health_flags |= when_new
            continue
        _carry_over(before, entry, when_new)
        if entry.priority != before.priority:
            moved |= {entry.priority, before.priority}
        changed = changed or entry != before
        rematched += entry.metadata != before.metadata
    gone = [entry for entries in known.values() for entry in entries]
    kept = [entry for entry in gone if keep_healthy and _is_healthy(entry)]
    if kept:
        gone = [entry for entry in gone if not _is_healthy(entry)]
    for entry in kept:
        changed = changed or not entry.health_flags & PENDING_DYNAMIC_REMOVAL
        entry.health_flags |= PENDING_DYNAMIC_REMOVAL
    moved.update(entry.priority for entry in gone)
    return Merged([*new, *kept], [entry.stat_index for entry in gone], changed or bool(moved), len(moved), rematched)


def _is_healthy(entry: HostEntry) -> bool:
    """Whether its checks succeed."""
    return not entry.health_flags & (FAILED_ACTIVE_HC | FAILED_EDS_HEALTH) and not entry.is_unchecked


def _place(entry: HostEntry) -> _Place:
    return entry.address, entry.port, entry.endpoint_id


def _same_host(entry: HostEntry, known: dict[_Place, list[HostEntry]]) -> HostEntry | None:
    """The host that ``entry`` goes on with, taken out of ``known``."""
    candidates = known.get(_place(entry))
    if not candidates or entry.stat_index == NEW_HOST:
        return None
    before = candidates[0]
    if _identity(before) != _identity(entry):
        return None
    del candidates[0]
    return before


def _identity(entry: HostEntry) -> tuple[str, str, str, str]:
    return entry.hostname, entry.region, entry.zone, entry.sub_zone


def _carry_over(before: HostEntry, entry: HostEntry, when_new: int) -> None:
    entry.stat_index = before.stat_index
    if before.check == entry.check:
        entry.health_flags |= before.health_flags & ~EDS_FLAGS & ~PENDING_DYNAMIC_REMOVAL
    elif not entry.is_unchecked:
        entry.health_flags |= when_new
