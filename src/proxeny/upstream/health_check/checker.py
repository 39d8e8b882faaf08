"""The health checks of one cluster (Envoy: ``HealthCheckerImplBase``, ``HealthCheckerGroup``).

A cluster may have several checks: a host is failed (degraded, pending) while any of them says so.
"""

from __future__ import annotations

from random import randrange
from typing import TYPE_CHECKING, Any

from proxeny.upstream.endpoints import (
    DEGRADED_ACTIVE_HC,
    FAILED_ACTIVE_HC,
    FAILED_OUTLIER_CHECK,
    PENDING_ACTIVE_HC,
)
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.health_check.events import EventLog
from proxeny.upstream.health_check.session import Session
from proxeny.upstream.stats import (
    CLUSTER,
    GROUP_DEGRADED,
    GROUP_HEALTHY,
    UPSTREAM_CX_RX_BYTES_TOTAL,
    UPSTREAM_CX_TOTAL,
    UPSTREAM_CX_TX_BYTES_TOTAL,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.endpoints import HostEntry
    from proxeny.upstream.health_check.config import HealthCheckConfig
    from proxeny.upstream.host_health import ClusterHealth

_AGGREGATED = FAILED_ACTIVE_HC | DEGRADED_ACTIVE_HC | PENDING_ACTIVE_HC
_TRAFFIC = (UPSTREAM_CX_TOTAL, UPSTREAM_CX_TX_BYTES_TOTAL, UPSTREAM_CX_RX_BYTES_TOTAL)


class HealthChecker:
    """One check of all hosts of a cluster."""

    __slots__ = ("config", "group", "info", "log", "sessions")

    def __init__(self, group: ClusterHealthChecks, config: HealthCheckConfig, info: ClusterInfo) -> None:
        self.group = group
        self.config = config
        self.info = info
        dispatcher, logs = group.context.dispatcher, group.context.access_log_manager
        assert dispatcher is not None
        files = [] if logs is None else [logs.create_access_log(path) for path in config.log_paths]
        self.log = EventLog(info.name, config.prober.kind, files, dispatcher.system_time)
        self.sessions: dict[int, Session] = {}
        """By the hosts' ``stat_index``."""

    def interval(self, healthy: bool, edge: bool) -> int:
        """How long to wait after a check; ``edge``: a change of the host's state is under way."""
        intervals = self.config.intervals
        if not self.group.had_traffic():
            base = intervals.no_traffic_healthy if healthy and not edge else intervals.no_traffic
        elif healthy:
            base = intervals.healthy_edge if edge else intervals.normal
        else:
            base = intervals.unhealthy_edge if edge else intervals.unhealthy
        return self.jittered(base, intervals.jitter)

    def jittered(self, base: int, jitter: int) -> int:
        """``base`` with its jitters, within what runtime allows; at least a millisecond, so that it comes to an end."""
        by_percent = self.config.intervals.jitter_percent * base // 100
        if by_percent > 0:
            base += randrange(by_percent)
        if jitter > 0:
            base += randrange(jitter)
        runtime = self.group.context.runtime
        if runtime is not None:
            base = min(base, runtime.get_integer("health_check.max_interval", base))
            base = max(base, runtime.get_integer("health_check.min_interval", 0))
        return max(1, base)

    def __repr__(self) -> str:
        return f"<HealthChecker {self.info.name} {self.config.name or self.config.prober.kind}>"


class ClusterHealthChecks:
    """All checks of a cluster; they run from ``start`` on. ``on_first_round`` is called once, when every host that is
    there at the time of ``wait`` was checked (or is gone)."""

    __slots__ = (
        "_closed",
        "_entries",
        "_group_stats",
        "_had_traffic",
        "_on_first_round",
        "_waiting",
        "checkers",
        "context",
        "health",
        "on_ejected_passed",
    )

    def __init__(
        self, configs: list[HealthCheckConfig], info: ClusterInfo, health: ClusterHealth, context: FactoryContext
    ) -> None:
        self.context = context
        self.health = health
        self.on_ejected_passed: Callable[[int], object] = lambda index: None
        """Told when a host passes that was ejected as an outlier."""
        self.checkers = [HealthChecker(self, config, info) for config in configs]
        self._group_stats = configs[0].group_stats
        self._entries: dict[int, HostEntry] = {}
        self._had_traffic = False
        self._closed = False
        self._waiting: set[int] = set()
        """Hosts that the first round has still to check."""
        self._on_first_round: Callable[[], None] | None = None

    # -- hosts ---------------------------------------------------------------------------------------------------
    def update_hosts(self, entries: list[HostEntry]) -> None:
        """These are the hosts now: check the new ones, no longer those that are gone."""
        if self._closed:
            return
        known, self._entries = self._entries, {}
        added: list[HostEntry] = []
        for entry in entries:
            if entry.check is not None and entry.check.disabled:
                continue
            index = entry.stat_index
            old = known.get(index)
            if old is not None and old.check == entry.check:
                del known[index]
                for checker in self.checkers:
                    checker.sessions[index].entry = entry
            else:
                added.append(entry)
            self._entries[index] = entry
        for index in known:
            self._stop(index)
        for entry in added:
            self._begin(entry)
        self._round_may_be_done()

    def _stop(self, index: int) -> None:
        self._waiting.discard(index)
        if self._group_stats is not None:
            _count(self._group_stats.dec, self._own_flags(index))
        for checker in self.checkers:
            checker.sessions.pop(index).close()

    def _begin(self, entry: HostEntry) -> None:
        dispatcher = self.context.dispatcher
        assert dispatcher is not None
        index = entry.stat_index
        if self._group_stats is not None:
            _count(self._group_stats.inc, entry.health_flags)
        sessions = [Session(checker, entry, entry.health_flags, dispatcher) for checker in self.checkers]
        for checker, session in zip(self.checkers, sessions, strict=True):
            checker.sessions[index] = session
        for session in sessions:
            session.start()

    def wait(self, on_first_round: Callable[[], None]) -> None:
        """Tell when all hosts that are there now were checked once, which may be at once."""
        self._on_first_round = on_first_round
        self._waiting = {index for index in self._entries if self._is_new(index)}
        self._round_may_be_done()

    def _is_new(self, index: int) -> bool:
        return any(checker.sessions[index].first_check for checker in self.checkers)

    def _round_may_be_done(self) -> None:
        if not self._waiting and self._on_first_round is not None:
            callback, self._on_first_round = self._on_first_round, None
            callback()

    # -- results -------------------------------------------------------------------------------------------------
    def change(self, session: Session, added: int, removed: int) -> None:
        """A check moved its host's flags, or found out more (``added``, ``removed``): the host's follow."""
        index = session.entry.stat_index
        own = self._own_flags(index)
        before = self.health.flags(index) & _AGGREGATED
        rebuild = before != own
        stats = self._group_stats
        if rebuild and stats is not None:
            _count(stats.dec, before)
            _count(stats.inc, own)
        self.health.change(index, own | added, (_AGGREGATED & ~own) | removed, rebuild)

    def _own_flags(self, index: int) -> int:
        """What the checks of a host say, together."""
        own = 0
        for checker in self.checkers:
            own |= checker.sessions[index].flags
        return own

    def checked(self, session: Session, passed: bool) -> None:
        """A check of a host has a result."""
        index = session.entry.stat_index
        if passed:
            flags = self.health.flags(index)
            if flags & FAILED_OUTLIER_CHECK and not flags & FAILED_ACTIVE_HC:
                self.on_ejected_passed(index)
        if index in self._waiting and not self._is_new(index):
            self._waiting.discard(index)
            self._round_may_be_done()

    def set_unhealthy(self, index: int, count: int = 1) -> None:
        """Responses to ordinary traffic asked for the host to be taken out of rotation."""
        for checker in self.checkers:
            session = checker.sessions.get(index)
            if session is not None:
                session.exclude()
                for _ in range(count):
                    session.set_unhealthy(FailureType.PASSIVE)

    def had_traffic(self) -> bool:
        """Whether the cluster was ever used for traffic."""
        if not self._had_traffic:
            store: Any = self.context.stats
            entry = store.entries.get((CLUSTER.name, self.checkers[0].info.stat_prefix))
            blocks = [] if entry is None else store.blocks_of(entry)
            self._had_traffic = any(block.get(slot) for block in blocks for slot in _TRAFFIC)
        return self._had_traffic

    def close(self) -> None:
        """The cluster goes."""
        self._closed = True
        self._on_first_round = None
        for index in list(self._entries):
            self._stop(index)
        self._entries = {}

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"hosts": len(self._entries), "waiting": len(self._waiting), "had_traffic": self._had_traffic}


def _count(change: Callable[[int], object], flags: int) -> None:
    """A host with these flags begins to be counted, or ends."""
    if not flags & FAILED_ACTIVE_HC:
        change(GROUP_HEALTHY)
    if flags & DEGRADED_ACTIVE_HC:
        change(GROUP_DEGRADED)
