"""``envoy.resource_monitors.injected_resource``: the pressure is what a file says; for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.network.resource_monitor import ResourceMonitor, ResourceMonitorError


class InjectedResourceMonitor:
    """Reads its file at every refresh."""

    __slots__ = ("_filename",)

    def __init__(self, filename: str) -> None:
        self._filename = filename

    def pressure(self) -> float:
        """The number in the file, from 0 to 1."""
        try:
            with open(self._filename, encoding="ascii", errors="replace") as file:
                text = file.read(64).strip(" \t\n")
        except OSError as error:
            raise ResourceMonitorError(f"unable to read file: {self._filename}: {error.strerror}") from None
        if not text or text.strip("0123456789+-.eE"):
            raise ResourceMonitorError("failed to parse injected resource pressure")
        try:
            pressure = float(text)
        except ValueError:
            raise ResourceMonitorError("failed to parse injected resource pressure") from None
        if not 0 <= pressure <= 1:
            raise ResourceMonitorError("pressure out of range")
        return pressure


class InjectedResourceFactory:
    """Compiles ``extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig``."""

    __slots__ = ()

    def create(self, config: Any, used_memory: Callable[[], int]) -> ResourceMonitor:
        """A monitor; the file need not be there yet."""
        return InjectedResourceMonitor(config.filename)


FACTORY = InjectedResourceFactory()
