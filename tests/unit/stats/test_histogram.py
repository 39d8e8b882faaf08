"""Histogram statistics against what Envoy 1.40 printed for the same samples."""

from math import isnan

import pytest

from proxeny.stats.histogram import HistogramStatistics, ParentHistogram


def test_two_samples_in_one_bin():
    two = HistogramStatistics({230: 2})
    assert two.quantiles() == [303.3333333333333] * 3 + [306.6666666666667] * 7
    assert two.sum() == pytest.approx(609.8360655737705)
    assert two.detailed() == [(300.0, 10.0, 2)]
    assert two.counts_below([250, 300, 500]) == [0, 2, 2]


def test_a_small_value_lies_in_a_bin_of_a_tenth():
    ones = HistogramStatistics({10: 2})
    assert ones.quantile(0) == 1.0333333333333334
    assert ones.counts_below([0.5, 1]) == [0, 2]
    assert ones.sum() == pytest.approx(2.095238095238095)


def test_zeros_have_no_width():
    zeros = HistogramStatistics({0: 3})
    assert set(zeros.quantiles()) == {0.0}
    assert (zeros.sum(), zeros.count, zeros.detailed()) == (0, 3, [(0.0, 0.0, 3)])


def test_quantiles_walk_the_bins():
    mixed = HistogramStatistics({0: 1, 110: 1, 250: 2})
    assert [mixed.quantile(q) for q in (0.25, 0.5)] == [0.0, 10.5]
    assert mixed.quantile(1) == pytest.approx(506.6666667)


def test_nothing_is_nan():
    empty = HistogramStatistics({})
    assert isnan(empty.quantile(0.5)) and empty.counts_below([1, 2]) == [0, 0] and empty.count == 0


def test_percentages_are_scaled():
    half = HistogramStatistics({750: 1}, scale=1_000_000.0)
    assert half.quantile(0.5) == 50.5


def test_an_interval_is_what_came_since_the_last_merge():
    parent = ParentHistogram()
    parent.merge({10: 1})
    parent.merge({10: 3, 20: 1})
    assert parent.interval == {10: 2, 20: 1}
    parent.merge({10: 3, 20: 1})
    assert (parent.interval, parent.count) == ({}, 4)
