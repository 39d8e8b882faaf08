"""Where time comes from (Envoy: ``Event::TimeSystem``): the machine's clocks, or a test."""

from __future__ import annotations

from wsgiref.handlers import format_date_time

from proxeny.kernel.timer import SystemClock


class TimeSource(SystemClock):
    """The two clocks of a dispatcher; this one is the machine's own."""

    __slots__ = ("_date", "_date_second")

    simulated = False

    def __init__(self) -> None:
        self._date = b""
        self._date_second = -1

    def http_date(self) -> bytes:
        """The Date header's value (RFC 9110 section 5.6.7); made once per second."""
        second = int(self.system_time())
        if second != self._date_second:
            self._date_second = second
            self._date = format_date_time(second).encode()
        return self._date


class RealTimeSource(TimeSource):
    """The machine's clocks."""

    __slots__ = ()


class SimulatedTimeSource(TimeSource):
    """Clocks that stand still until a test advances them; a dispatcher fires what is due in its next turn."""

    __slots__ = ("_monotonic_ns", "_system_time")

    simulated = True

    def __init__(self, system_time: float = 1_700_000_000.0, monotonic_ms: int = 1_000_000) -> None:
        super().__init__()
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
