"""/stats/prometheus (Envoy: PrometheusStatsFormatter): metrics grouped by their tag-extracted name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from proxeny.admin.numbers import precise
from proxeny.admin.stats_params import StatsParams
from proxeny.stats.histogram import QUANTILES
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


def render(view: StatsView, params: StatsParams) -> str:
    """The whole page: counters, gauges, text readouts (when asked for), histograms."""
    tags = view.settings.tags
    lines: list[str] = []
    _grouped(_chosen(view.counters(params.names), params), tags, "counter", _simple, lines)
    _grouped(_chosen(view.gauges(params.names), params), tags, "gauge", _simple, lines)
    if params.text_readouts:
        _text_readouts(view, params, tags, lines)
    summary = params.buckets == "summary"
    render_histogram = _summary if summary else _histogram
    histograms = _chosen(view.histograms(params.names), params)
    _grouped(histograms, tags, "summary" if summary else "histogram", render_histogram, lines)
    return "".join(lines)


def _chosen(metrics: Iterable[Metric], params: StatsParams) -> list[Metric]:
    return [metric for metric in metrics if metric.used or not params.used_only]


@lru_cache(4096)
def _labels(tags: tuple[tuple[str, str], ...]) -> str:
    return ",".join([f'{sanitize(name)}="{escape(value)}"' for name, value in tags])


@lru_cache(64)
def _bounds(buckets: tuple[float, ...]) -> tuple[str, ...]:
    return tuple([f'le="{precise(bound)}"}} ' for bound in buckets])


def _grouped(
    metrics: list[Metric],
    tags: TagProducer,
    kind: str,
    draw: Callable[[str, str, Metric, list[str]], None],
    lines: list[str],
) -> None:
    groups: dict[str, list[tuple[Metric, str]]] = {}
    for metric in sorted(metrics, key=lambda one: one.name):
        extracted, labels = tags.produce(metric.name)
        groups.setdefault(extracted, []).append((metric, _labels(labels)))
    for extracted in sorted(groups):
        name = f"envoy_{sanitize(extracted)}"
        lines.append(f"# TYPE {name} {kind}\n")
        for metric, label_text in groups[extracted]:
            draw(name, label_text, metric, lines)


def _simple(name: str, labels: str, metric: Value, lines: list[str]) -> None:
    lines.append(f"{name}{{{labels}}} {metric.value}\n")


def _text_readouts(view: StatsView, params: StatsParams, tags: TagProducer, lines: list[str]) -> None:
    for name, text in sorted(view.text_readouts()):
        if params.accepts(name, True):
            extracted, labels = tags.produce(name)
            metric = f"envoy_{sanitize(extracted)}"
            lines.append(f"# TYPE {metric} gauge\n{metric}{{{_labels((*labels, ('text_value', text)))}}} 0\n")


def _with(labels: str, name: str, value: str) -> str:
    return f'{labels},{name}="{value}"' if labels else f'{name}="{value}"'


def _histogram(name: str, labels: str, metric: HistogramValue, lines: list[str]) -> None:
    statistics = metric.cumulative()
    start = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    counts = statistics.counts_below(metric.buckets)
    lines += [f"{start}{bound}{count}\n" for bound, count in zip(_bounds(metric.buckets), counts, strict=True)]
    lines.append(f'{start}le="+Inf"}} {statistics.count}\n')
    lines.append(f"{name}_sum{{{labels}}} {precise(statistics.sum())}\n{name}_count{{{labels}}} {statistics.count}\n")


def _summary(name: str, labels: str, metric: HistogramValue, lines: list[str]) -> None:
    for q, value in zip(QUANTILES, metric.interval().quantiles(), strict=True):
        lines.append(f"{name}{{{_with(labels, 'quantile', f'{q:g}')}}} {precise(value)}\n")
    statistics = metric.cumulative()
    lines.append(f"{name}_sum{{{labels}}} {precise(statistics.sum())}\n{name}_count{{{labels}}} {statistics.count}\n")
