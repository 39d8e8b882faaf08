"""What a cluster did since the last report (Envoy: the body of ``LoadStatsReporterImpl::sendLoadStatsRequest``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.kernel.stats import sum_slots
from proxeny.upstream.localities import our_locality
from proxeny.upstream.stats import (
    HOST,
    HOST_RQ_ACTIVE,
    HOST_RQ_ERROR,
    HOST_RQ_SUCCESS,
    HOST_RQ_TOTAL,
    LOAD_REPORT,
    LOAD_RQ_DROP_OVERLOAD,
    LOAD_RQ_DROPPED,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import MainStore
    from proxeny.upstream.endpoints import HostEntry
    from proxeny.upstream.main_cluster import MainCluster

Metrics = dict[str, tuple[int, float]]
"""Name of a metric -> how many requests told it, and the sum of what they told."""

Group = tuple[int, tuple[str, str, str]]
"""Priority; region, zone, sub-zone."""

_COUNTERS: Final = (HOST_RQ_SUCCESS, HOST_RQ_ERROR, HOST_RQ_TOTAL)
_FIELDS: Final = (
    "total_successful_requests",
    "total_error_requests",
    "total_issued_requests",
    "total_requests_in_progress",
)


class _Latches:
    """Counters, and what they were when they were last looked at."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[int, list[int]] = {}

    def take(self, key: int, values: list[int]) -> list[int]:
        """How much each grew; one that began anew (another host has its place) grew from nothing."""
        before = self._seen.get(key)
        self._seen[key] = values
        if before is None:
            return values
        return [new - old if new >= old else new for new, old in zip(values, before, strict=True)]

    def keep(self, keys: set[int]) -> None:
        """Forget all others."""
        for key in self._seen.keys() - keys:
            del self._seen[key]


class ClusterLoad:
    """One cluster that reports are made of, from now on."""

    __slots__ = ("_drops", "_hosts", "_metrics", "_ours", "_store", "name", "since_us")

    def __init__(self, name: str, context: FactoryContext, store: MainStore, now_us: int) -> None:
        self.name = name
        self.since_us = now_us
        """When the last report was made, monotonic."""
        self._store = store
        self._ours = our_locality(context.local_info)
        self._hosts = _Latches()
        self._drops = _Latches()
        self._metrics: dict[int, Metrics] = {}
        """By stat index of the host."""

    def begin(self, cluster: MainCluster) -> None:
        """What was counted so far is not reported."""
        for entry in cluster.members():
            self._look_at(cluster, entry)
        self._look_at_drops(cluster)

    def add_metrics(self, stat_index: int, metrics: Metrics) -> None:
        """A worker tells of metrics that responses of one host brought."""
        known = self._metrics.setdefault(stat_index, {})
        _add(known, metrics)

    def report(self, cluster: MainCluster, message: Any, endpoints: bool, now_us: int) -> None:
        """Fill an ``envoy.config.endpoint.v3.ClusterStats``; what it says is not said again.

        ``endpoints``: also of each endpoint (``report_endpoint_granularity``).
        """
        message.cluster_name = self.name
        message.cluster_service_name = getattr(cluster.config.options, "configured_name", "")
        keys: set[int] = set()
        for (priority, locality), entries in self._groups(cluster):
            found = type(message.upstream_locality_stats.add())()
            del message.upstream_locality_stats[-1]
            self._report_locality(cluster, found, entries, endpoints)
            keys.update(entry.stat_index for entry in entries)
            if any([getattr(found, field) for field in _FIELDS]) or found.load_metric_stats:
                found.priority = priority
                found.locality.region, found.locality.zone, found.locality.sub_zone = locality
                message.upstream_locality_stats.append(found)
        self._hosts.keep(keys)
        self._metrics.clear()  # what is left is of hosts that are gone: their places may be others' next
        dropped, overload = self._look_at_drops(cluster)
        message.total_dropped_requests = dropped
        if overload:
            policy = cluster.policy or cluster.config.policy
            message.dropped_requests.add(category=policy.drop_category, dropped_count=overload)
        message.load_report_interval.FromMicroseconds(now_us - self.since_us)
        self.since_us = now_us

    def _groups(self, cluster: MainCluster) -> Iterator[tuple[Group, list[HostEntry]]]:
        """By priority and locality, in order; our own locality is the first of its priority."""
        groups: dict[Group, list[HostEntry]] = {}
        for entry in cluster.members():
            groups.setdefault((entry.priority, (entry.region, entry.zone, entry.sub_zone)), []).append(entry)
        for group in sorted(groups, key=lambda group: (group[0], group[1] != self._ours, group[1])):
            yield group, groups[group]

    def _report_locality(self, cluster: MainCluster, message: Any, entries: list[HostEntry], endpoints: bool) -> None:
        sums = [0] * len(_FIELDS)
        metrics: Metrics = {}
        for entry in entries:
            values = self._look_at(cluster, entry)
            own = self._metrics.pop(entry.stat_index, {})
            if not any(values) and not own:
                continue
            sums = [total + value for total, value in zip(sums, values, strict=True)]
            _add(metrics, own)
            if endpoints:
                endpoint = message.upstream_endpoint_stats.add()
                entry.write_address(endpoint.address)
                _fill(endpoint, values, own)
        _fill(message, sums, metrics)

    def _look_at(self, cluster: MainCluster, entry: HostEntry) -> list[int]:
        """Successes, errors, requests issued since the last look; requests in progress."""
        values, _ = sum_slots(cluster.blocks_of(entry), HOST.size)
        grown = self._hosts.take(entry.stat_index, [values[slot] for slot in _COUNTERS])
        return [*grown, values[HOST_RQ_ACTIVE]]

    def _look_at_drops(self, cluster: MainCluster) -> list[int]:
        """Requests that were dropped, and those of them that ``drop_overloads`` dropped."""
        entry = self._store.entries.get((LOAD_REPORT.name, cluster.config.info.stat_prefix))
        if entry is None:
            return [0, 0]
        values, _ = sum_slots(self._store.blocks_of(entry), LOAD_REPORT.size)
        return self._drops.take(0, [values[LOAD_RQ_DROPPED], values[LOAD_RQ_DROP_OVERLOAD]])


def _fill(message: Any, values: list[int], metrics: Metrics) -> None:
    for field, value in zip(_FIELDS, values, strict=True):
        setattr(message, field, value)
    for name, (count, total) in metrics.items():
        message.load_metric_stats.add(
            metric_name=name, num_requests_finished_with_metric=count, total_metric_value=total
        )


def _add(known: Metrics, metrics: Metrics) -> None:
    for name, (count, total) in metrics.items():
        before = known.get(name, (0, 0.0))
        known[name] = before[0] + count, before[1] + total
