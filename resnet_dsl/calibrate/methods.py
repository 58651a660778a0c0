"""Which range of magnitudes, 0 to a threshold, a quantised type is best given: four answers from a histogram.

max         All of it: nothing is clipped (Wu et al. 2020, "Integer Quantization for Deep Learning Inference: Principles
            and Empirical Evaluation", section 4).
percentile  What holds so many per cent of all numbers; 99.99 is among those of that paper.
entropy     Where the rounded distribution differs least from the true one, by the Kullback-Leibler divergence (Migacz
            2017, "8-bit Inference with TensorRT", GPU Technology Conference).
mse         Where the mean squared error of rounding and clipping together is least (Sung et al. 2015, "Resiliency of
            Deep Neural Networks under Quantization"; Nagel et al. 2021, "A White Paper on Neural Network Quantization",
            section 3.1). Numbers are taken as evenly spread within a bin, and the error is integrated, not sampled.

Every threshold is at most the largest magnitude seen, and above zero, so that a scale can be made of it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never, get_args

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.calibrate.grids import E4M3, magnitudes, squared_error
from resnet_dsl.calibrate.histogram import Histogram

Method: TypeAlias = Literal["max", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENT = 99.99

_LEAST = 2.0**-100  # as a threshold: smaller scales are at the end of float32
_COARSE = 8  # bins between thresholds that are tried first for the least error


def threshold(
    histogram: Histogram, method: Method, levels: float, percent: float = PERCENT
) -> float:
    """The threshold for a type whose largest magnitude is `levels` (`grids`); `percent` is for `percentile`.

    A value that was always zero has 1. To float8 only `max` and `mse` apply, since its numbers lie the closer the
    smaller they are: there the others give what `max` gives.
    """
    largest = histogram.magnitude
    if not largest:
        return 1.0
    if levels == E4M3 and method != "mse":
        method = "max"
    match method:
        case "max":
            found = largest
        case "percentile":
            found = _percentile(histogram, percent)
        case "entropy":
            found = _entropy(histogram, int(levels) + 1)
        case "mse":
            found = _mse(histogram, levels)
        case _:
            assert_never(method)
    return max(min(found, largest), _LEAST)


def mean_squared_error(
    histogram: Histogram, thresholds: NDArray[np.float64], levels: float
) -> NDArray[np.float64]:
    """The mean squared error, over all numbers, of each of the thresholds (T,) for a type."""
    grid, edges = magnitudes(levels), histogram.edges[: _used(histogram) + 1]
    steps = thresholds[:, None] / grid[-1]
    up_to = squared_error(edges / steps, grid)
    of_bins = np.diff(up_to, axis=1) @ histogram.counts[: len(edges) - 1]
    found: NDArray[np.float64] = of_bins * steps[:, 0] ** 3 / histogram.width / histogram.count
    return found


def _used(histogram: Histogram) -> int:
    """How many bins there are up to the last that holds something."""
    return int(np.flatnonzero(histogram.counts)[-1]) + 1


def _percentile(histogram: Histogram, percent: float) -> float:
    """The least magnitude that so many per cent of all numbers do not exceed, interpolated within its bin."""
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} is no percentage")
    if percent == 100:
        return histogram.magnitude
    wanted = histogram.count * percent / 100 - histogram.zeros
    if wanted <= 0:
        return 0.0
    summed = _running(histogram.counts)
    place = int(np.searchsorted(summed, wanted))  # the first edge that so many are below
    below, up_to = summed[place - 1 : place + 1]
    return histogram.width * float(place - 1 + (wanted - below) / (up_to - below))


def _mse(histogram: Histogram, levels: float) -> float:
    """The edge of a bin, or the largest magnitude, with the least error: first every few edges, then those about."""
    largest, edges = histogram.magnitude, histogram.edges[: _used(histogram)]
    coarse = np.append(edges[_COARSE::_COARSE], largest)
    best = coarse[mean_squared_error(histogram, coarse, levels).argmin()]
    about = edges[(edges > 0) & (abs(edges - best) < _COARSE * histogram.width)]
    fine = np.append(about, [best, largest])
    return float(fine[mean_squared_error(histogram, fine, levels).argmin()])


def _entropy(histogram: Histogram, groups: int) -> float:
    """The edge at which the distribution below it, with all that is above it in its last bin, differs least from the
    same in as many numbers as `groups`, each spread out again over those of its bins that were not empty.

    Neither is scaled to the other's total, lest clipping nearly all be rewarded; where little is clipped, that makes no
    difference. The divergence of such measures is the sum of p log(p / q) - p + q (Csiszár 1991, "Why least squares and
    maximum entropy?"). Where a last group holds nothing but what is clipped, it counts as one number there, lest a
    single outlier forbid to clip it. All edges are tried at once: within a group of bins, which becomes one number, the
    spread distribution is constant, so that sums over bins are differences of running sums, (edges, groups).
    """
    counts = histogram.counts.astype(np.float64)
    ends = np.arange(groups, _used(histogram) + 1)  # how many bins are kept
    if len(ends) < 2:
        return histogram.magnitude
    borders = ends[:, None] * np.arange(groups + 1) // groups
    mass = np.diff(_running(counts)[borders], axis=1)
    filled = np.diff(_running(counts > 0)[borders], axis=1)
    clipped, last = counts.sum() - _running(counts)[ends], counts[ends - 1]
    true = mass.copy()
    true[:, -1] += clipped
    filled[:, -1] += (clipped > 0) & (last == 0)
    mass[:, -1] = np.where((clipped > 0) & (mass[:, -1] == 0), 1.0, mass[:, -1])
    # sum of p log p over bins, with the last bin's p, less the sum of p log q
    own = _running(_p_log_p(counts))[ends] - _p_log_p(last) + _p_log_p(last + clipped)
    spread = np.log(np.divide(mass, filled, out=np.ones_like(mass), where=mass > 0))
    crossed = (true * spread).sum(1)
    divergence = own - crossed + mass.sum(1)
    return float(histogram.edges[ends[divergence.argmin()]])


def _running(
    values: NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Sums of the first 0, 1, … of values."""
    found: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return found


def _p_log_p(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values * np.log(np.where(values > 0, values, 1.0))
    return found
