"""Errors beside their bounds, as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from resnet_dsl.verify.error import Error
from resnet_dsl.verify.rounding import mean_square_certainty
from resnet_dsl.verify.walk import Step


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of a target beside what it must be. `largest` and `rms` are absolute errors, with the largest bound and
    the root mean square that rounding explains; `scale` is the root mean square of the value itself. `of_peak` and
    `of_rms` are the largest error as a part of its own bound, of an element and of a channel: more than 1 is a
    departure, at `channel`."""

    name: str
    block: str
    group: str
    elements: int
    scale: float
    largest: float
    largest_bound: float
    rms: float
    rms_bound: float
    of_peak: float
    of_rms: float
    channel: int

    @property
    def ratio(self) -> float:
        """The error as a part of its bound; more than 1 is a departure."""
        return max(self.of_peak, self.of_rms)

    @property
    def holds(self) -> bool:
        """Whether rounding explains the error."""
        return self.ratio <= 1

    def as_dict(self) -> dict[str, object]:
        """As JSON, which has no infinity: null is an error without end."""
        return {
            key: (None if isinstance(item, float) and not isfinite(item) else item)
            for key, item in asdict(self).items()
        } | {"holds": self.holds}


ROOM = 1.001
"""For terms of second order, and for the bounds being computed in float32 themselves."""


def measure(step: Step) -> Measured:
    """How far a value is from what it must be."""
    off = distance(step.found, step.wanted)
    off_rms = mean_over_channel(off.square()).sqrt()
    if step.error is None:
        peak, bound = torch.zeros(()), torch.zeros_like(off_rms)
    else:
        peak, bound = ROOM * step.error.peak, ROOM * rms_bound(step.error)
    parts = _parts(off_rms, bound)
    return Measured(
        step.node.name,
        step.node.block,
        step.node.group,
        off.numel(),
        _rms(step.wanted),
        float(off.max()),
        float(peak.max()),
        _rms(off),
        float(bound.square().mean().sqrt()),
        float(_parts(off, peak).max()),
        float(parts.max()),
        int(parts.argmax()),
    )


def distance(found: Tensor, wanted: Tensor) -> Tensor:
    """How far a value is from what it must be, element for element: infinitely, where its shape is another or it is no
    number."""
    if found.shape != wanted.shape:
        return torch.full_like(wanted, inf)
    off = (found - wanted).abs()
    return torch.where(torch.isfinite(off), off, inf)


def mean_over_channel(squares: Tensor) -> Tensor:
    """(N, C, …) -> (C,)"""
    return squares.transpose(0, 1).flatten(1).mean(1)


def rms_bound(error: Error) -> Tensor:
    """What the root mean square of the error of each channel does not exceed, (C,): λ times that of its random part,
    and that of what is sure; nor that of the largest errors."""
    random = mean_over_channel(error.variance.double()).sqrt()
    sure = mean_over_channel(error.fixed.double().square()).sqrt()
    peak = mean_over_channel(error.peak.double().square()).sqrt()
    return torch.minimum(mean_square_certainty() * random + sure, peak)


def _rms(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def _parts(off: Tensor, bound: Tensor) -> Tensor:
    """Errors as parts of their bounds; a bound that is no finite number says nothing, and is exceeded by anything."""
    bound = torch.where(torch.isfinite(bound), bound, 0.0)
    return torch.where(off == 0, 0.0, off / bound.double().clamp(min=1e-300))
