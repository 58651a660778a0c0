"""What one value of a network is like over many images: its range, its moments and a histogram of its magnitudes.

A histogram has `BINS` equal bins from 0 to a power of two, the least that is above every magnitude. Where a larger one
comes, the range is doubled, as often as it takes, by adding up bins in pairs. Edges are then exact and stand where
they would have stood from the start: the same images give the same histogram in any order and in batches of any size.

Exact zeros, of which a ReLU makes many, are counted apart: every type that is symmetric about zero holds them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import frexp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 2048
LEAST_EXPONENT, LARGEST_EXPONENT = -100, 128
"""Of the range, 2**exponent: what is smaller than 2**-100 / BINS is in the first bin, and float32 ends at 2**128."""

_CHUNK = 1 << 16  # numbers that are worked on at a time, so that they stay in the processor's cache


class NotFiniteError(Exception):
    """A value that is infinite, not a number, or beyond float32."""


@dataclass(eq=False)
class Histogram:
    """The numbers of a value so far. `least` and `largest` are signed; `counts` (BINS,) are of magnitudes above 0, in
    bins of 2**exponent / BINS; `squares` is the sum of squares of all `count` numbers."""

    least: float = 0.0
    largest: float = 0.0
    count: int = 0
    zeros: int = 0
    squares: float = 0.0
    exponent: int = LEAST_EXPONENT
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @property
    def magnitude(self) -> float:
        """The largest magnitude."""
        return max(self.largest, -self.least)

    @property
    def rms(self) -> float:
        """The root of the mean square."""
        return sqrt(self.squares / self.count) if self.count else 0.0

    @property
    def width(self) -> float:
        """The width of a bin."""
        return 2.0 ** (self.exponent - BINS.bit_length() + 1)

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges of the bins, (BINS + 1,)."""
        return np.arange(BINS + 1, dtype=np.float64) * self.width

    def add(self, values: NDArray[Any]) -> None:
        """Count the numbers of an array of any shape. Raises NotFiniteError, and then counts none of them."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        least, largest = float(flat.min()), float(flat.max())
        if not max(largest, -least) < 2.0**LARGEST_EXPONENT:  # false for a NaN, too
            raise NotFiniteError
        first = not self.count
        self.least = least if first else min(self.least, least)
        self.largest = largest if first else max(self.largest, largest)
        self._widen(exponent_of(max(largest, -least)))
        self.count += flat.size
        for begin in range(0, flat.size, _CHUNK):
            self._count(flat[begin : begin + _CHUNK])

    def merge(self, other: Histogram) -> None:
        """Count what another has counted."""
        if not other.count:
            return
        first = not self.count
        self.least = other.least if first else min(self.least, other.least)
        self.largest = other.largest if first else max(self.largest, other.largest)
        self._widen(other.exponent)
        self.count += other.count
        self.zeros += other.zeros
        self.squares += other.squares
        self.counts += _in_pairs(other.counts, self.exponent - other.exponent)

    def _widen(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.counts = _in_pairs(self.counts, exponent - self.exponent)
            self.exponent = exponent

    def _count(self, part: NDArray[Any]) -> None:
        """Count a part that is within the range."""
        kind = np.float64 if part.dtype == np.float64 else np.float32
        magnitudes = np.abs(part, dtype=kind)
        wide = magnitudes.astype(np.float64, copy=False)
        self.squares += float(np.einsum("i,i->", wide, wide))  # not BLAS, whose threads would wait
        zeros = int(np.count_nonzero(magnitudes == 0))
        magnitudes *= kind(1 / self.width)  # a power of two: exact
        bins = np.bincount(magnitudes.astype(np.intp), minlength=BINS)
        bins[0] -= zeros
        self.zeros += zeros
        self.counts += bins


def exponent_of(magnitude: float) -> int:
    """The exponent of the least power of two, of those that a range may have, that is above a magnitude."""
    exponent = frexp(magnitude)[1] if magnitude else LEAST_EXPONENT
    return min(max(exponent, LEAST_EXPONENT), LARGEST_EXPONENT)


def _in_pairs(counts: NDArray[np.int64], times: int) -> NDArray[np.int64]:
    """The counts (BINS,) in bins that are 2**times as wide."""
    found = np.zeros(BINS, np.int64)
    group = 1 << min(times, BINS.bit_length() - 1)
    found[: BINS // group] = counts.reshape(-1, group).sum(1)
    return found
