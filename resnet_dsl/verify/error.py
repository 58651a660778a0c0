"""What a value may be off by, as the bounds of single operations say it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.verify.interpreter import apply


@dataclass(frozen=True, slots=True)
class Error:
    """What a value may be off by, in three parts, each (N, C, H, W) or (N, F) like the value.

    `peak`: no element is off by more. `fixed`: what is sure for each element, such as the rounding of a result or the
    digits of a function. `variance`: of the rest, the roundings inside of sums, a proxy in the sense of Higham & Mary's
    model: E exp(t e) <= exp(t² variance / 2).
    """

    peak: Tensor
    fixed: Tensor
    variance: Tensor

    def __add__(self, other: Error) -> Error:
        return Error(
            self.peak + other.peak, self.fixed + other.fixed, self.variance + other.variance
        )

    def scaled(self, factor: Tensor | float) -> Error:
        """Of the value times a factor without error."""
        size = factor.abs() if isinstance(factor, Tensor) else abs(factor)
        return Error(self.peak * size, self.fixed * size, self.variance * size * size)

    def like(self, op: ConcreteOp) -> Error:
        """Of the value rearranged, or pooled by a linear operation."""
        parts = (self.peak, self.fixed, self.variance)
        return Error(*[apply(op, [part], []) for part in parts])


def surely(fixed: Tensor) -> Error:
    """An error that has no random part."""
    return Error(fixed, fixed, torch.zeros_like(fixed))
