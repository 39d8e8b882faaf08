"""The gauges of circuit breakers, made by main of the shared counts whenever statistics are read.

Envoy sets ``*_open`` and ``remaining_*`` with every count. Here the counts of all workers are one number in shared
memory, so the gauges follow from it at any time, and whoever counts a request has nothing to do for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream.resource_manager import COUNTABLE, NO_LIMIT, PRIORITY_NAMES, RESOURCES
from proxeny.upstream.stats import CLUSTER, LIMITS, REMAINING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.limits import LimitTable
    from proxeny.stats.store import MainStore
    from proxeny.upstream.cluster_info import ClusterInfo

_GAUGES: Final = (
    # (open, remaining), in the order of RESOURCES
    ("cx_open", "remaining_cx"),
    ("rq_pending_open", "remaining_pending"),
    ("rq_open", "remaining_rq"),
    ("rq_retry_open", "remaining_retries"),
    ("cx_pool_open", "remaining_cx_pools"),
)
_OPEN: Final = tuple(
    tuple(CLUSTER.slot(f"circuit_breakers.{priority}.{gauge}") for gauge, _ in _GAUGES) for priority in PRIORITY_NAMES
)
_PER_PRIORITY: Final = len(RESOURCES)
_RETRIES: Final = 3
_POOLS: Final = 4


class LimitGauges:
    """Keeps the gauges of all clusters' circuit breakers."""

    __slots__ = ("_store", "_table")

    def __init__(self, table: LimitTable, store: MainStore) -> None:
        self._table = table
        self._store = store

    def refresh(self, infos: Iterable[ClusterInfo]) -> None:
        """Show what is counted now; clusters whose limits were never counted on cost one look at a page's number."""
        pages = self._table.pages()
        for info in infos:
            counts = self._table.counted(info.limits_base, LIMITS.size, pages)
            if any([count is not None for count in counts]):
                for priority in range(len(PRIORITY_NAMES)):
                    start = priority * _PER_PRIORITY
                    self._show(info, priority, counts[start : start + _PER_PRIORITY])

    def _show(self, info: ClusterInfo, priority: int, counts: list[int | None]) -> None:
        manager = info.resource_manager(priority)
        remaining = info.remaining_block(priority)
        for i, ((name, _), count) in enumerate(zip(RESOURCES, counts, strict=True)):
            if count is None:
                continue
            resource: Any = getattr(manager, name)
            most = manager.retries.configured if i == _RETRIES else resource.max
            info.stats.set(_OPEN[priority][i], int(count >= most))
            if remaining is None:
                continue
            if i == _POOLS:
                self._show_pools(info, priority, max(0, (NO_LIMIT if most == COUNTABLE else most) - count))
            else:
                # A budget depends on more than these counts: Envoy shows nothing then.
                budget = i == _RETRIES and manager.retries.budget
                remaining.set(i, 0 if budget else max(0, most - count))

    def _show_pools(self, info: ClusterInfo, priority: int, left: int) -> None:
        self._store.wide_gauge(pools_gauge(info, priority), left)

    def begin(self, info: ClusterInfo) -> None:
        """A new cluster: with ``track_remaining`` the limits themselves show."""
        for priority, thresholds in enumerate(info.thresholds):
            remaining = info.remaining_block(priority)
            if remaining is None:
                continue
            manager = info.resource_manager(priority)
            for i, (name, _) in enumerate(RESOURCES[:_POOLS]):
                remaining.set(i, thresholds.max_retries if i == _RETRIES else getattr(manager, name).max)
            self._show_pools(info, priority, min(thresholds.max_connection_pools, NO_LIMIT))

    def end(self, info: ClusterInfo) -> None:
        """The cluster goes."""
        for priority, thresholds in enumerate(info.thresholds):
            if thresholds.track_remaining:
                self._store.wide_gauges.pop(pools_gauge(info, priority), None)


def pools_gauge(info: ClusterInfo, priority: int) -> str:
    """A number of 64 bits where there is no limit."""
    return f"{info.stat_prefix}circuit_breakers.{PRIORITY_NAMES[priority]}.{_GAUGES[_POOLS][1]}"


assert REMAINING.names == tuple(name for _, name in _GAUGES[:_POOLS])
