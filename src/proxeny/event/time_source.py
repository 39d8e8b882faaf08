"""Where time comes from (Envoy: ``Event::TimeSystem``): the machine's clocks, or a test."""

from __future__ import annotations

import time
from typing import Protocol


class TimeSource(Protocol):
    """The two clocks of a dispatcher."""

    simulated: bool

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""

    def system_time(self) -> float:
        """Seconds since the epoch."""


class RealTimeSource:
    """The machine's clocks."""

    __slots__ = ()

    simulated = False

    monotonic_ns = staticmethod(time.monotonic_ns)
    system_time = staticmethod(time.time)


class SimulatedTimeSource:
    """Clocks that stand still until a test advances them; a dispatcher fires what is due in its next turn."""

    __slots__ = ("_monotonic_ns", "_system_time")

    simulated = True

    def __init__(self, system_time: float = 1_700_000_000.0, monotonic_ms: int = 1_000_000) -> None:
        self._system_time = system_time
        self._monotonic_ns = monotonic_ms * 1_000_000

    def advance_ms(self, ms: int) -> None:
        """Let ``ms`` milliseconds pass on both clocks."""
        self._monotonic_ns += ms * 1_000_000
        self._system_time += ms / 1000

    def monotonic_ns(self) -> int:
        """The simulated monotonic clock."""
        return self._monotonic_ns

    def system_time(self) -> float:
        """The simulated wall clock, in seconds."""
        return self._system_time
