"""The numbers that a quantised type can hold, and what rounding to them costs.

A type holds `magnitudes`, and their negatives; a value is kept up to a threshold T in steps of T / the largest of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.weights.encode import float8_numbers

Numbers = NDArray[np.float64]

INT8, UINT8, E4M3 = 127, 255, 448
"""The largest magnitude of each type, by which it is named: uint8 is for values that are never negative, and E4M3 for
float8 (OCP 8-bit Floating Point Specification 1.0, 2023: 4 bits of exponent, 3 of mantissa, no infinities)."""


def magnitudes(levels: float) -> Numbers:
    """What a type holds, in rising order: 0 to `levels`, or for `E4M3` its 127 numbers up to 448."""
    if levels == E4M3:
        return float8_numbers().astype(np.float64)
    return np.arange(levels + 1, dtype=np.float64)


def squared_error(limits: Numbers, grid: Numbers) -> Numbers:
    """The integral, from 0 to each of `limits` (any shape, at least 0), of the squared distance to the nearest number
    of the grid; beyond its last number all is rounded to that."""
    middles = (grid[:-1] + grid[1:]) / 2
    starts = np.concatenate([[0.0], middles])  # where the reach of each number begins
    whole = ((middles - grid[:-1]) ** 3 + (grid[:-1] - starts[:-1]) ** 3) / 3
    before = np.concatenate([[0.0], np.cumsum(whole)])  # up to the reach of each
    nearest = np.searchsorted(middles, limits, side="right")
    number = grid[nearest]
    found: Numbers = (
        before[nearest] + ((limits - number) ** 3 + (number - starts[nearest]) ** 3) / 3
    )
    return found
