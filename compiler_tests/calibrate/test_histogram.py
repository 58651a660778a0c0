"""Histograms count every number once, in bins that do not depend on how the numbers came."""

from __future__ import annotations

from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from resnet_dsl.calibrate.histogram import (
    BINS,
    LEAST_EXPONENT,
    Histogram,
    NotFiniteError,
    exponent_of,
)

numbers = st.floats(-1e6, 1e6, width=32)
values = arrays(np.float32, st.integers(1, 40), elements=numbers)
batches = st.lists(values, min_size=1, max_size=5)


def of(*parts: np.ndarray) -> Histogram:
    found = Histogram()
    for part in parts:
        found.add(part)
    return found


def same(one: Histogram, other: Histogram) -> bool:
    exact = ("least", "largest", "count", "zeros", "exponent")
    return (
        all(getattr(one, name) == getattr(other, name) for name in exact)
        and np.array_equal(one.counts, other.counts)
        and isclose(one.squares, other.squares, rel_tol=1e-9)
    )


@given(batches)
def test_batches_give_what_all_at_once_give(parts):
    assert same(of(*parts), of(np.concatenate(parts)))


@given(batches, st.randoms())
def test_the_order_of_batches_is_nothing(parts, chance):
    mixed = list(parts)
    chance.shuffle(mixed)
    assert same(of(*parts), of(*mixed))


@given(batches, batches)
def test_merging_is_counting_together(some, others):
    merged = of(*some)
    merged.merge(of(*others))
    assert same(merged, of(*some, *others))


@given(values)
def test_every_number_is_in_its_bin(array):
    found = of(array)
    magnitudes = np.abs(array[array != 0].astype(np.float64))
    expected, _ = np.histogram(magnitudes, found.edges)
    np.testing.assert_array_equal(found.counts, expected)
    assert found.count == array.size
    assert found.zeros == np.count_nonzero(array == 0)
    assert (found.least, found.largest) == (array.min(), array.max())
    assert found.magnitude == np.abs(array).max()
    assert np.isclose(found.rms, np.sqrt(np.mean(array.astype(np.float64) ** 2)))
    assert found.magnitude < found.edges[-1] <= max(2 * found.magnitude, 2.0**LEAST_EXPONENT)


@pytest.mark.parametrize("count", [1, 65_535, 65_536, 65_537, 200_000])
def test_arrays_of_any_length_are_counted_whole(count):
    array = np.random.default_rng(0).normal(size=count).astype(np.float32)
    found = of(array)
    expected, _ = np.histogram(np.abs(array).astype(np.float64), found.edges)
    np.testing.assert_array_equal(found.counts, expected)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8])
def test_every_type_counts_alike(kind):
    array = np.arange(-100, 100).astype(kind)
    assert same(of(array), of(array.astype(np.float32)))
    assert same(of(array.reshape(2, 5, 20)[:, ::-1]), of(array))


def test_the_smallest_and_the_largest_numbers_have_bins():
    tiny = of(np.array([1e-45, 1e-40], np.float32))
    assert tiny.counts[0] == 2
    huge = of(np.array([np.finfo(np.float32).max, 1e-45], np.float32))
    assert huge.counts[BINS - 1] == 1
    assert huge.counts[0] == 1


def test_a_range_that_grows_far_keeps_all_counts():
    found = of(np.full(10, 1e-20, np.float32), np.full(3, 1e20, np.float32))
    assert found.counts[0] == 10
    assert found.counts.sum() == 13


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_not_finite_is_told_and_not_counted(bad):
    found = of(np.ones(3, np.float32))
    with pytest.raises(NotFiniteError):
        found.add(np.array([0.5, bad, 0.5]))
    assert same(found, of(np.ones(3, np.float32)))


def test_nothing_changes_nothing():
    found = of(np.ones(3, np.float32))
    found.add(np.empty((0, 3), np.float32))
    found.merge(Histogram())
    assert same(found, of(np.ones(3, np.float32)))


@given(st.floats(0, 3e38))
def test_a_range_ends_above_its_magnitude_at_a_power_of_two(magnitude):
    exponent = exponent_of(magnitude)
    assert magnitude < 2.0**exponent
    assert exponent == LEAST_EXPONENT or magnitude >= 2.0 ** (exponent - 1)
