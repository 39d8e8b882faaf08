"""Statistics of log-linear histograms, as circllhist computes them for Envoy.

Bins come from the kernel as {decade * 100 + mantissa: count}: the bin's values are mantissa / 10 * 10**decade up to the
next mantissa; key 0 is the bin of zeros, which has no width.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, nan

Bins = dict[int, int]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.90, 0.95, 0.99, 0.995, 0.999, 1.0)
"""HistogramStatisticsImpl::supportedQuantiles."""
DEFAULT_BUCKETS = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
)  # fmt: skip
"""HistogramSettingsImpl::defaultBuckets."""
PERCENT_SCALE = 1_000_000.0
"""Percentages are recorded in millionths."""


def lower_bound(key: int) -> float:
    """The least value of a bin."""
    decade, mantissa = divmod(key, 100)
    return mantissa / 10.0 * 10.0**decade


def bin_width(key: int) -> float:
    """The width of a bin."""
    return 10.0 ** (key // 100) / 10.0 if key else 0.0


class HistogramStatistics:
    """Quantiles, counts below bounds, count and sum of one histogram; `scale` divides all values (percentages)."""

    __slots__ = ("_keys", "_totals", "bins", "count", "scale")

    def __init__(self, bins: Bins, scale: float = 1.0) -> None:
        self.bins = bins
        self.scale = scale
        self._keys = sorted(bins)
        self._totals = list(accumulate(bins[key] for key in self._keys))
        self.count = self._totals[-1] if self._totals else 0

    def quantile(self, q: float) -> float:
        """The least sample with a share of at least q at or below it; nan when empty.

        Within a bin, samples are taken as evenly spread: the k-th of n lies k / (n + 1) into it.
        """
        if not self.count:
            return nan
        rank = max(1, ceil(self.count * q))
        index = next(i for i, total in enumerate(self._totals) if total >= rank)
        key = self._keys[index]
        before = self._totals[index - 1] if index else 0
        return (lower_bound(key) + bin_width(key) * (rank - before) / (self.bins[key] + 1)) / self.scale

    def quantiles(self) -> list[float]:
        """The quantiles that Envoy shows."""
        return [self.quantile(q) for q in QUANTILES]

    def counts_below(self, bounds: Sequence[float]) -> list[int]:
        """For each upper bound, how many samples lie in bins that begin at or below it."""
        if not self.count:
            return [0] * len(bounds)
        lows = [lower_bound(key) / self.scale for key in self._keys]
        positions = [bisect_right(lows, bound) for bound in bounds]
        return [self._totals[position - 1] if position else 0 for position in positions]

    def sum(self) -> float:
        """The sum of all samples, each taken as the harmonic mean of its bin's ends."""
        total = 0.0
        for key in self._keys:
            if key:
                low = lower_bound(key)
                high = low + bin_width(key)
                total += 2.0 * low * high / (low + high) * self.bins[key]
        return total / self.scale

    def detailed(self) -> list[tuple[float, float, int]]:
        """(lower bound, width, count) of each bin."""
        return [(lower_bound(key) / self.scale, bin_width(key) / self.scale, self.bins[key]) for key in self._keys]


def difference(new: Bins, old: Bins) -> Bins:
    """The samples that came since."""
    return {key: count - old.get(key, 0) for key, count in new.items() if count > old.get(key, 0)}


class ParentHistogram:
    """A histogram merged over all processes at the last flush: everything so far, and the last interval."""

    __slots__ = ("count", "cumulative", "interval")

    def __init__(self) -> None:
        self.count = 0
        self.cumulative: Bins = {}
        self.interval: Bins = {}

    def merge(self, bins: Bins) -> None:
        """Takes the present state at a flush."""
        self.interval = difference(bins, self.cumulative)
        self.cumulative = bins
        self.count = sum(bins.values())


EMPTY_HISTOGRAM = ParentHistogram()
"""Stands for histograms without samples; never merged into."""
