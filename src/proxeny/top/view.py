"""What changed between two samples: the rows that people look at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from proxeny.top.sample import HostSample, Sample

_LISTENER: Final = re.compile(r"listener\.(.+)\.downstream_cx_active")
_MANAGER: Final = re.compile(r"http\.(.+)\.downstream_rq_total")
_WORKER: Final = re.compile(r"\.(worker_\d+|main_thread)$")
_OPEN: Final = re.compile(r"cluster\.(.+)\.circuit_breakers\.(\w+)\.(\w+)_open")
_SUBSCRIPTION: Final = re.compile(r"(.+)\.update_success")
_ANSWERS: Final = re.compile(r"listener\.(.+?)\.http\..+\.downstream_rq_.xx")


@dataclass(slots=True)
class ListenerRow:
    """A listener; rates per second."""

    name: str
    address: str
    cx_active: int
    cx_rate: float
    rq_rate: float
    rejected_rate: float


@dataclass(slots=True)
class HttpRow:
    """An HTTP connection manager, by its ``stat_prefix``; milliseconds by quantile."""

    name: str
    rq_rate: float
    rq_active: int
    cx_active: int
    rate_2xx: float
    rate_4xx: float
    rate_5xx: float
    latency_ms: list[float | None]


@dataclass(slots=True)
class ClusterRow:
    """A cluster; ``errors_rate`` is of connect failures, time-outs and overflows."""

    name: str
    hosts: int
    healthy: int
    rq_rate: float
    rq_active: int
    cx_active: int
    rate_5xx: float
    errors_rate: float
    retries_rate: float
    latency_ms: list[float | None]
    open_breakers: list[str]


@dataclass(slots=True)
class HostRow:
    """A host of a cluster."""

    cluster: str
    address: str
    hostname: str
    health: str
    priority: int
    weight: int
    zone: str
    rq_rate: float
    rq_active: int
    cx_active: int
    errors_rate: float
    timeouts_rate: float
    connect_fails_rate: float
    success_percent: float | None


@dataclass(slots=True)
class XdsRow:
    """A subscription, by the prefix of its statistics; how often it was updated, refused, or could not be had."""

    name: str
    version: str
    updates_rate: float
    updates: int
    rejected: int
    failed: int
    connected: bool | None
    """Whether its stream, or that of ADS, is open; None: there is none."""


@dataclass(slots=True)
class View:
    """All rows of a moment."""

    version: str
    state: str
    uptime: str
    seconds: float
    listeners: list[ListenerRow]
    http: list[HttpRow]
    clusters: list[ClusterRow]
    hosts: list[HostRow]
    xds: list[XdsRow]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


class _Rates:
    """Steps of counters, per second; a counter that went down began anew."""

    def __init__(self, before: dict[str, int], now: dict[str, int], seconds: float) -> None:
        self._before = before
        self._now = now
        self._seconds = max(seconds, 1e-3)

    def of(self, *names: str) -> float:
        return sum([self._step(name) for name in names]) / self._seconds

    def _step(self, name: str) -> int:
        now = self._now.get(name, 0)
        before = self._before.get(name, 0)
        return now - before if now >= before else now


def compare(before: Sample, now: Sample, name_filter: re.Pattern[str] | None = None) -> View:
    """The rows; ``name_filter`` searches names of listeners, managers and clusters."""
    seconds = now.time_s - before.time_s
    rates = _Rates(before.stats, now.stats, seconds)
    breakers = _grouped(_OPEN, [name for name, value in now.stats.items() if value])

    def wanted(name: str) -> bool:
        return name_filter is None or name_filter.search(name) is not None

    return View(
        now.version,
        now.state,
        now.uptime,
        seconds,
        [row for row in _listener_rows(now, rates) if wanted(row.name)],
        [_http_row(now, rates, name) for name in _names(_MANAGER, now.stats) if wanted(name)],
        [_cluster_row(now, rates, name, breakers.get(name, [])) for name in now.hosts if wanted(name)],
        [row for name in now.hosts if wanted(name) for row in _host_rows(name, before, now, seconds)],
        [_xds_row(now, rates, name) for name in _names(_SUBSCRIPTION, now.stats) if wanted(name)],
    )


def _names(pattern: re.Pattern[str], stats: Iterable[str]) -> list[str]:
    found = [match[1] for name in stats if (match := pattern.fullmatch(name)) is not None]
    return sorted(name for name in found if _WORKER.search(name) is None)


def _grouped(pattern: re.Pattern[str], stats: Iterable[str]) -> dict[str, list[re.Match[str]]]:
    """Matches by their first group."""
    groups: dict[str, list[re.Match[str]]] = {}
    for name in stats:
        match = pattern.fullmatch(name)
        if match is not None:
            groups.setdefault(match[1], []).append(match)
    return groups


def _listener_rows(now: Sample, rates: _Rates) -> list[ListenerRow]:
    """A listener's stats are under its address or its ``stat_prefix``, which /listeners does not tell."""
    by_stat = {address.replace(":", "_"): name for name, address in now.listeners.items()}
    answers = _grouped(_ANSWERS, now.stats)
    rows = []
    for stat in _names(_LISTENER, now.stats):
        name = by_stat.get(stat.replace(":", "_"), stat)
        prefix = f"listener.{stat}.downstream_cx_"
        rows.append(
            ListenerRow(
                name,
                now.listeners.get(name, ""),
                now.stats[f"{prefix}active"],
                rates.of(f"{prefix}total"),
                rates.of(*[match[0] for match in answers.get(stat, ())]),
                rates.of(f"{prefix}overflow"),
            )
        )
    return rows


def _http_row(now: Sample, rates: _Rates, name: str) -> HttpRow:
    prefix = f"http.{name}.downstream_"
    return HttpRow(
        name,
        rates.of(f"{prefix}rq_total"),
        now.stats.get(f"{prefix}rq_active", 0),
        now.stats.get(f"{prefix}cx_active", 0),
        rates.of(f"{prefix}rq_2xx"),
        rates.of(f"{prefix}rq_4xx"),
        rates.of(f"{prefix}rq_5xx"),
        now.quantiles.get(f"{prefix}rq_time", [None] * 3),
    )


def _cluster_row(now: Sample, rates: _Rates, name: str, breakers: list[re.Match[str]]) -> ClusterRow:
    prefix = f"cluster.{name}.upstream_"
    hosts = now.hosts[name]
    return ClusterRow(
        name,
        len(hosts),
        sum(host.health == "healthy" for host in hosts),
        rates.of(f"{prefix}rq_total"),
        now.stats.get(f"{prefix}rq_active", 0),
        now.stats.get(f"{prefix}cx_active", 0),
        rates.of(f"{prefix}rq_5xx"),
        rates.of(f"{prefix}cx_connect_fail", f"{prefix}rq_timeout", f"{prefix}rq_pending_overflow"),
        rates.of(f"{prefix}rq_retry"),
        now.quantiles.get(f"{prefix}rq_time", [None] * 3),
        [f"{breaker[2]} {breaker[3]}" for breaker in breakers],
    )


def _host_rows(cluster: str, before: Sample, now: Sample, seconds: float) -> list[HostRow]:
    known = {host.address: host.stats for host in before.hosts.get(cluster, ())}
    return [_host_row(cluster, host, _Rates(known.get(host.address, {}), host.stats, seconds)) for host in
            now.hosts[cluster]]  # fmt: skip


def _host_row(cluster: str, host: HostSample, rates: _Rates) -> HostRow:
    good, bad = rates.of("rq_success"), rates.of("rq_error")
    return HostRow(
        cluster,
        host.address,
        host.hostname,
        host.health,
        host.priority,
        host.weight,
        host.zone,
        rates.of("rq_total"),
        host.stats.get("rq_active", 0),
        host.stats.get("cx_active", 0),
        bad,
        rates.of("rq_timeout"),
        rates.of("cx_connect_fail"),
        100.0 * (good / (good + bad)) if good + bad else None,
    )


def _xds_row(now: Sample, rates: _Rates, name: str) -> XdsRow:
    stats = now.stats
    connected = stats.get(f"{name}.control_plane.connected_state", stats.get("control_plane.connected_state"))
    return XdsRow(
        name,
        now.texts.get(f"{name}.version_text", ""),
        rates.of(f"{name}.update_success"),
        stats[f"{name}.update_success"],
        stats.get(f"{name}.update_rejected", 0),
        stats.get(f"{name}.update_failure", 0),
        None if connected is None else bool(connected),
    )
