"""Rings and Maglev tables over hosts (Envoy: ``ThreadAwareLoadBalancerBase`` and what it creates).

Equal keys, weights and settings give Envoy's tables, entry for entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from proxeny.config.errors import ConfigError
from proxeny.kernel.hashing import HashRing, MaglevTable, Shuffle
from proxeny.upstream.metadata_criteria import LB_NAMESPACE
from proxeny.upstream.stats import HOST_RQ_ACTIVE, UPSTREAM_RQ_ACTIVE

if TYPE_CHECKING:
    from proxeny.http.hash_policy import HashPolicy
    from proxeny.kernel.all_workers import AllWorkers
    from proxeny.kernel.stats import Block
    from proxeny.upstream.host import Host
    from proxeny.upstream.priority_set import HostSet

    Weighted = list[tuple[Host, float]]
    """Hosts with their shares, which together are 1, or less where a locality has no host to use."""

RING_HASH: Final = "ring_hash"
MAGLEV: Final = "maglev"

DEFAULT_MIN_RING_SIZE: Final = 1024
DEFAULT_MAX_RING_SIZE: Final = 8 * 1024 * 1024
DEFAULT_TABLE_SIZE: Final = 65537

_HASH_KEY: Final = "hash_key"


@dataclass(slots=True, frozen=True)
class HashingConfig:
    """Settings of a consistent-hashing policy; ``hash_policy`` replaces that of the route."""

    min_ring_size: int = DEFAULT_MIN_RING_SIZE
    max_ring_size: int = DEFAULT_MAX_RING_SIZE
    table_size: int = DEFAULT_TABLE_SIZE
    murmur: bool = False
    use_hostname: bool = False
    balance_factor: int = 0
    """Percent of the mean load that a host may have before others take its requests; 0 = any."""
    hash_policy: HashPolicy | None = None
    locality_weighted: bool = False
    """Hosts share what the weight of their locality gives them."""

    def check(self, kind: str) -> None:
        """ConfigError in Envoy's words."""
        if kind == MAGLEV and not _is_prime(self.table_size):
            raise ConfigError("The table size of maglev must be prime number")
        if kind == RING_HASH and self.min_ring_size > self.max_ring_size:
            raise ConfigError(
                f"ring hash: minimum_ring_size ({self.min_ring_size}) > maximum_ring_size ({self.max_ring_size})"
            )


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def weighted_hosts(host_set: HostSet, panic: bool, by_locality: bool) -> Weighted:
    """The hosts of a priority that a table is made of; in panic all of them."""
    if not by_locality or not host_set.localities.has_weights:
        return _shares(host_set.hosts if panic else host_set.healthy_hosts, 1.0)
    # Where no locality has a weight there are no hosts at all, as in Envoy.
    localities = host_set.localities
    weights, groups = localities.weights, localities.hosts if panic else localities.healthy
    total = sum(weights)
    found: Weighted = []
    for weight, hosts in zip(weights, groups, strict=True):
        if weight:
            found += _shares(hosts, weight / total)
    return found


def _shares(hosts: list[Host], whole: float) -> Weighted:
    total = sum([host.weight for host in hosts])
    return [(host, host.weight * whole / total) for host in hosts]


def hash_key(host: Host, use_hostname: bool) -> bytes:
    """``hash_key`` of the endpoint's metadata, else its name or address."""
    if host.entry.metadata:
        lb = host.metadata.filter_metadata.get(LB_NAMESPACE)
        key = lb.fields[_HASH_KEY].string_value if lb is not None and _HASH_KEY in lb.fields else ""
        if key:
            return str(key).encode("utf-8")
    return (host.hostname if use_hostname else host.address.as_string()).encode("utf-8")


class HashTable:
    """The table of one priority."""

    __slots__ = ("_keys", "_made", "_shares", "find", "hosts", "panic", "sizes")

    def __init__(
        self, kind: str, config: HashingConfig, weighted: Weighted, panic: bool, before: HashTable | None = None
    ) -> None:
        """``before``: the table that this one follows, whose entries stay where keys and shares are the same."""
        self.panic = panic
        keyed = [(hash_key(host, config.use_hostname), host, share) for host, share in weighted]
        if kind == MAGLEV:
            keyed.sort(key=lambda one: one[0])
        self.hosts = [host for _, host, _ in keyed]
        self._keys = [key for key, _, _ in keyed]
        self._shares = [share for _, _, share in keyed]
        if before is not None and before._keys == self._keys and before._shares == self._shares:
            self._made: HashRing | MaglevTable = before._made
        elif kind == MAGLEV:
            # A host alone needs no more than one entry (Envoy's gauges show it).
            self._made = MaglevTable(self._keys, self._shares, config.table_size if len(keyed) != 1 else 1)
        else:
            self._made = HashRing(self._keys, self._shares, config.min_ring_size, config.max_ring_size, config.murmur)
        made = self._made
        self.find = made.choose
        """The index of the host of a hash (and a further attempt), -1 without hosts."""
        self.sizes = (
            (made.min_entries, made.max_entries)
            if isinstance(made, MaglevTable)
            else (made.size, made.min_hashes, made.max_hashes)
        )

    def choose(self, value: int, attempt: int) -> Host | None:
        """The host of a hash."""
        index = self.find(value, attempt)
        return self.hosts[index] if index >= 0 else None


class BoundedTable:
    """A table whose hosts may have only so much more than their share of the requests under way, over all workers
    (Envoy: ``BoundedLoadHashingLoadBalancer``)."""

    __slots__ = ("_counts", "_factor", "_in_order", "_share_of", "_stats", "panic", "table")

    def __init__(self, table: HashTable, weighted: Weighted, factor: int, stats: Block, counts: AllWorkers) -> None:
        self.table = table
        self.panic = table.panic
        self._factor = factor
        self._stats = stats
        self._counts = counts
        self._in_order = weighted
        self._share_of = dict(weighted)

    def choose(self, value: int, attempt: int) -> Host | None:
        """The host of a hash, or another one that has room."""
        host = self.table.choose(value, attempt)
        if host is None:
            return None
        overload = self._overload(host, self._share_of[host])
        return host if overload <= 1.0 else self._relieve(host, overload, value)

    def _overload(self, host: Host, share: float) -> float:
        """How much of its share of the requests under way a host has."""
        active = self._counts.get(self._stats, UPSTREAM_RQ_ACTIVE)
        slots = max(ceil(((active + 1) * self._factor + 99) // 100 * share), 1)
        return self._counts.get(host.stats, HOST_RQ_ACTIVE) / slots

    def _relieve(self, busy: Host, overload: float, value: int) -> Host:
        """The first with room in an order that the hash determines, else the least overloaded."""
        order = Shuffle(value, len(self._in_order))
        best, least = busy, overload
        while (index := order.next()) >= 0:
            host, share = self._in_order[index]
            if host is busy:
                continue
            overload = self._overload(host, share)
            if overload <= 1.0:
                return host
            if overload < least:
                best, least = host, overload
        return best
