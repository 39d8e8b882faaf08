"""``envoy.resource_monitors.fixed_heap``: memory of all processes of this server, as a share of a fixed size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.network.resource_monitor import ResourceMonitor


class FixedHeapMonitor:
    """Private memory (shared pages count once) over ``max_heap_size_bytes``."""

    __slots__ = ("_max", "_used")

    def __init__(self, max_heap_size: int, used_memory: Callable[[], int]) -> None:
        self._max = max_heap_size
        self._used = used_memory

    def pressure(self) -> float:
        """The share that is used."""
        return self._used() / self._max


class FixedHeapFactory:
    """Compiles ``extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig``."""

    __slots__ = ()

    def create(self, config: Any, used_memory: Callable[[], int]) -> ResourceMonitor:
        """A monitor; ConfigError without a size."""
        if not config.max_heap_size_bytes:
            raise ConfigError("fixed_heap: max heap size must be greater than 0")
        return FixedHeapMonitor(config.max_heap_size_bytes, used_memory)


FACTORY = FixedHeapFactory()
