"""Stats of the server itself (Envoy: ``ALL_SERVER_STATS``, ``ALL_LISTENER_MANAGER_STATS``, the watchdog's)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from proxeny import __version__
from proxeny.kernel.stats import Block
from proxeny.stats.schema import Schema
from proxeny.stats.store import MainStore

SERVER: Final = Schema(
    "server",
    counters=(
        "debug_assertion_failures",
        "dropped_stat_flushes",
        "dynamic_unknown_fields",
        "envoy_bug_failures",
        "envoy_notifications",
        "static_unknown_fields",
        "wip_protos",
        "worker_restarts",
    ),
    gauges=(
        "compilation_settings.fips_mode",
        "concurrency",
        "days_until_first_cert_expiring",
        "hot_restart_epoch",
        "live",
        "memory_allocated",
        "memory_heap_size",
        "memory_physical_size",
        "parent_connections",
        "seconds_until_first_ocsp_response_expiring",
        "state",
        "stats_recent_lookups",
        "total_connections",
        "uptime",
        "version",
    ),
    histograms=("initialization_time_ms",),
)
DYNAMIC_UNKNOWN_FIELDS: Final = SERVER.slot("dynamic_unknown_fields")
STATIC_UNKNOWN_FIELDS: Final = SERVER.slot("static_unknown_fields")
WIP_PROTOS: Final = SERVER.slot("wip_protos")
WORKER_RESTARTS: Final = SERVER.slot("worker_restarts")
LIVE: Final = SERVER.slot("live")
STATE: Final = SERVER.slot("state")
STATS_RECENT_LOOKUPS: Final = SERVER.slot("stats_recent_lookups")
INITIALIZATION_TIME_MS: Final = SERVER.slot("initialization_time_ms")

LISTENER_MANAGER: Final = Schema(
    "listener_manager",
    counters=(
        "listener_added",
        "listener_create_failure",
        "listener_create_success",
        "listener_in_place_updated",
        "listener_modified",
        "listener_removed",
        "listener_stopped",
    ),
    gauges=(
        "total_filter_chains_draining",
        "total_listeners_active",
        "total_listeners_draining",
        "total_listeners_warming",
        "workers_pinned",
        "workers_started",
    ),
)

WATCHDOG: Final = Schema("watchdog", counters=("watchdog_mega_miss", "watchdog_miss"))
WATCHDOG_MISS: Final = WATCHDOG.slot("watchdog_miss")
WATCHDOG_MEGA_MISS: Final = WATCHDOG.slot("watchdog_mega_miss")

OVERLOAD: Final = Schema(
    "overload",
    counters=("envoy.overload_actions.reset_high_memory_stream.count",),
    histograms=("overload.refresh_interval_delay",),
)
REFRESH_INTERVAL_DELAY: Final = OVERLOAD.slot("overload.refresh_interval_delay")

OVERLOAD_RESOURCE: Final = Schema(
    "overload_resource", counters=("failed_updates", "skipped_updates"), gauges=("pressure",)
)
"""``overload.<resource monitor>.*``; nothing is skipped here: no monitor takes longer than its call."""
RESOURCE_FAILED_UPDATES: Final = OVERLOAD_RESOURCE.slot("failed_updates")
RESOURCE_PRESSURE: Final = OVERLOAD_RESOURCE.slot("pressure")

OVERLOAD_ACTION: Final = Schema("overload_action", gauges=("active", "scale_percent"))
"""``overload.<action>.*``."""
ACTION_ACTIVE: Final = OVERLOAD_ACTION.slot("active")
ACTION_SCALE_PERCENT: Final = OVERLOAD_ACTION.slot("scale_percent")

SHRINK: Final = Schema("shrink_heap", counters=("shrink_count",))
"""``overload.envoy.overload_actions.shrink_heap.shrink_count``."""
SHRINK_COUNT: Final = SHRINK.slot("shrink_count")

PYTHON_CALLS: Final = Schema("python_calls", gauges=("python_calls",))
"""Only allotted under PROXENY_COUNT_CALLS."""

DISPATCHER: Final = Schema("dispatcher", histograms=("loop_duration_us", "poll_delay_us"))
"""``server.dispatcher.*`` and ``listener_manager.worker_N.dispatcher.*``, with ``enable_dispatcher_stats``."""
LOOP_DURATION: Final = DISPATCHER.slot("loop_duration_us")
POLL_DELAY: Final = DISPATCHER.slot("poll_delay_us")

PATCHES: Final = Schema("patches", counters=("patches_applied", "patches_unmatched"))
"""Of --patch: what changed something, and what matched nothing. Only allotted where it is given."""
PATCHES_APPLIED: Final = PATCHES.slot("patches_applied")
PATCHES_UNMATCHED: Final = PATCHES.slot("patches_unmatched")

MEMORY_AGE_S: Final = 1.0
"""The memory gauges may be this old: the kernel walks all pages for them, 1 ms per process and look."""
NO_CERTIFICATE: Final = (1 << 32) - 1


class ServerStats:
    """Main's ``server.`` block and what is refreshed before every look at the stats."""

    def __init__(self, store: MainStore, concurrency: int, version_override: int = 0) -> None:
        self._store = store
        self.block: Block = store.block(SERVER, "server.")
        self._started = time.monotonic()
        self._memory_read = -MEMORY_AGE_S
        for name in SERVER.gauges:
            self.block.set(SERVER.slot(name), 0)
        self._set("concurrency", concurrency)
        self._set("days_until_first_cert_expiring", NO_CERTIFICATE)
        self._set("version", version_override or version_number())

    def _set(self, name: str, value: int) -> None:
        self.block.set(SERVER.slot(name), value)

    @property
    def uptime_s(self) -> int:
        """Whole seconds since the start."""
        return int(time.monotonic() - self._started)

    @property
    def started(self) -> float:
        """``time.monotonic()`` of the start."""
        return self._started

    def show_certificates(self, days: int | None, staple_seconds: int | None) -> None:
        """When the first certificate expires, and the first OCSP response; None: there is none."""
        self._set("days_until_first_cert_expiring", NO_CERTIFICATE if days is None else days)
        self._set("seconds_until_first_ocsp_response_expiring", staple_seconds or 0)

    def refresh(self, pids: Iterable[int], state: int) -> None:
        """Set the gauges that are read off the system; ``state`` is a ``ServerInfo.State``."""
        self._set("uptime", self.uptime_s)
        self._set("state", state)
        self._set("total_connections", self._connections())
        now = time.monotonic()
        if now - self._memory_read >= MEMORY_AGE_S:
            self._memory_read = now
            anonymous, total = memory_used(pids)
            self._set("memory_allocated", anonymous)
            self._set("memory_heap_size", anonymous)
            self._set("memory_physical_size", total)

    def _connections(self) -> int:
        total = 0
        for entry in self._store.entries.values():
            if entry.schema.name == "listener":
                slot = entry.schema.slot("downstream_cx_active")
                total += sum(block.get(slot) for block in self._store.blocks_of(entry))
        return total


def version_number() -> int:
    """``server.version``: the release as a number (Envoy: first digits of its commit)."""
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    return major << 16 | minor << 8 | patch


def memory_used(pids: Iterable[int]) -> tuple[int, int]:
    """(anonymous, all) resident bytes of processes that share pages: each page counts once (PSS)."""
    anonymous = total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith(b"Pss:"):
                        total += int(line.split()[1]) * 1024
                    elif line.startswith(b"Pss_Anon:"):
                        anonymous += int(line.split()[1]) * 1024
        except OSError:
            continue
    return anonymous, total
