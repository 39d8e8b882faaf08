"""The contract of resource monitors (Envoy: ``Server::ResourceMonitor``): how full something is, asked by main."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class ResourceMonitorError(Exception):
    """The pressure cannot be told now; the text says why."""


class ResourceMonitor(Protocol):
    """One limited resource."""

    def pressure(self) -> float:
        """How much of it is used: 1 is all; ResourceMonitorError."""


class ResourceMonitorFactory(Protocol):
    """Compiles a monitor's configuration."""

    def create(self, config: Any, used_memory: Callable[[], int]) -> ResourceMonitor:
        """A monitor; ConfigError. ``used_memory``: bytes that all processes of this server use."""
