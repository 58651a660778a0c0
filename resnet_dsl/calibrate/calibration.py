"""What has been seen of a network's values on images, and the ranges that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_dsl.calibrate.histogram import Histogram
from resnet_dsl.calibrate.methods import PERCENT, Method, threshold


@dataclass(frozen=True, eq=False)
class Calibration:
    """Histograms of values by name, in the order in which they were asked for.

    `images` is how many images they are of, and `about` says which, for people; `sha256` is of all that was seen.
    `path` is where it is stored, and `reused` whether it was read from there. `notes` are for the user.
    """

    histograms: Mapping[str, Histogram]
    images: int
    about: str
    sha256: str
    path: Path
    reused: bool
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The values that were seen."""
        return tuple(self.histograms)

    def threshold(
        self, name: str, method: Method, levels: float, percent: float = PERCENT
    ) -> float:
        """The largest magnitude that a type is to keep of a value, by a method (`methods.threshold`). `levels` is 127
        for int8, 255 for uint8 (of values that are never negative), 448 for float8 e4m3: a scale is the threshold over
        it."""
        return threshold(self.histograms[name], method, levels, percent)

    def largest(self, name: str) -> float:
        """The largest magnitude of a value."""
        return self.histograms[name].magnitude

    def least(self, name: str) -> float:
        """The least number of a value: below zero where it is ever negative."""
        return self.histograms[name].least

    def is_never_negative(self, name: str) -> bool:
        """Whether a value was zero or more on all images."""
        return self.least(name) >= 0
