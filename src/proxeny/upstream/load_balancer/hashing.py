"""Consistent hashing: ``RING_HASH`` and ``MAGLEV`` (Envoy: ``ThreadAwareLoadBalancerBase``).

A table per priority (hash_table.py), built anew whenever hosts, their health or their weights change; a request costs a
hash and a look-up.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

from proxeny.kernel.all_workers import AllWorkers
from proxeny.stats.schema import Schema
from proxeny.upstream.load_balancer import priority_load
from proxeny.upstream.load_balancer.base import choose_none
from proxeny.upstream.load_balancer.hash_table import (
    MAGLEV,
    RING_HASH,
    BoundedTable,
    HashTable,
    weighted_hosts,
)
from proxeny.upstream.stats import LB_HEALTHY_PANIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.stats import Block
    from proxeny.stats.store import Store
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting
    from proxeny.upstream.load_balancer.hash_table import HashingConfig

_RING_GAUGES: Final = ("size", "min_hashes_per_host", "max_hashes_per_host")
_MAGLEV_GAUGES: Final = ("min_entries_per_host", "max_entries_per_host")
_SCHEMAS: Final = {
    RING_HASH: Schema("ring_hash_lb", gauges=_RING_GAUGES),
    MAGLEV: Schema("maglev_lb", gauges=_MAGLEV_GAUGES),
}

_random_bits: Final = Random().getrandbits


def stats_block(kind: str, store: Store, prefix: str) -> Block:
    """The gauges of a cluster's table (below ``cluster.<name>.``), which main sets."""
    schema = _SCHEMAS[kind]
    return store.block(schema, f"{prefix}{schema.name}.")


class HashingLoadBalancer:
    """The load balancer of one cluster in one worker."""

    __slots__ = (
        "_by_hash", "_choosers", "_config", "_counts", "_hash", "_load", "_setting", "_stats", "_tables",
        "choose_host", "kind",
    )  # fmt: skip

    def __init__(self, setting: LbSetting, kind: str, config: HashingConfig) -> None:
        self.kind = kind
        self._config = config
        self._setting = setting
        self._stats = setting.info.stats
        counts = setting.context.all_workers
        self._counts = AllWorkers() if counts is None else counts
        self._load = priority_load.PriorityLoad([100], [0], [False])
        self._tables: list[HashTable] = []
        self._choosers: list[HashTable | BoundedTable] = []
        """What chooses, by priority."""
        self._hash = 0
        self._by_hash = False
        """Whether the last choice was that of a hash, not of a random number."""
        self.choose_host: Callable[[Any], Host | None] = self.choose

    def refresh(self) -> None:
        """The hosts, their health or their weights changed."""
        host_sets = self._setting.priority_set.host_sets
        load = self._load = priority_load.calculate(host_sets, self._setting.panic_threshold())
        config, old = self._config, self._tables
        self._tables, self._choosers = [], []
        for priority, host_set in enumerate(host_sets):
            panic = load.panic[priority]
            weighted = weighted_hosts(host_set, panic, config.locality_weighted)
            before = old[priority] if priority < len(old) else None
            table = HashTable(self.kind, config, weighted, panic, before)
            self._tables.append(table)
            self._choosers.append(
                BoundedTable(table, weighted, config.balance_factor, self._stats, self._counts)
                if config.balance_factor
                else table
            )

    def choose(self, context: Any) -> Host | None:
        """The host of the request's hash; without one any."""
        attempt = 0 if context is None else context.host_selection_attempt
        if not attempt:
            value = None if context is None else self._hash_of(context)
            self._by_hash = value is not None
            self._hash = _random_bits(64) if value is None else value
        # Further attempts follow one another at once: the hash is still theirs.
        value = self._hash
        table = self._choosers[self._priority(value)]
        if table.panic and not attempt:
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
        self._tables, self._choosers = [], []
        self.choose_host = choose_none
