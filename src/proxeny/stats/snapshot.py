"""What the statistics are right now: names and sums of all processes, for admin pages and sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from proxeny.event.slices import Steps, finish
from proxeny.kernel.stats import COUNTER, GAUGE, HISTOGRAM, sum_bins, sum_slots
from proxeny.stats.config import StatsSettings
from proxeny.stats.histogram import EMPTY_HISTOGRAM, PERCENT_SCALE, Bins, HistogramStatistics, ParentHistogram
from proxeny.stats.store import BlockEntry, MainStore

_BATCH: Final = 512
"""Statistics, or blocks of them, that one step looks at, about."""
MOST_REMEMBERED: Final = 100_000
"""Blocks times filters whose choice is remembered; then all is forgotten."""


class NameFilter(Protocol):
    """Which statistics are asked for, by name; filters of one key accept the same names."""

    key: str

    def accepts(self, name: str) -> bool:
        """Whether this one is."""
        ...


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
        self._remembered = 0

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

    def counters(self, names: NameFilter | None = None) -> list[Value]:
        """All counters that the filter accepts, unsorted."""
        return self._values(COUNTER, names)

    def gauges(self, names: NameFilter | None = None) -> list[Value]:
        """All gauges that the filter accepts, unsorted."""
        return self._values(GAUGE, names)

    def counters_and_gauges(self, names: NameFilter | None = None) -> list[Value]:
        """Both, unsorted; cheaper than one after the other."""
        return self._values(None, names)

    def _values(self, wanted: int | None, names: NameFilter | None) -> list[Value]:
        return finish(self.value_steps(wanted, names))

    def value_steps(self, wanted: int | None, names: NameFilter | None, used_only: bool = False) -> Steps[list[Value]]:
        """Counters (COUNTER), gauges (GAUGE) or both (None), unsorted, in slices: blocks may come and go meanwhile."""
        store, found = self.store, list[Value]()
        for refresh in store.before_reading:
            refresh()
        batch: list[Value] = []
        for key, entry in list(store.entries.items()):
            if entry.schema.hidden or store.entries.get(key) is not entry:
                continue
            self._read_block(entry, wanted, names, batch)
            if len(batch) >= _BATCH:
                found += self._accepted(batch, wanted, used_only)
                batch = []
                yield
        found += self._accepted(batch, wanted, used_only)
        others = self._dynamic_values(wanted)
        if wanted != COUNTER:
            others += [
                Value(sanitized(name), value or 0, value is not None) for name, value in store.wide_gauges.items()
            ]
        if names is not None:
            others = [value for value in others if names.accepts(value.name)]
        found += self._accepted(others, COUNTER, used_only)
        return found

    def _accepted(self, values: list[Value], wanted: int | None, used_only: bool) -> list[Value]:
        wide, matcher = self.store.wide_gauges, self.settings.matcher
        if wanted != COUNTER and wide:
            # Where a block has a slot of the name too (cluster.<name>.version), the wide one is meant.
            values = [value for value in values if value.name not in wide]
        if used_only:
            values = [value for value in values if value.used]
        return values if matcher.accepts_all else [value for value in values if matcher.accepts(value.name)]

    def _dynamic_values(self, wanted: int | None) -> list[Value]:
        dynamic: dict[str, tuple[int, bool]] = {}
        for segment in self.store.segments():
            for name, kind, used, value, _ in segment.dynamic_entries():
                if kind != HISTOGRAM and wanted in (None, kind):
                    name = sanitized(name)
                    before = dynamic.get(name, (0, False))
                    dynamic[name] = (before[0] + value, before[1] or used)
        return [Value(name, value, used) for name, (value, used) in dynamic.items()]

    def _read_block(self, entry: BlockEntry, wanted: int | None, names: NameFilter | None, into: list[Value]) -> None:
        schema = entry.schema
        start = schema.gauges_from if wanted == GAUGE else 0
        end = schema.gauges_from if wanted == COUNTER else schema.histograms_from
        slots = range(start, end) if names is None else self._chosen(entry, names, start, end)
        if not slots:
            return
        values, used = sum_slots(self.store.blocks_of(entry), end)
        prefix = sanitized(entry.prefix)
        texts = schema.names
        into += [Value(prefix + texts[slot], values[slot], used[slot] != 0) for slot in slots]

    def _chosen(self, entry: BlockEntry, names: NameFilter, start: int, end: int) -> Sequence[int]:
        """The slots from ``start`` to ``end`` that the filter accepts: remembered, since the same few filters recur."""
        known = entry.chosen
        chosen = None if known is None else known.get(names.key)
        if chosen is None:
            prefix = sanitized(entry.prefix)
            chosen = tuple([slot for slot, text in enumerate(entry.schema.names) if names.accepts(prefix + text)])
            self._remember(entry, names.key, chosen)
        return [slot for slot in chosen if start <= slot < end] if chosen else chosen

    def _remember(self, entry: BlockEntry, key: str, chosen: tuple[int, ...]) -> None:
        if self._remembered >= MOST_REMEMBERED:
            self._remembered = 0
            for other in self.store.entries.values():
                other.chosen = None
        self._remembered += 1
        if entry.chosen is None:
            entry.chosen = {}
        entry.chosen[key] = chosen

    def histograms(self, names: NameFilter | None = None) -> list[HistogramValue]:
        """All histograms that the filter accepts, unsorted."""
        return finish(self.histogram_steps(names))

    def histogram_steps(self, names: NameFilter | None) -> Steps[list[HistogramValue]]:
        """Likewise, in slices: blocks may come and go meanwhile."""
        found: list[HistogramValue] = []
        buckets = self.settings.buckets
        entries = self.store.entries
        for number, (key, entry) in enumerate(list(entries.items())):
            schema = entry.schema
            if not number % _BATCH:
                yield
            if schema.hidden or entries.get(key) is not entry:
                continue
            start, end = schema.histograms_from, schema.size
            for slot in range(start, end) if names is None else self._chosen(entry, names, start, end):
                name = sanitized(entry.prefix) + schema.names[slot]
                histogram = self._histograms.get(entry.base + slot, EMPTY_HISTOGRAM)
                scale = PERCENT_SCALE if schema.names[slot] in schema.percent_histograms else 1.0
                found.append(HistogramValue(name, histogram, scale, buckets(name)))
        for name, histogram in self._dynamic_histograms.items():
            name = sanitized(name)
            if names is None or names.accepts(name):
                found.append(HistogramValue(name, histogram, 1.0, buckets(name)))
        matcher = self.settings.matcher
        return found if matcher.accepts_all else [value for value in found if matcher.accepts(value.name)]

    def text_readouts(self) -> list[tuple[str, str]]:
        """All text statistics, unsorted."""
        accepts = self.settings.matcher.accepts
        shown = [(sanitized(name), value) for name, value in self.store.text_readouts.items()]
        return [one for one in shown if accepts(one[0])]

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
