"""/stats as text (Envoy: StatsTextRender)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from proxeny.admin.numbers import general, plain
from proxeny.admin.pieces import joined
from proxeny.stats.histogram import QUANTILES, HistogramStatistics
from proxeny.stats.snapshot import HistogramValue, Value


def render(
    readouts: Iterable[tuple[str, str]], values: Iterable[Value], histograms: Iterable[HistogramValue], buckets: str
) -> Iterator[str]:
    """Lines ``name: value``; all of it comes sorted."""
    lines = chain(
        (f'{name}: "{text}"\n' for name, text in readouts),
        (f"{value.name}: {value.value}\n" for value in values),
        (_histogram(histogram, buckets) for histogram in histograms),
    )
    return joined(lines)


def _histogram(histogram: HistogramValue, buckets: str) -> str:
    if not histogram.used:
        return f"{histogram.name}: No recorded values\n"
    if buckets == "detailed":
        return _detailed(histogram)
    if buckets in ("cumulative", "disjoint"):
        return f"{histogram.name}: {_buckets(histogram, buckets == 'disjoint')}\n"
    return f"{histogram.name}: {_summary(histogram)}\n"


def _summary(histogram: HistogramValue) -> str:
    interval, cumulative = histogram.interval().quantiles(), histogram.cumulative().quantiles()
    return " ".join(
        f"P{general(100 * q)}({plain(one)},{plain(total)})"
        for q, one, total in zip(QUANTILES, interval, cumulative, strict=True)
    )


def disjoint(counts: list[int]) -> list[int]:
    """Counts of each bucket alone."""
    return [count - before for count, before in zip(counts, [0, *counts], strict=False)]


def _buckets(histogram: HistogramValue, alone: bool) -> str:
    bounds = histogram.buckets
    interval = histogram.interval().counts_below(bounds)
    cumulative = histogram.cumulative().counts_below(bounds)
    if alone:
        interval, cumulative = disjoint(interval), disjoint(cumulative)
    return " ".join(
        f"B{general(bound)}({one},{total})" for bound, one, total in zip(bounds, interval, cumulative, strict=True)
    )


def _detailed(histogram: HistogramValue) -> str:
    totals, intervals = _bins(histogram.cumulative()), _bins(histogram.interval())
    return f"{histogram.name}:\n  totals={totals}\n  intervals={intervals}\n  summary={_summary(histogram)}\n"


def _bins(statistics: HistogramStatistics) -> str:
    return ", ".join(f"{general(low)},{general(width)}:{count}" for low, width, count in statistics.detailed())
