"""Percentiles, ratios and their noise. No library: they are the same wherever they are read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast: the median over the rounds, and the least and the greatest of them, which hold the true
    median with a probability of 1 - 2^(1 - rounds): 94 % of five."""

    value: float
    low: float
    high: float

    @property
    def within_noise(self) -> bool:
        """Whether the rounds do not agree on which of the two is faster."""
        return self.low <= 1 <= self.high


def percentile(times: Sequence[float], share: float) -> float | None:
    """The time that `share` of the calls stay within (0.5 is the median), by linear interpolation between neighbours.

    None where too few calls were seen for one to be expected beyond it: 10 for 0.9, 100 for 0.99.
    """
    if len(times) * (1 - share) < 1 - 1e-9:
        return None
    ordered = sorted(times)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratio(ours: Sequence[float | None], peer: Sequence[float | None]) -> Ratio | None:
    """The ratio of two rates, round by round, so that a machine that is slow for a round is so for both; None where no
    round has both."""
    found = [mine / their for mine, their in zip(ours, peer, strict=False) if mine and their]
    if not found:
        return None
    return Ratio(statistics.median(found), min(found), max(found))


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what there is."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None
