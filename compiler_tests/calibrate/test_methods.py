"""Thresholds are what their definitions say, found here by other means."""

from __future__ import annotations

from math import erfc, exp, pi, sqrt

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from resnet_dsl.calibrate.grids import E4M3, INT8, UINT8, magnitudes, squared_error
from resnet_dsl.calibrate.histogram import Histogram
from resnet_dsl.calibrate.methods import METHODS, mean_squared_error, threshold

LEVELS = (INT8, UINT8, E4M3)
values = arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e4, 1e4, width=32))


def of(array: np.ndarray) -> Histogram:
    found = Histogram()
    found.add(array.astype(np.float32))
    return found


def drawn(kind: str, count: int = 100_000) -> np.ndarray:
    draws = np.random.default_rng(7)
    match kind:
        case "relu":
            return np.maximum(draws.normal(size=count), 0)
        case "laplace":
            return draws.laplace(size=count)
        case "uniform":
            return draws.uniform(-3, 3, count)
        case "outlier":
            return np.append(draws.normal(size=count), 100.0)
        case _:
            return draws.normal(size=count)


KINDS = ("normal", "relu", "laplace", "uniform", "outlier")


def true_error(array: np.ndarray, limit: float, levels: int) -> float:
    """The mean squared error of quantising numbers, one by one."""
    grid = magnitudes(levels) * limit / levels
    sizes = np.abs(array)
    above = np.clip(np.searchsorted(grid, sizes), 1, len(grid) - 1)
    off = np.minimum(abs(sizes - grid[above]), abs(sizes - grid[above - 1]))
    return float(np.mean(off**2))


@given(values, st.sampled_from(METHODS), st.sampled_from(LEVELS))
def test_thresholds_are_above_zero_and_no_more_than_was_seen(array, method, levels):
    histogram = of(array)
    found = threshold(histogram, method, levels)
    assert 0 < found <= max(histogram.magnitude or 1, 2.0**-100)
    assert np.float32(found / levels) > 0


@given(values, st.sampled_from(LEVELS))
def test_the_hundredth_percentile_is_the_maximum(array, levels):
    histogram = of(array)
    assert threshold(histogram, "percentile", levels, 100) == threshold(histogram, "max", levels)


@given(values, st.sampled_from(LEVELS))
def test_least_squares_are_no_worse_than_the_maximum(array, levels):
    histogram = of(array)
    tried = np.array([threshold(histogram, method, levels) for method in ("mse", "max")])
    if histogram.magnitude:
        best, most = mean_squared_error(histogram, tried, levels)
        assert best <= most * (1 + 1e-9)


@given(values, st.floats(1, 100), st.floats(1, 100))
def test_percentiles_rise(array, one, other):
    histogram = of(array)
    least, most = sorted((one, other))
    assert threshold(histogram, "percentile", 127, least) <= threshold(
        histogram, "percentile", 127, most
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [50, 90, 99, 99.9, 99.99])
def test_a_percentile_is_numpys_to_a_bin(kind, percent):
    array = drawn(kind).astype(np.float32)
    histogram = of(array)
    ends = [
        np.percentile(np.abs(array), percent, method="lower"),
        np.percentile(np.abs(array), percent, method="higher"),
    ]
    found = threshold(histogram, "percentile", 127, percent)
    assert ends[0] - histogram.width <= found <= ends[1] + histogram.width


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", LEVELS)
def test_the_error_from_a_histogram_is_that_of_the_numbers(kind, levels):
    array = drawn(kind).astype(np.float32)
    histogram = of(array)
    tried = histogram.magnitude * np.array([0.3, 0.6, 1.0])
    found = mean_squared_error(histogram, tried, levels)
    expected = [true_error(array, limit, levels) for limit in tried]
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", LEVELS)
def test_no_other_threshold_has_a_much_smaller_error(kind, levels):
    array = drawn(kind, 20_000).astype(np.float32)
    histogram = of(array)
    found = true_error(array, threshold(histogram, "mse", levels), levels)
    tried = histogram.magnitude * np.linspace(0.02, 1, 300)
    assert found <= 1.02 * min(true_error(array, limit, levels) for limit in tried)


def test_least_squares_of_a_normal_distribution_are_those_of_theory():
    """Steps of T / 127 cost their square / 12, and what is beyond T costs 2 times the integral of (x - T)^2 over the
    density of N(0, 1), which is (1 + T^2) Q(T) - T phi(T)."""

    def cost(limit: float) -> float:
        tail = erfc(limit / sqrt(2)) / 2
        density = exp(-(limit**2) / 2) / sqrt(2 * pi)
        clipped = (1 + limit**2) * tail - limit * density
        return (limit / INT8) ** 2 / 12 + 2 * clipped

    best = min(np.linspace(3, 5, 2001), key=cost)
    found = Histogram(least=-7.0, largest=7.0, count=10**15, exponent=3)
    beyond = np.array([erfc(edge / sqrt(2)) for edge in found.edges])
    found.counts = np.rint(-np.diff(beyond) * found.count).astype(np.int64)
    assert threshold(found, "mse", INT8) == pytest.approx(best, abs=found.width)


def divergence(counts: np.ndarray, end: int, groups: int) -> float:
    """The divergence at one threshold, as Migacz 2017 has it in pseudocode but for totals that are left as they are."""
    true = counts[:end].astype(np.float64)
    true[-1] += counts[end:].sum()
    rounded = np.zeros(end)
    for group in range(groups):
        bins = range(end * group // groups, end * (group + 1) // groups)
        filled = [place for place in bins if true[place]]
        mass = sum(counts[place] for place in bins)
        if not mass and filled:
            mass = 1
        for place in filled:
            rounded[place] = mass / len(filled)
    seen = true > 0
    return float(
        np.sum(true[seen] * np.log(true[seen] / rounded[seen])) - true.sum() + rounded.sum()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [INT8, UINT8])
def test_the_least_divergence_is_found(kind, levels):
    histogram = of(drawn(kind, 20_000))
    used = int(np.flatnonzero(histogram.counts)[-1]) + 1
    found = threshold(histogram, "entropy", levels)
    if used <= levels + 1:
        assert found == histogram.magnitude
        return
    ends = range(levels + 1, used + 1)
    known = [divergence(histogram.counts, end, levels + 1) for end in ends]
    place = round(min(found / histogram.width, used)) - ends[0]
    assert known[place] <= min(known) + 1e-6


def test_one_outlier_does_not_decide():
    histogram = of(drawn("outlier", 1_000_000))
    assert threshold(histogram, "max", INT8) == 100
    for method in ("percentile", "entropy", "mse"):
        assert threshold(histogram, method, INT8) < 20


@pytest.mark.parametrize("method", METHODS)
def test_what_is_always_zero_has_a_range_all_the_same(method):
    assert threshold(of(np.zeros(9)), method, INT8) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("value", [1.0, -3.5, 1e-30, 1e30])
def test_a_constant_is_kept(method, levels, value):
    found = threshold(of(np.full(100, value)), method, levels)
    assert found == pytest.approx(abs(value), rel=0.01)


def test_methods_that_mean_equal_steps_give_float8_the_maximum():
    histogram = of(drawn("outlier"))
    assert threshold(histogram, "percentile", E4M3) == 100
    assert threshold(histogram, "entropy", E4M3) == 100


def test_the_numbers_of_float8_are_those_of_the_format():
    codes = np.arange(127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(magnitudes(E4M3), codes.astype(np.float64))
    assert magnitudes(E4M3)[-1] == E4M3


@given(st.sampled_from(LEVELS), st.floats(0, 600))
def test_the_integral_of_the_error_is_that_of_small_steps(levels, limit):
    grid = magnitudes(levels)
    points = np.linspace(0, limit, 100_001)
    middles = (points[1:] + points[:-1]) / 2
    nearest = grid[np.searchsorted((grid[1:] + grid[:-1]) / 2, middles)]
    off = nearest - middles
    expected = float(np.sum(off**2) * limit / 100_000)
    found = float(squared_error(np.array(limit), grid))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_percentage_is_one():
    with pytest.raises(ValueError, match="percentage"):
        threshold(of(np.ones(3)), "percentile", INT8, 0)
