"""What main remembers of one host that is watched for being an outlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.kernel.outlier import OutlierCounts

if TYPE_CHECKING:
    from proxeny.kernel.outlier import OutlierTable
    from proxeny.upstream.endpoints import HostEntry


class BackOff:
    """How long a host is out: ``base`` times the number of times in short order, at most ``longest``; milliseconds."""

    __slots__ = ("began_ms", "ended_ms", "jitter_ms", "multiplier")

    def __init__(self) -> None:
        self.began_ms: int | None = None
        self.ended_ms: int | None = None
        self.jitter_ms = 0
        self.multiplier = 0

    def begin(self, now_ms: int, base_ms: int, longest_ms: int, jitter_ms: int) -> None:
        """Out from now on."""
        self.began_ms = now_ms
        self.jitter_ms = jitter_ms
        if self.multiplier * base_ms < longest_ms + base_ms:
            self.multiplier += 1

    def is_over(self, now_ms: int, base_ms: int, longest_ms: int) -> bool:
        """Whether the time is up."""
        assert self.began_ms is not None
        return min(base_ms * self.multiplier, longest_ms) + self.jitter_ms <= now_ms - self.began_ms

    def end(self, now_ms: int) -> None:
        """Back from now on."""
        self.ended_ms = now_ms

    def relax(self, now_ms: int, interval_ms: int) -> None:
        """A host that has been back for an interval is out for less time the next time."""
        if self.ended_ms is not None and now_ms - self.ended_ms >= interval_ms and self.multiplier:
            self.multiplier -= 1


class HostRecord:
    """One host: its counts, whether it is ejected or degraded, and its history. A rate of -1 is not known."""

    __slots__ = (
        "address",
        "counts",
        "degradation",
        "degraded",
        "ejected",
        "ejection",
        "index",
        "local_origin_success_rate",
        "num_ejections",
        "success_rate",
    )

    def __init__(self, entry: HostEntry, table: OutlierTable, base: int) -> None:
        self.index = entry.stat_index
        self.address = entry.address_text
        self.counts = OutlierCounts(table, base)
        self.counts.clear()
        self.ejected = False
        self.degraded = False
        self.num_ejections = 0
        self.ejection = BackOff()
        self.degradation = BackOff()
        self.success_rate = -1.0
        self.local_origin_success_rate = -1.0

    def rate(self, local: bool) -> float:
        """The success rate in the last interval: of what is of local origin, or of the upstream's own results."""
        return self.local_origin_success_rate if local else self.success_rate

    def set_rate(self, local: bool, value: float) -> None:
        """Note it."""
        if local:
            self.local_origin_success_rate = value
        else:
            self.success_rate = value
