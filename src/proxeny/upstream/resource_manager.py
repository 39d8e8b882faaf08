"""Circuit breakers (Envoy: ``Upstream::ResourceManager``): what may exist at once for one cluster and priority.

The counts hold across workers: they live in the shared table (kernel/limits.pyx). The gauges ``*_open`` and
``remaining_*`` are not kept by those who count: main makes them of the counts when somebody reads them
(``upstream.limit_gauges``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from proxeny.kernel.limits import Resource
from proxeny.upstream.stats import LIMITS

if TYPE_CHECKING:
    from proxeny.kernel.limits import LimitTable


class ResourcePriority(IntEnum):
    """core.v3.RoutingPriority."""

    DEFAULT = 0
    HIGH = 1


PRIORITY_NAMES: Final = ("default", "high")
NO_LIMIT: Final = (1 << 64) - 1
"""``max_connection_pools`` where nothing is said, and connections per host."""
COUNTABLE: Final = (1 << 62) - 1
"""No count goes beyond."""


@dataclass(slots=True, frozen=True)
class Thresholds:
    """The limits of one priority (CircuitBreakers.Thresholds, with Envoy's defaults)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    max_connection_pools: int = NO_LIMIT
    track_remaining: bool = False
    budget_percent: float | None = None
    min_retry_concurrency: int | None = None


DEFAULT_THRESHOLDS: Final = (Thresholds(), Thresholds())

RESOURCES: Final = (
    # (resource, field of Thresholds), in the order of their rows
    ("connections", "max_connections"),
    ("pending_requests", "max_pending_requests"),
    ("requests", "max_requests"),
    ("retries", "max_retries"),
    ("connection_pools", "max_connection_pools"),
)
FIRST_ROWS: Final = tuple(LIMITS.slot(f"{name}.{RESOURCES[0][0]}") for name in PRIORITY_NAMES)


def parse_thresholds(circuit_breakers: Any) -> tuple[Thresholds, Thresholds]:
    """The thresholds of both priorities; the first entry of a priority counts, as in Envoy."""
    found: dict[int, Thresholds] = {}
    for proto in circuit_breakers.thresholds:
        if proto.priority not in found:
            found[proto.priority] = _parse_one(proto)
    return found.get(0, DEFAULT_THRESHOLDS[0]), found.get(1, DEFAULT_THRESHOLDS[1])


def _parse_one(proto: Any) -> Thresholds:
    values: dict[str, Any] = {"track_remaining": proto.track_remaining}
    for _, field in RESOURCES:
        if proto.HasField(field):
            values[field] = getattr(proto, field).value
    if proto.HasField("retry_budget"):
        budget = proto.retry_budget
        values["budget_percent"] = budget.budget_percent.value if budget.HasField("budget_percent") else 20.0
        concurrency = budget.min_retry_concurrency
        values["min_retry_concurrency"] = concurrency.value if budget.HasField("min_retry_concurrency") else 3
    return Thresholds(**values)


def parse_per_host(circuit_breakers: Any) -> tuple[int, int]:
    """The most connections to one host by priority; the first entry of a priority counts, as in Envoy."""
    found: dict[int, int] = {}
    for proto in circuit_breakers.per_host_thresholds:
        if proto.priority not in found:
            found[proto.priority] = proto.max_connections.value if proto.HasField("max_connections") else NO_LIMIT
    return found.get(0, NO_LIMIT), found.get(1, NO_LIMIT)


class RetryLimit:
    """What limits retries: a number or, under a budget, a share of what is active (Envoy: ``RetryBudgetImpl``).

    The same methods as a Resource.
    """

    __slots__ = ("_active", "_concurrency", "_pending", "_percent", "_retries", "budget", "configured")

    def __init__(self, retries: Resource, active: Resource, pending: Resource) -> None:
        self._retries = retries
        self._active = active
        self._pending = pending
        self._percent = 20.0
        self._concurrency = 3
        self.budget = False
        """Whether there is a budget, which makes ``max_retries`` moot."""
        self.configured = 0
        """``max_retries``: by it the gauge shows an open breaker, even under a budget."""

    def limit(self, maximum: int, percent: float | None, concurrency: int | None) -> None:
        """``max_retries`` and, where either is given, the budget."""
        self.configured = self._retries.max = min(maximum, COUNTABLE)
        self.budget = percent is not None or concurrency is not None
        self._percent = 20.0 if percent is None else percent
        self._concurrency = 3 if concurrency is None else concurrency

    @property
    def max(self) -> int:
        """How many retries there may be right now."""
        if not self.budget:
            return self._retries.max
        share = int(self._percent / 100.0 * (self._active.count + self._pending.count))
        return share if share > self._concurrency else self._concurrency

    @property
    def count(self) -> int:
        """How many retries there are, over all workers."""
        return self._retries.count

    def can_create(self) -> bool:
        """Whether one more stays within the limit."""
        return self._retries.count < self.max

    def try_acquire(self) -> bool:
        """Count one more if that stays within the limit."""
        if self.budget:
            self._retries.touch()
            self._retries.max = self.max
        return self._retries.try_acquire()

    def inc(self) -> None:
        """Count one more whatever the limit."""
        self._retries.inc()

    def dec(self) -> None:
        """Count one less."""
        self._retries.dec()


class ResourceManager:
    """The limited resources of one cluster at one priority, as one process sees them."""

    __slots__ = ("_prefix", "connection_pools", "connections", "pending_requests", "requests", "retries", "thresholds")

    def __init__(
        self, cluster: str, priority: int, thresholds: Thresholds, table: LimitTable, base: int, runtime: Any = None
    ) -> None:
        """``base`` is the row of the cluster's LIMITS; ``runtime`` may override each limit."""
        self.thresholds = thresholds
        first = base + FIRST_ROWS[priority]
        made = [Resource(table, first + i, 0) for i in range(len(RESOURCES))]
        self.connections, self.pending_requests, self.requests, retries, self.connection_pools = made
        self.retries = RetryLimit(retries, self.requests, self.pending_requests)
        self._prefix = f"circuit_breakers.{cluster}.{PRIORITY_NAMES[priority]}."
        self.apply(runtime)

    def apply(self, runtime: Any) -> None:
        """Take the limits from the thresholds, and from ``circuit_breakers.<cluster>.<priority>.*`` of the runtime."""
        thresholds, prefix = self.thresholds, self._prefix
        percent, concurrency = thresholds.budget_percent, thresholds.min_retry_concurrency
        limits = [getattr(thresholds, field) for _, field in RESOURCES]
        if runtime is not None:
            limits = [
                runtime.get_integer(prefix + field, limit) for (_, field), limit in zip(RESOURCES, limits, strict=True)
            ]
            entries = runtime.snapshot.entries
            if f"{prefix}retry_budget.budget_percent" in entries:
                percent = runtime.get_float(f"{prefix}retry_budget.budget_percent", 20.0)
            if f"{prefix}retry_budget.min_retry_concurrency" in entries:
                concurrency = runtime.get_integer(f"{prefix}retry_budget.min_retry_concurrency", 3)
        connections, pending, requests, retries, pools = limits
        self.connections.max = min(connections, COUNTABLE)
        self.pending_requests.max = min(pending, COUNTABLE)
        self.requests.max = min(requests, COUNTABLE)
        self.connection_pools.max = min(pools, COUNTABLE)
        self.retries.limit(retries, percent, concurrency)

    @property
    def counts_pools(self) -> bool:
        """Whether anybody wants to know how many pools there are."""
        return self.thresholds.track_remaining or self.connection_pools.max < COUNTABLE
