"""Circuit breakers (Envoy: ``Upstream::ResourceManager``): what may exist at once for one cluster and priority.

The counts hold across workers: each worker writes its own column of the shared table (kernel/limits.pyx), everybody
reads the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from proxeny.kernel.limits import Resource
from proxeny.upstream.stats import CLUSTER, LIMITS, REMAINING

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.limits import LimitTable
    from proxeny.kernel.stats import Block


class ResourcePriority(IntEnum):
    """core.v3.RoutingPriority."""

    DEFAULT = 0
    HIGH = 1


PRIORITY_NAMES: Final = ("default", "high")
UNLIMITED_POOLS: Final = (1 << 62) - 1
"""The largest value a gauge can show; Envoy shows 2^64 - 1."""


@dataclass(slots=True, frozen=True)
class Thresholds:
    """The limits of one priority (CircuitBreakers.Thresholds, with Envoy's defaults)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    track_remaining: bool = False
    budget_percent: float | None = None
    min_retry_concurrency: int | None = None


DEFAULT_THRESHOLDS: Final = (Thresholds(), Thresholds())

_LIMITS: Final = (
    # (resource, field of Thresholds, open gauge, remaining gauge)
    ("connections", "max_connections", "cx_open", "remaining_cx"),
    ("pending_requests", "max_pending_requests", "rq_pending_open", "remaining_pending"),
    ("requests", "max_requests", "rq_open", "remaining_rq"),
    ("retries", "max_retries", "rq_retry_open", "remaining_retries"),
)
_OPEN_SLOTS: Final = tuple(
    tuple(CLUSTER.slot(f"circuit_breakers.{priority}.{limit[2]}") for limit in _LIMITS) for priority in PRIORITY_NAMES
)
_REMAINING_SLOTS: Final = tuple(REMAINING.slot(limit[3]) for limit in _LIMITS)
_ROWS: Final = tuple(tuple(LIMITS.slot(f"{priority}.{limit[0]}") for limit in _LIMITS) for priority in PRIORITY_NAMES)


def parse_thresholds(circuit_breakers: Any) -> tuple[Thresholds, Thresholds]:
    """The thresholds of both priorities; the first entry of a priority counts, as in Envoy."""
    found: dict[int, Thresholds] = {}
    for proto in circuit_breakers.thresholds:
        if proto.priority not in found:
            found[proto.priority] = _parse_one(proto)
    return found.get(0, DEFAULT_THRESHOLDS[0]), found.get(1, DEFAULT_THRESHOLDS[1])


def _parse_one(proto: Any) -> Thresholds:
    values: dict[str, Any] = {"track_remaining": proto.track_remaining}
    for _, field, _, _ in _LIMITS:
        if proto.HasField(field):
            values[field] = getattr(proto, field).value
    if proto.HasField("retry_budget"):
        budget = proto.retry_budget
        values["budget_percent"] = budget.budget_percent.value if budget.HasField("budget_percent") else 20.0
        concurrency = budget.min_retry_concurrency
        values["min_retry_concurrency"] = concurrency.value if budget.HasField("min_retry_concurrency") else 3
    return Thresholds(**values)


class RetryBudget:
    """The retries' limit as a share of what is active (Envoy: ``RetryBudgetImpl``): same methods as a Resource."""

    __slots__ = ("_active", "_concurrency", "_pending", "_percent", "_retries")

    def __init__(self, retries: Resource, active: Resource, pending: Resource, thresholds: Thresholds) -> None:
        self._retries = retries
        self._active = active
        self._pending = pending
        self._percent = thresholds.budget_percent if thresholds.budget_percent is not None else 20.0
        self._concurrency = thresholds.min_retry_concurrency if thresholds.min_retry_concurrency is not None else 3

    @property
    def max(self) -> int:
        """How many retries there may be right now."""
        share = int(self._percent / 100.0 * (self._active.count + self._pending.count))
        return share if share > self._concurrency else self._concurrency

    @property
    def count(self) -> int:
        """How many retries there are, over all workers."""
        return self._retries.count

    def can_create(self) -> bool:
        """Whether one more stays within the budget."""
        return self._retries.count < self.max

    def inc(self) -> None:
        """One more."""
        self._retries.max = self.max
        self._retries.inc()

    def dec(self) -> None:
        """One less."""
        self._retries.max = self.max
        self._retries.dec()


class ResourceManager:
    """The limited resources of one cluster at one priority, as one worker counts them."""

    __slots__ = ("connections", "pending_requests", "requests", "retries", "thresholds")

    connections: Resource
    pending_requests: Resource
    requests: Resource
    retries: Resource | RetryBudget

    def __init__(
        self,
        priority: int,
        thresholds: Thresholds,
        table: LimitTable,
        base: int,
        stats: Block,
        remaining: Block | None,
    ) -> None:
        self.thresholds = thresholds
        resources = []
        for i, (_, field, _, _) in enumerate(_LIMITS):
            row = base + _ROWS[priority][i]
            open_slot = _OPEN_SLOTS[priority][i]
            maximum = getattr(thresholds, field)
            resources.append(Resource(table, row, maximum, stats, open_slot, remaining, _REMAINING_SLOTS[i]))
        self.connections, self.pending_requests, self.requests, self.retries = resources
        if thresholds.budget_percent is not None:
            self.retries = RetryBudget(resources[3], self.requests, self.pending_requests, thresholds)

    def override_limits(self, limit_of: Callable[[str, int], int]) -> None:
        """Take limits from the runtime: ``limit_of`` gets the name of a field of Thresholds and its value."""
        for resource, field, _, _ in _LIMITS:
            limited = getattr(self, resource)
            if isinstance(limited, Resource):
                limited.max = limit_of(field, getattr(self.thresholds, field))


def show_limits(thresholds: Thresholds, remaining: Block) -> None:
    """Main's part of the remaining gauges: the limits themselves (workers subtract what they use)."""
    for slot, (_, field, _, _) in zip(_REMAINING_SLOTS, _LIMITS, strict=True):
        remaining.set(slot, getattr(thresholds, field))
    remaining.set(REMAINING.slot("remaining_cx_pools"), UNLIMITED_POOLS)
