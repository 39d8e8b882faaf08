"""/stats/prometheus (Envoy: PrometheusStatsFormatter): metrics grouped by their tag-extracted name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import TypeVar

from proxeny.admin.numbers import precise
from proxeny.admin.pieces import joined, pauses, sorted_steps
from proxeny.admin.stats_params import StatsParams
from proxeny.kernel.stats import COUNTER, GAUGE
from proxeny.stats.histogram import QUANTILES, HistogramStatistics
from proxeny.stats.snapshot import HistogramValue, StatsView, Value
from proxeny.stats.tags import TagProducer

_NOT_NAME = re.compile(r"[^a-zA-Z0-9_]")
Metric = TypeVar("Metric", Value, HistogramValue)


def sanitize(name: str) -> str:
    """A legal name: everything odd becomes an underscore, none begins with a digit."""
    clean = _NOT_NAME.sub("_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


def escape(value: str) -> str:
    """A label's value: it may hold what a client sent (user agents, SNI)."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def render(view: StatsView, params: StatsParams) -> Iterator[str]:
    """The whole page: counters, gauges, text readouts (when asked for), histograms."""
    tags = view.settings.tags
    for kind, wanted in (("counter", COUNTER), ("gauge", GAUGE)):
        values = yield from pauses(view.value_steps(wanted, params.names, params.used_only))
        yield from _grouped(values, tags, kind, _simple)
    if params.text_readouts:
        yield from _text_readouts(view, params, tags)
    summary = params.buckets == "summary"
    histograms = yield from pauses(view.histogram_steps(params.names))
    chosen = [one for one in histograms if one.used or not params.used_only]
    kind, draw = ("summary", _summary) if summary else ("histogram", _histogram)
    yield from _grouped(chosen, tags, kind, draw)


@lru_cache(4096)
def _labels(tags: tuple[tuple[str, str], ...]) -> str:
    return ",".join([f'{sanitize(name)}="{escape(value)}"' for name, value in tags])


@lru_cache(64)
def _bounds(buckets: tuple[float, ...]) -> tuple[str, ...]:
    return tuple([f'le="{precise(bound)}"}} ' for bound in buckets])


def _grouped(
    metrics: list[Metric], tags: TagProducer, kind: str, draw: Callable[[str, str, Metric], str]
) -> Iterator[str]:
    groups: dict[str, list[tuple[Metric, str]]] = {}
    ordered = yield from pauses(sorted_steps(metrics, key=attrgetter("name")))
    for number, metric in enumerate(ordered):
        if not number % 256:
            yield ""
        extracted, labels = tags.produce(metric.name)
        groups.setdefault(extracted, []).append((metric, _labels(labels)))
    for extracted in sorted(groups):
        name = f"envoy_{sanitize(extracted)}"
        yield f"# TYPE {name} {kind}\n"
        yield from joined(draw(name, labels, metric) for metric, labels in groups.pop(extracted))


def _simple(name: str, labels: str, metric: Value) -> str:
    return f"{name}{{{labels}}} {metric.value}\n"


def _text_readouts(view: StatsView, params: StatsParams, tags: TagProducer) -> Iterator[str]:
    for name, text in sorted(view.text_readouts()):
        if params.accepts(name, True):
            extracted, labels = tags.produce(name)
            metric = f"envoy_{sanitize(extracted)}"
            yield f"# TYPE {metric} gauge\n{metric}{{{_labels((*labels, ('text_value', text)))}}} 0\n"


def _with(labels: str, name: str, value: str) -> str:
    return f'{labels},{name}="{value}"' if labels else f'{name}="{value}"'


def _histogram(name: str, labels: str, metric: HistogramValue) -> str:
    statistics = metric.cumulative()
    start = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    counts = statistics.counts_below(metric.buckets)
    lines = [f"{start}{bound}{count}\n" for bound, count in zip(_bounds(metric.buckets), counts, strict=True)]
    lines.append(f'{start}le="+Inf"}} {statistics.count}\n')
    lines.append(_totals(name, labels, statistics))
    return "".join(lines)


def _summary(name: str, labels: str, metric: HistogramValue) -> str:
    quantiles = zip(QUANTILES, metric.interval().quantiles(), strict=True)
    lines = [f"{name}{{{_with(labels, 'quantile', f'{q:g}')}}} {precise(value)}\n" for q, value in quantiles]
    return "".join([*lines, _totals(name, labels, metric.cumulative())])


def _totals(name: str, labels: str, statistics: HistogramStatistics) -> str:
    return f"{name}_sum{{{labels}}} {precise(statistics.sum())}\n{name}_count{{{labels}}} {statistics.count}\n"
