"""Who holds the statistics of a route configuration: a table may be replaced while requests still count in it."""

from __future__ import annotations

from collections.abc import Callable


class StatsHolder:
    """Everything that counts for one version of a route configuration refers to it, directly or not; tells its end."""

    __slots__ = ("_on_released", "serial")

    def __init__(self, serial: int, on_released: Callable[[int], object]) -> None:
        self.serial = serial
        self._on_released = on_released

    def __del__(self) -> None:
        self._on_released(self.serial)
