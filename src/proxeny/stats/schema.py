"""Schemas: the fixed lists of statistics that one kind of object has (a cluster, a listener, an HTTP manager)."""

from __future__ import annotations

from collections.abc import Iterable

from proxeny.kernel.stats import COUNTER, GAUGE, HISTOGRAM


class SchemaError(ValueError):
    """A schema that cannot be: duplicate names, or two schemas of one name with different lists."""


class Schema:
    """The statistics of one kind of object; slots are numbered counters first, then gauges, then histograms.

    `percent_histograms` record millionths of a percent point as Envoy does.
    A hidden schema never shows in /stats (per-host counters, which only /clusters reads).
    """

    __slots__ = (
        "_slots",
        "counters",
        "gauges",
        "gauges_from",
        "hidden",
        "histograms",
        "histograms_from",
        "name",
        "names",
        "percent_histograms",
        "size",
    )
    _known: dict[str, Schema] = {}

    def __init__(
        self,
        name: str,
        counters: Iterable[str] = (),
        gauges: Iterable[str] = (),
        histograms: Iterable[str] = (),
        *,
        percent_histograms: Iterable[str] = (),
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.counters = tuple(counters)
        self.gauges = tuple(gauges)
        self.histograms = tuple(histograms)
        self.names = self.counters + self.gauges + self.histograms
        self.size = len(self.names)
        self.gauges_from = len(self.counters)
        self.histograms_from = self.gauges_from + len(self.gauges)
        self.percent_histograms = frozenset(percent_histograms)
        self.hidden = hidden
        self._slots = {stat: slot for slot, stat in enumerate(self.names)}
        if len(self._slots) != self.size:
            raise SchemaError(f"schema {name}: duplicate statistic names")
        known = Schema._known.setdefault(name, self)
        if known.names != self.names:
            raise SchemaError(f"schema {name} is defined twice, differently")

    def slot(self, name: str) -> int:
        """The slot of a statistic; resolve it once, at import."""
        return self._slots[name]

    def kind(self, slot: int) -> int:
        """COUNTER, GAUGE or HISTOGRAM."""
        if slot < self.gauges_from:
            return COUNTER
        return GAUGE if slot < self.histograms_from else HISTOGRAM

    def __repr__(self) -> str:
        return f"Schema({self.name!r}, {self.size} slots)"
