"""The ``filesystem.`` statistics of access log files (Envoy: ALL_ACCESS_LOG_FILE_STATS)."""

from __future__ import annotations

from proxeny.stats.schema import Schema

FILESYSTEM = Schema(
    "filesystem",
    counters=("flushed_by_timer", "reopen_failed", "write_buffered", "write_completed", "write_failed"),
    gauges=("write_total_buffered",),
)
PREFIX = "filesystem."

FLUSHED_BY_TIMER = FILESYSTEM.slot("flushed_by_timer")
REOPEN_FAILED = FILESYSTEM.slot("reopen_failed")
WRITE_BUFFERED = FILESYSTEM.slot("write_buffered")
WRITE_COMPLETED = FILESYSTEM.slot("write_completed")
WRITE_FAILED = FILESYSTEM.slot("write_failed")
WRITE_TOTAL_BUFFERED = FILESYSTEM.slot("write_total_buffered")
