"""/stats as JSON (Envoy: StatsJsonRender); written by hand so that numbers look as Envoy's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from operator import add

from proxeny.admin.numbers import general, shortest
from proxeny.admin.pieces import joined
from proxeny.admin.stats_text import disjoint
from proxeny.stats.histogram import QUANTILES, HistogramStatistics
from proxeny.stats.snapshot import HistogramValue, Value

_PERCENTS = ",".join(general(100 * q) for q in QUANTILES)


def render(
    readouts: Iterable[tuple[str, str]], values: Iterable[Value], histograms: Sequence[HistogramValue], buckets: str
) -> Iterator[str]:
    """One object; all of it comes sorted."""
    return joined(_texts(readouts, values, histograms, buckets))


def _texts(
    readouts: Iterable[tuple[str, str]], values: Iterable[Value], histograms: Sequence[HistogramValue], buckets: str
) -> Iterator[str]:
    yield '{"stats":['
    separator = ""
    for name, text in readouts:
        yield f'{separator}{{"name":{_text(name)},"value":{_text(text)}}}'
        separator = ","
    for value in values:
        yield f'{separator}{{"name":{_text(value.name)},"value":{value.value}}}'
        separator = ","
    if histograms:
        opening, one, closing = _form(buckets)
        yield f'{separator}{{"histograms":{opening}'
        yield from map(add, chain(("",), repeat(",")), map(one, histograms))
        yield f"{closing}}}"
    yield "]}"


def _text(value: str) -> str:
    return json.dumps(value)


def _form(buckets: str) -> tuple[str, Callable[[HistogramValue], str], str]:
    """What stands before all histograms, how each is written, what stands behind."""
    if buckets in ("cumulative", "disjoint"):
        return "[", partial(_buckets, alone=buckets == "disjoint"), "]"
    if buckets == "detailed":
        return f'{{"supported_percentiles":[{_PERCENTS}],"details":[', _detailed, "]}"
    return f'{{"supported_quantiles":[{_PERCENTS}],"computed_quantiles":[', _computed, "]}"


def _computed(histogram: HistogramValue) -> str:
    return f'{{"name":{_text(histogram.name)},"values":[{_percentiles(histogram)}]}}'


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
