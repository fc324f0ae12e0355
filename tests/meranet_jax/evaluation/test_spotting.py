"""Metrics of spotting on intervals whose matches can be counted by hand."""

import itertools

import numpy as np
import pytest

from meranet_jax.evaluation import spotting


def test_ends_are_included():
    assert spotting.intersection_over_union((1, 10), (1, 10)) == 1
    assert spotting.intersection_over_union((1, 10), (6, 15)) == pytest.approx(5 / 15)
    assert spotting.intersection_over_union((1, 10), (11, 20)) == 0
    assert spotting.intersection_over_union((5, 5), (5, 5)) == 1


def test_half_of_the_union_is_enough():
    assert spotting.match([(1, 10)], [(6, 10)]) == [(0, 0)]
    assert spotting.match([(1, 10)], [(7, 10)]) == []


def test_each_interval_matches_one_other_at_most():
    # Two found intervals lie in one annotated one.
    assert len(spotting.match([(1, 10)], [(1, 6), (5, 10)])) == 1
    assert len(spotting.match([(1, 6), (5, 10)], [(1, 10)])) == 1


def test_as_many_pairs_as_possible():
    # The best pair alone, (0, 0), would leave the others without one.
    true, found = [(0, 99), (0, 63)], [(0, 95), (36, 99)]
    assert spotting.match(true, found) == [(0, 1), (1, 0)]


def test_number_of_pairs_is_that_of_an_exhaustive_search():
    rng = np.random.default_rng(0)
    for _ in range(200):
        true, found = (
            [(int(a), int(a + n)) for a, n in rng.integers(0, 12, (size, 2))]
            for size in rng.integers(1, 5, 2)
        )
        pairs = {
            (i, j)
            for i, one in enumerate(true)
            for j, other in enumerate(found)
            if spotting.intersection_over_union(one, other) >= 0.5
        }
        short, long = sorted((len(true), len(found)))
        most = max(
            sum(
                ((i, j) if len(true) <= len(found) else (j, i)) in pairs
                for i, j in enumerate(order)
            )
            for order in itertools.permutations(range(long), short)
        )
        assert len(spotting.match(true, found)) == most


def test_counts_are_pooled_over_recordings():
    one = spotting.count([(1, 10), (50, 60)], [(1, 10)], minutes=1)
    other = spotting.count([], [(5, 9), (90, 99)], minutes=0.5)
    total = one + other
    assert total == spotting.SpottingCounts(2, 3, 1, 1.5)
    assert total.f1 == pytest.approx(2 * 1 / (2 + 3))
    assert (total.precision, total.recall) == pytest.approx((1 / 3, 1 / 2))
    assert total.false_alarms_per_minute == pytest.approx(2 / 1.5)


def test_nothing_to_find_and_nothing_found():
    nothing = spotting.count([], [], minutes=10)
    assert (nothing.f1, nothing.precision, nothing.recall) == (0, 0, 0)
    assert nothing.false_alarms_per_minute == 0
