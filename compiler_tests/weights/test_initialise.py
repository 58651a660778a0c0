"""The draws: distributed as the rules say, a function of seed and name alone, one stream a parameter."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.ops import Init
from resnet_dsl.weights.initialise import draw, spread

GOLDEN = (0.015826732, -1.3727647, -0.25366685, 0.45472986)
WEIGHT: Shape = (256, 64, 3, 3)
LINEAR: Shape = (1000, 512)


@pytest.mark.parametrize(
    ("init", "shape", "deviation"),
    [
        (Init("he_normal", "fan_out"), WEIGHT, sqrt(2 / (256 * 9))),
        (Init("he_normal", "fan_in"), WEIGHT, sqrt(2 / (64 * 9))),
        (Init("he_normal", "fan_in"), LINEAR, sqrt(2 / 512)),
        (Init("xavier_normal"), WEIGHT, sqrt(2 / ((256 + 64) * 9))),
        (Init("normal", scale=0.05), LINEAR, 0.05),
    ],
)
def test_normal_rules_have_their_deviation_no_skew_and_normal_tails(
    init: Init, shape: Shape, deviation: float
):
    values = draw("conv1.weight", shape, init, 0).astype(np.float64) / deviation
    count = values.size
    assert abs(values.mean()) < 4 / sqrt(count)
    assert abs(values.std() - 1) < 4 / sqrt(2 * count)
    assert abs((values**3).mean()) < 4 * sqrt(15 / count)
    assert abs((values**4).mean() - 3) < 4 * sqrt(96 / count)
    assert abs((np.abs(values) > 3).mean() - 0.0027) < 4 * sqrt(0.0027 / count)


@pytest.mark.parametrize(
    ("init", "shape", "bound"),
    [
        (Init("he_uniform", "fan_in"), WEIGHT, sqrt(6 / (64 * 9))),
        (Init("xavier_uniform"), LINEAR, sqrt(6 / 1512)),
        (Init("uniform"), LINEAR, sqrt(1 / 512)),
        (Init("uniform"), WEIGHT, sqrt(1 / (64 * 9))),
        (Init("uniform", scale=0.125), (100_000,), 0.125),
    ],
)
def test_uniform_rules_fill_their_interval_evenly(init: Init, shape: Shape, bound: float):
    values = draw("fc.weight", shape, init, 0) / bound
    assert np.abs(values).max() <= 1
    assert np.abs(values).max() > 0.999
    assert abs(values.mean()) < 4 / sqrt(3 * values.size)
    assert abs((values**2).mean() - 1 / 3) < 4 * sqrt(4 / 45 / values.size)


def test_grouped_fans_are_torchs():
    # (out, in / groups, kh, kw): fan_in counts a group's channels, fan_out all of them.
    assert spread(Init("he_normal", "fan_in"), (128, 4, 3, 3)) == sqrt(2 / 36)
    assert spread(Init("he_normal", "fan_out"), (128, 4, 3, 3)) == sqrt(2 / 1152)


def test_numbers_and_zeros_fill():
    assert (draw("bn1.weight", (3,), 0.5, 1) == 0.5).all()
    assert not draw("conv1.weight", (3, 2), Init("zeros"), 1).any()
    assert spread(Init("zeros"), (3, 2)) == 0.0


def test_a_vector_has_no_fans():
    with pytest.raises(ValueError, match="he_normal is no rule for a tensor of the shape"):
        draw("conv1.bias", (8,), Init(), 0)


def test_a_draw_depends_on_seed_and_name_and_nothing_else():
    one = draw("layer1.0.conv1.weight", (8, 8, 3, 3), Init(), 3)
    draw("other", (100,), Init("uniform"), 3)
    np.testing.assert_array_equal(one, draw("layer1.0.conv1.weight", (8, 8, 3, 3), Init(), 3))
    assert (one != draw("layer1.0.conv1.weight", (8, 8, 3, 3), Init(), 4)).all()
    assert (one != draw("layer1.0.conv2.weight", (8, 8, 3, 3), Init(), 3)).all()


def test_streams_of_neighbouring_names_and_seeds_are_uncorrelated():
    draws = [
        draw(f"layer1.{block}.conv1.weight", (64, 64, 3, 3), Init(), seed).ravel()
        for block in range(4)
        for seed in (0, 1, 10)
    ]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / sqrt(draws[0].size)


def test_the_numbers_of_a_seed_do_not_change_from_version_to_version():
    np.testing.assert_allclose(
        draw("conv1.weight", (2, 2), Init("normal", scale=1.0), 0).ravel(),
        GOLDEN,
        rtol=1e-6,
    )
