"""/stats as JSON (Envoy: StatsJsonRender); written by hand so that numbers look as Envoy's."""

from __future__ import annotations

import json
from collections.abc import Sequence

from proxeny.admin.numbers import general, shortest
from proxeny.admin.stats_text import disjoint
from proxeny.stats.histogram import QUANTILES, HistogramStatistics
from proxeny.stats.snapshot import HistogramValue, Value

_PERCENTS = ",".join(general(100 * q) for q in QUANTILES)


def render(
    readouts: Sequence[tuple[str, str]], values: Sequence[Value], histograms: Sequence[HistogramValue], buckets: str
) -> str:
    """One object; all sequences come sorted."""
    parts = [f'{{"name":{_text(name)},"value":{_text(text)}}}' for name, text in readouts]
    parts += [f'{{"name":{_text(value.name)},"value":{value.value}}}' for value in values]
    if histograms:
        parts.append(f'{{"histograms":{_histograms(histograms, buckets)}}}')
    return f'{{"stats":[{",".join(parts)}]}}'


def _text(value: str) -> str:
    return json.dumps(value)


def _histograms(histograms: Sequence[HistogramValue], buckets: str) -> str:
    if buckets in ("cumulative", "disjoint"):
        return f"[{','.join(_buckets(histogram, buckets == 'disjoint') for histogram in histograms)}]"
    if buckets == "detailed":
        details = ",".join(_detailed(histogram) for histogram in histograms)
        return f'{{"supported_percentiles":[{_PERCENTS}],"details":[{details}]}}'
    computed = ",".join(
        f'{{"name":{_text(histogram.name)},"values":[{_percentiles(histogram)}]}}' for histogram in histograms
    )
    return f'{{"supported_quantiles":[{_PERCENTS}],"computed_quantiles":[{computed}]}}'


def _percentiles(histogram: HistogramValue) -> str:
    pairs = zip(histogram.cumulative().quantiles(), histogram.interval().quantiles(), strict=True)
    return ",".join(f'{{"cumulative":{shortest(total)},"interval":{shortest(one)}}}' for total, one in pairs)


def _buckets(histogram: HistogramValue, alone: bool) -> str:
    bounds = histogram.buckets
    interval = histogram.interval().counts_below(bounds)
    cumulative = histogram.cumulative().counts_below(bounds)
    if alone:
        interval, cumulative = disjoint(interval), disjoint(cumulative)
    made = ",".join(
        f'{{"upper_bound":{shortest(float(bound))},"interval":{one},"cumulative":{total}}}'
        for bound, one, total in zip(bounds, interval, cumulative, strict=True)
    )
    return f'{{"name":{_text(histogram.name)},"buckets":[{made}]}}'


def _detailed(histogram: HistogramValue) -> str:
    totals, intervals = _bins(histogram.cumulative()), _bins(histogram.interval())
    head = f'"name":{_text(histogram.name)},"totals":[{totals}],"intervals":[{intervals}]'
    return f'{{{head},"percentiles":[{_percentiles(histogram)}]}}'


def _bins(statistics: HistogramStatistics) -> str:
    return ",".join(
        f'{{"lower_bound":{shortest(low)},"width":{shortest(width)},"count":{count}}}'
        for low, width, count in statistics.detailed()
    )
