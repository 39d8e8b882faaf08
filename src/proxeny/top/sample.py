"""One look at a proxy: what its admin interface says at a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

QUANTILES: Final = (50.0, 90.0, 99.0)

_STATS: Final = (
    r"^(listener\..*\.downstream_(cx_(active|total|overflow)|rq_.xx)"
    r"|http\..*\.(downstream_(rq_(total|active|.xx|time)|cx_active))"
    r"|cluster\..*\.(upstream_(rq_(total|active|.xx|time|timeout|retry|pending_overflow)|cx_(active|connect_fail|total))"
    r"|circuit_breakers\.(default|high)\..*_open)"
    r"|(cluster_manager|listener_manager|http|sds|runtime|extension_config_discovery)\..*"
    r"\.(update_(success|rejected|failure)|version_text)"
    r"|(.*\.)?control_plane\.connected_state)$"
)
"""The stats that a view is made of; the filter is RE2 in both proxies."""


@dataclass(slots=True)
class HostSample:
    """One host of /clusters; ``stats`` are its counters and gauges."""

    address: str
    hostname: str
    health: str
    weight: int
    priority: int
    zone: str
    stats: dict[str, int]


@dataclass(slots=True)
class Sample:
    """One look; ``quantiles`` are those of the last interval that the proxy closed, None where nothing was counted."""

    time_s: float
    version: str = ""
    state: str = ""
    uptime: str = ""
    stats: dict[str, int] = field(default_factory=dict)
    quantiles: dict[str, list[float | None]] = field(default_factory=dict)
    hosts: dict[str, list[HostSample]] = field(default_factory=dict)
    listeners: dict[str, str] = field(default_factory=dict)
    """Name -> address."""
    texts: dict[str, str] = field(default_factory=dict)
    """Text readouts."""


def take(get: Callable[[str], Any], time_s: float) -> Sample:
    """Ask for everything; ``get`` raises AdminError."""
    info = get("/server_info")
    sample = Sample(time_s, info.get("version", ""), info.get("state", ""), info.get("uptime_current_epoch", ""))
    _read_stats(sample, get(f"/stats?format=json&filter={_quoted(_STATS)}"))
    for cluster in get("/clusters?format=json").get("cluster_statuses", ()):
        hosts = [_host(status) for status in cluster.get("host_statuses", ())]
        sample.hosts[cluster.get("observability_name") or cluster["name"]] = hosts
    for listener in get("/listeners?format=json").get("listener_statuses", ()):
        address = address_text(listener.get("local_address", {}))
        sample.listeners[listener.get("name") or address] = address
    return sample


def _quoted(text: str) -> str:
    return "".join([char if char.isalnum() or char in "._-" else f"%{ord(char):02X}" for char in text])


def _read_stats(sample: Sample, answer: Any) -> None:
    for stat in answer.get("stats", ()):
        if "histograms" in stat:
            _read_histograms(sample, stat["histograms"])
        elif isinstance(stat.get("value"), int):
            sample.stats[stat["name"]] = stat["value"]
        elif "name" in stat:
            sample.texts[stat["name"]] = str(stat.get("value", ""))


def _read_histograms(sample: Sample, histograms: Any) -> None:
    known = [float(quantile) for quantile in histograms.get("supported_quantiles", ())]
    for histogram in histograms.get("computed_quantiles", ()):
        values = dict(zip(known, histogram.get("values", ()), strict=False))
        sample.quantiles[histogram["name"]] = [values.get(wanted, {}).get("interval") for wanted in QUANTILES]


def _host(status: Any) -> HostSample:
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in status.get("stats", ())}
    return HostSample(
        address_text(status.get("address", {})),
        status.get("hostname", ""),
        _health(status.get("health_status", {})),
        status.get("weight", 0),
        status.get("priority", 0),
        status.get("locality", {}).get("zone", ""),
        stats,
    )


def _health(status: Any) -> str:
    flags = [name for name, value in status.items() if value is True]
    eds = status.get("eds_health_status", "HEALTHY")
    if eds not in ("HEALTHY", "UNKNOWN"):
        flags.append(f"eds {eds.lower()}")
    return ", ".join([flag.replace("_", " ") for flag in flags]) or "healthy"


def address_text(address: Any) -> str:
    """A ``config.core.v3.Address`` in JSON, for people."""
    if "socket_address" in address:
        inner = address["socket_address"]
        ip = inner.get("address", "")
        return f"[{ip}]:{inner.get('port_value', 0)}" if ":" in ip else f"{ip}:{inner.get('port_value', 0)}"
    if "pipe" in address:
        return str(address["pipe"].get("path", ""))
    inner = address.get("envoy_internal_address", {})
    return f"internal:{inner['server_listener_name']}" if "server_listener_name" in inner else ""
