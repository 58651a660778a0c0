"""The constants of the model of rounding, by their defining equations and by tables."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest

from resnet_dsl.verify.rounding import (
    CHANCE,
    CHANNELS,
    ROUNDINGS,
    UNITS,
    certainty,
    gamma,
    mean_square_certainty,
    student,
)


def test_lambda_makes_the_chance() -> None:
    assert 2 * ROUNDINGS * exp(-(certainty() ** 2) / 2) == pytest.approx(CHANCE, rel=1e-6)


def test_lambda_of_mean_squares_makes_the_chance() -> None:
    found = mean_square_certainty()
    tail = found * sqrt(exp(1)) * exp(-(found**2) / 2)
    assert CHANNELS * tail == pytest.approx(CHANCE, rel=1e-6)


def test_mean_squares_of_dependent_numbers_stay_below_their_lambda() -> None:
    """The heaviest tail is that of one number repeated: a million of them, at a chance that can be counted."""
    bound = mean_square_certainty(channels=1, chance=1e-3)
    drawn = np.random.default_rng(0).standard_normal(1_000_000)
    assert (np.abs(drawn) > bound).mean() < 1e-3


# Student's distribution, two-sided, by any table of it.
TABLE = [
    (2, 0.05, 4.302653),
    (4, 0.01, 4.604095),
    (8, 0.05, 2.306004),
    (8, 1e-4, 7.120004),
    (16, 1e-6, 7.641511),
    (4, 1e-6, 49.458637),
]


@pytest.mark.parametrize(("seeds", "chance", "quantile"), TABLE)
def test_quantiles_of_student(seeds: int, chance: float, quantile: float) -> None:
    assert student(seeds, chance) == pytest.approx(quantile, rel=1e-6)


def test_an_odd_number_of_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        student(7, 0.1)


@pytest.mark.parametrize("terms", [1, 10, 1000, 100_000])
@pytest.mark.parametrize("name", ["float32", "float16"])
def test_gamma_is_never_above_what_is_sure(name: str, terms: int) -> None:
    unit = UNITS[name]  # type: ignore[index]
    sure = terms * unit.roundoff / (1 - terms * unit.roundoff)
    found = gamma(terms, unit)
    assert found > 0
    if sure > 0:
        assert found <= sure
    if terms == 1:
        assert found == pytest.approx(sure)


def test_gamma_grows_as_the_root_of_the_terms() -> None:
    unit = UNITS["float32"]
    assert gamma(40_000, unit) / gamma(10_000, unit) == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize(("name", "kind"), [("float32", np.float32), ("float16", np.float16)])
def test_units_are_those_of_the_types(name: str, kind: type[np.floating]) -> None:
    unit, about = UNITS[name], np.finfo(kind)  # type: ignore[index]
    assert unit.roundoff == float(about.eps) / 2
    assert unit.largest == float(about.max)
    assert unit.tiny >= float(about.smallest_subnormal) / 2
