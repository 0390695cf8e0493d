"""Histograms: observations by bound, and their sum."""

from __future__ import annotations

import pytest

from konnectivity.metrics.histograms import Histogram


def test_a_value_counts_for_the_first_bound_that_is_not_below_it():
    made = Histogram((1, 2))
    for value in (0.0, 1.0, 1.5, 2.0, 9.0):
        made.observe(value)
    assert (made.cumulative(), made.count, made.total) == ([2, 4, 5], 5, 13.5)


def test_histograms_add_up():
    one, other = Histogram((1, 2)), Histogram((1, 2))
    one.observe(0.0, 5)
    other.observe(1.5)
    one.merge(other)
    assert (one.cumulative(), one.total) == ([5, 6, 6], 1.5)
    with pytest.raises(ValueError, match="zip"):
        one.merge(Histogram((1, 2, 3)))
