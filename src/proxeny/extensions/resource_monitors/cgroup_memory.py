"""``envoy.resource_monitors.cgroup_memory``: memory of this server's control group (version 2, else 1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proxeny.network.resource_monitor import ResourceMonitor, ResourceMonitorError

VERSIONS: Final = (
    (Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory.max")),
    (Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
)
"""(usage, limit) by version, the preferred one first."""


class CgroupMemoryMonitor:
    """Usage over the group's limit, or over ``max_memory_bytes`` where that is smaller."""

    __slots__ = ("_max",)

    def __init__(self, max_memory: int) -> None:
        self._max = max_memory

    def pressure(self) -> float:
        """The share that is used; 0 where nothing limits it."""
        for usage_file, limit_file in VERSIONS:
            if usage_file.exists() and limit_file.exists():
                break
        else:
            raise ResourceMonitorError("No supported cgroup memory implementation found")
        usage, limit = _read(usage_file), _read(limit_file)
        limits = [one for one in (limit, self._max or None) if one is not None]
        return (usage or 0) / min(limits) if limits and min(limits) > 0 else 0.0


def _read(path: Path) -> int | None:
    """The number in a file of the group; None for ``max``."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ResourceMonitorError(f"Unable to read memory stats file at {path}: {error.strerror}") from None
    if text == "max":
        return None
    if not text.isascii() or not text.isdigit():
        raise ResourceMonitorError(f"Unable to parse memory stats from file {path}")
    return int(text)


class CgroupMemoryFactory:
    """Compiles ``extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig``."""

    __slots__ = ()

    def create(self, config: Any, used_memory: Callable[[], int]) -> ResourceMonitor:
        """A monitor."""
        return CgroupMemoryMonitor(config.max_memory_bytes)


FACTORY = CgroupMemoryFactory()
