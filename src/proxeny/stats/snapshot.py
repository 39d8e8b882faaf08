"""What the statistics are right now: names and sums of all processes, for admin pages and sinks."""

from __future__ import annotations

from typing import NamedTuple

from proxeny.kernel.stats import COUNTER, GAUGE, HISTOGRAM, sum_bins, sum_slots
from proxeny.stats.config import StatsSettings
from proxeny.stats.histogram import EMPTY_HISTOGRAM, PERCENT_SCALE, Bins, HistogramStatistics, ParentHistogram
from proxeny.stats.store import BlockEntry, MainStore


class Value(NamedTuple):
    """A counter or gauge."""

    name: str
    value: int
    used: bool


class HistogramValue(NamedTuple):
    """A histogram as of the last flush."""

    name: str
    histogram: ParentHistogram
    scale: float
    buckets: tuple[float, ...]

    @property
    def used(self) -> bool:
        """Whether it has samples (merged at a flush)."""
        return bool(self.histogram.cumulative)

    def cumulative(self) -> HistogramStatistics:
        """All samples so far."""
        return HistogramStatistics(self.histogram.cumulative, self.scale)

    def interval(self) -> HistogramStatistics:
        """The samples between the last two flushes."""
        return HistogramStatistics(self.histogram.interval, self.scale)


class StatsView:
    """Reads a MainStore under the settings of a bootstrap; owns the merged histograms."""

    def __init__(self, store: MainStore, settings: StatsSettings | None = None) -> None:
        self.store = store
        self.settings = settings or StatsSettings()
        self._histograms: dict[int, ParentHistogram] = {}
        self._dynamic_histograms: dict[str, ParentHistogram] = {}

    def flush(self) -> None:
        """Merges the histograms of all processes; call it every `settings.flush_interval_ms`."""
        self._flush_blocks()
        self._flush_dynamic()

    def _flush_blocks(self) -> None:
        counts: dict[int, int] = {}
        for segment in self.store.segments():
            for number, count in segment.block_histograms().items():
                counts[number] = counts.get(number, 0) + count
        for number in [number for number in self._histograms if number not in counts]:
            del self._histograms[number]
        for number, count in counts.items():
            histogram = self._histograms.get(number)
            if histogram is None:
                histogram = self._histograms[number] = ParentHistogram()
            elif histogram.count == count:
                if histogram.interval:
                    histogram.interval = {}
                continue
            histogram.merge(sum_bins([segment.block(number, 1) for segment in self.store.segments()], 0))

    def _flush_dynamic(self) -> None:
        merged: dict[str, Bins] = {}
        for segment in self.store.segments():
            for name, kind, _, _, at in segment.dynamic_entries():
                if kind == HISTOGRAM:
                    into = merged.setdefault(name, {})
                    for key, count in segment.dynamic_bins(at).items():
                        into[key] = into.get(key, 0) + count
        for name in [name for name in self._dynamic_histograms if name not in merged]:
            del self._dynamic_histograms[name]
        for name, bins in merged.items():
            self._dynamic_histograms.setdefault(name, ParentHistogram()).merge(bins)

    def counters(self) -> list[Value]:
        """All counters, unsorted."""
        return self._values(COUNTER)

    def gauges(self) -> list[Value]:
        """All gauges, unsorted."""
        return self._values(GAUGE)

    def counters_and_gauges(self) -> list[Value]:
        """Both, unsorted; cheaper than one after the other."""
        return self._values(None)

    def _values(self, wanted: int | None) -> list[Value]:
        found: list[Value] = []
        for refresh in self.store.before_reading:
            refresh()
        for entry in self.store.entries.values():
            if not entry.schema.hidden:
                self._read_block(entry, wanted, found)
        dynamic: dict[str, tuple[int, bool]] = {}
        for segment in self.store.segments():
            for name, kind, used, value, _ in segment.dynamic_entries():
                if kind != HISTOGRAM and wanted in (None, kind):
                    name = sanitized(name)
                    before = dynamic.get(name, (0, False))
                    dynamic[name] = (before[0] + value, before[1] or used)
        found += [Value(name, value, used) for name, (value, used) in dynamic.items()]
        if wanted != COUNTER and self.store.wide_gauges:
            # Where a block has a slot of the name too (cluster.<name>.version), the wide one is meant.
            found = [value for value in found if value.name not in self.store.wide_gauges]
            found += [
                Value(sanitized(name), value or 0, value is not None) for name, value in self.store.wide_gauges.items()
            ]
        matcher = self.settings.matcher
        return found if matcher.accepts_all else [value for value in found if matcher.accepts(value.name)]

    def _read_block(self, entry: BlockEntry, wanted: int | None, into: list[Value]) -> None:
        schema = entry.schema
        start = schema.gauges_from if wanted == GAUGE else 0
        end = schema.gauges_from if wanted == COUNTER else schema.histograms_from
        if start == end:
            return
        values, used = sum_slots(self.store.blocks_of(entry), end)
        prefix = sanitized(entry.prefix)
        names = schema.names
        into += [Value(prefix + names[slot], values[slot], used[slot] != 0) for slot in range(start, end)]

    def histograms(self) -> list[HistogramValue]:
        """All histograms, unsorted."""
        found = []
        buckets = self.settings.buckets
        for entry in self.store.entries.values():
            schema = entry.schema
            if schema.hidden:
                continue
            for slot in range(schema.histograms_from, schema.size):
                name = sanitized(entry.prefix) + schema.names[slot]
                histogram = self._histograms.get(entry.base + slot, EMPTY_HISTOGRAM)
                scale = PERCENT_SCALE if schema.names[slot] in schema.percent_histograms else 1.0
                found.append(HistogramValue(name, histogram, scale, buckets(name)))
        for name, histogram in self._dynamic_histograms.items():
            name = sanitized(name)
            found.append(HistogramValue(name, histogram, 1.0, buckets(name)))
        matcher = self.settings.matcher
        return found if matcher.accepts_all else [value for value in found if matcher.accepts(value.name)]

    def text_readouts(self) -> list[tuple[str, str]]:
        """All text statistics, unsorted."""
        accepts = self.settings.matcher.accepts
        return [(name, value) for name, value in self.store.text_readouts.items() if accepts(name)]

    def value(self, name: str) -> int | None:
        """One counter or gauge by its full name; None when there is none. For tests and rare look-ups."""
        for found in self.counters_and_gauges():
            if found.name == name:
                return found.value
        return None


def sanitized(name: str) -> str:
    """A name as it is shown (Envoy: ``sanitizeStatsName``): without colons, for clusters are named as people like."""
    if ":" not in name:
        return name
    return name.replace("://", "_").replace(":/", "_").replace(":", "_")
