"""Consistent hashing: ``RING_HASH`` and ``MAGLEV`` (Envoy: ``ThreadAwareLoadBalancerBase``).

A table per priority, built anew whenever hosts, their health or their weights change; a request costs a hash and a
look-up. Equal keys, weights and settings give Envoy's tables, entry for entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.kernel.hashing import HashRing, MaglevTable
from proxeny.stats.schema import Schema
from proxeny.upstream.load_balancer import priority_load
from proxeny.upstream.load_balancer.base import choose_none
from proxeny.upstream.stats import HOST_RQ_ACTIVE, LB_HEALTHY_PANIC, UPSTREAM_RQ_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.hash_policy import HashPolicy
    from proxeny.kernel.stats import Block
    from proxeny.stats.store import Store
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting
    from proxeny.upstream.priority_set import HostSet

RING_HASH: Final = "ring_hash"
MAGLEV: Final = "maglev"

DEFAULT_MIN_RING_SIZE: Final = 1024
DEFAULT_MAX_RING_SIZE: Final = 8 * 1024 * 1024
DEFAULT_TABLE_SIZE: Final = 65537

_RING_GAUGES: Final = ("size", "min_hashes_per_host", "max_hashes_per_host")
_MAGLEV_GAUGES: Final = ("min_entries_per_host", "max_entries_per_host")
_SCHEMAS: Final = {
    RING_HASH: Schema("ring_hash_lb", gauges=_RING_GAUGES),
    MAGLEV: Schema("maglev_lb", gauges=_MAGLEV_GAUGES),
}

_random_bits: Final = Random().getrandbits


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


def stats_block(kind: str, store: Store, prefix: str) -> Block:
    """The gauges of a cluster's table (below ``cluster.<name>.``), which main sets."""
    schema = _SCHEMAS[kind]
    return store.block(schema, f"{prefix}{schema.name}.")


class HashTable:
    """The table of one priority."""

    __slots__ = ("_balance_factor", "_cluster_stats", "_find", "hosts", "panic", "sizes", "weights")

    def __init__(self, kind: str, config: HashingConfig, host_set: HostSet, panic: bool, stats: Block) -> None:
        self.panic = panic
        hosts = list(host_set.hosts if panic else host_set.healthy_hosts)
        keyed = [(_hash_key(host, config.use_hostname), host) for host in hosts]
        if kind == MAGLEV:
            keyed.sort(key=lambda pair: pair[0])
        self.hosts = [host for _, host in keyed]
        total = sum(host.weight for host in hosts)
        self.weights = [host.weight / total for host in self.hosts]
        self._balance_factor = config.balance_factor
        self._cluster_stats = stats
        keys = [key for key, _ in keyed]
        made: HashRing | MaglevTable
        if kind == MAGLEV:
            made = MaglevTable(keys, self.weights, config.table_size)
            self.sizes: tuple[int, ...] = (made.min_entries, made.max_entries)
        else:
            made = HashRing(keys, self.weights, config.min_ring_size, config.max_ring_size, config.murmur)
            self.sizes = (made.size, made.min_hashes, made.max_hashes)
        self._find = made.choose

    def choose(self, value: int, attempt: int) -> Host | None:
        """The host of a hash."""
        index = self._find(value, attempt)
        if index < 0:
            return None
        if not self._balance_factor or self._overload(index) <= 1.0:
            return self.hosts[index]
        return self._relieve(index, value)

    def _overload(self, index: int) -> float:
        """How much of its share of the requests under way a host has."""
        active: int = self._cluster_stats.get(UPSTREAM_RQ_ACTIVE)
        slots = max(ceil(((active + 1) * self._balance_factor + 99) // 100 * self.weights[index]), 1)
        own: int = self.hosts[index].stats.get(HOST_RQ_ACTIVE)
        return own / slots

    def _relieve(self, index: int, value: int) -> Host:
        """Another host than the overloaded one: the first with room in an order that the hash determines, else the
        least overloaded."""
        random = _twister(value & 0xFFFFFFFF)
        order = list(range(len(self.hosts)))
        best, least = index, self._overload(index)
        for position in range(len(order)):
            other = position + _below(random, len(order) - position)
            order[position], order[other] = order[other], order[position]
            candidate = order[position]
            if candidate == index:
                continue
            overload = self._overload(candidate)
            if overload <= 1.0:
                return self.hosts[candidate]
            if overload < least:
                best, least = candidate, overload
        return self.hosts[best]


def _hash_key(host: Host, use_hostname: bool) -> bytes:
    """``hash_key`` of the endpoint's metadata, else its name or address."""
    if host.entry.metadata:
        lb = host.metadata.filter_metadata.get("envoy.lb")
        key = lb.fields["hash_key"].string_value if lb is not None and "hash_key" in lb.fields else ""
        if key:
            return str(key).encode("utf-8")
    return (host.hostname if use_hostname else host.address.as_string()).encode("utf-8")


def _twister(seed: int) -> Random:
    """``std::mt19937(seed)``: the generator is Python's, its seeding is not."""
    state = [seed]
    for index in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + index) & 0xFFFFFFFF)
    random = Random()
    random.setstate((3, (*state, 624), None))
    return random


def _below(random: Random, count: int) -> int:
    """A number below ``count``, drawn as Envoy does."""
    while True:
        value = random.getrandbits(32) // ((1 << 32) // count)
        if value < count:
            return value


class HashingLoadBalancer:
    """The load balancer of one cluster in one worker."""

    __slots__ = (
        "_by_hash", "_config", "_hash", "_load", "_priority_set", "_setting", "_stats", "_tables", "choose_host",
        "kind",
    )  # fmt: skip

    def __init__(self, setting: LbSetting, kind: str, config: HashingConfig) -> None:
        self.kind = kind
        self._config = config
        self._setting = setting
        self._priority_set = setting.priority_set
        self._stats = setting.info.stats
        self._load = priority_load.PriorityLoad([100], [0], [False])
        self._tables: list[HashTable] = []
        self._hash = 0
        self._by_hash = False
        """Whether the last choice was that of a hash, not of a random number."""
        self.choose_host: Callable[[Any], Host | None] = self.choose

    def refresh(self) -> None:
        """The hosts, their health or their weights changed."""
        host_sets = self._priority_set.host_sets
        load = self._load = priority_load.calculate(host_sets, self._setting.panic_threshold())
        self._tables = [
            HashTable(self.kind, self._config, host_set, panic, self._stats)
            for host_set, panic in zip(host_sets, load.panic, strict=True)
        ]

    def choose(self, context: Any) -> Host | None:
        """The host of the request's hash; without one any."""
        attempt = 0 if context is None else context.host_selection_attempt
        if not attempt:
            value = None if context is None else self._hash_of(context)
            self._by_hash = value is not None
            self._hash = _random_bits(64) if value is None else value
        # Further attempts follow one another at once: the hash is still theirs.
        value = self._hash
        table = self._tables[self._priority(value)]
        if table.panic:
            self._stats.inc(LB_HEALTHY_PANIC)
        return table.choose(value, attempt)

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """As ``choose``: a retry's wishes about priorities do not count here (Envoy: ``ThreadAwareLoadBalancer``)."""
        return self.choose(context)

    def _hash_of(self, context: Any) -> int | None:
        policy = self._config.hash_policy
        if policy is None:
            found: int | None = context.hash_key()
            return found
        return policy.generate(context.downstream_headers, context.request_stream_info, context.response_cookies)

    def _priority(self, value: int) -> int:
        left = value % 100
        for loads in (self._load.healthy, self._load.degraded):
            for priority, percent in enumerate(loads):
                if left < percent:
                    return priority
                left -= percent
        return 0

    def show_sizes(self, gauges: Block) -> None:
        """Set the gauges of the tables: of several priorities the last one that has hosts."""
        for table in self._tables:
            if table.hosts:
                for slot, value in enumerate(table.sizes):
                    gauges.set(slot, value)

    def statistics(self) -> dict[str, Any]:
        """Loads by priority, for admin pages; ``by_hash``: how the last choice was made."""
        load = self._load
        return {
            "policy": self.kind,
            "by_hash": self._by_hash,
            "healthy_load": load.healthy,
            "degraded_load": load.degraded,
            "panic": load.panic,
        }

    def close(self) -> None:
        """Nothing refers back to hosts any more."""
        self._tables = []
        self.choose_host = choose_none
