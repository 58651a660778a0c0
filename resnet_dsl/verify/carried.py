"""What the error of an operand does to a result, to first order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
    Dequantize,
    Dropout,
    DropPath,
    Flatten,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Quantize,
    Subsample,
)
from resnet_dsl.verify.error import Error, surely
from resnet_dsl.verify.functions import FUNCTIONS
from resnet_dsl.verify.interpreter import column, convolution, quantize
from resnet_dsl.verify.rounding import certainty


def carried(
    op: ConcreteOp,
    place: int,
    error: Error,
    operands: Sequence[Tensor],
    constants: Sequence[Tensor],
    y: Tensor,
) -> Error:
    """What the error of one operand does to the result, to first order."""
    match op:
        case Conv() | Linear():
            weight = single(constants[0])
            fixed = linear(op, error.fixed, weight.abs())
            variance = linear(op, error.variance, weight.square())
            peak = linear(op, error.peak, weight.abs())
            return Error(
                torch.minimum(peak, fixed + certainty() * variance.sqrt()), fixed, variance
            )
        case BatchNorm() | FrozenBatchNorm():
            weight, _, _, variance = (column(single(item)) for item in constants)
            return error.scaled(weight / torch.sqrt(variance + op.eps))
        case GroupNorm():
            return _through_group(op, error, operands[0], constants)
        case Activation():
            slope = FUNCTIONS[op.kind].slope
            return error.scaled(max(slope, abs(op.slope)) if op.kind == "elu" else slope)
        case MaxPool():
            return error.like(op)
        case AvgPool() | AdaptiveAvgPool() | Flatten() | Subsample() | PadChannels():
            return error.like(op)
        case Add() | Dropout() | DropPath() | Cast():
            return error
        case Multiply():
            others = [item for other, item in enumerate(operands) if other != place]
            return error.scaled(reduce(torch.mul, others))
        case Gate():
            h, carried, t = operands
            return error.scaled((t, 1 - t, h - carried)[place])
        case Concat():
            before = sum(item.shape[1] for item in operands[:place])
            parts = (error.peak, error.fixed, error.variance)
            return Error(*[_placed(part, before, y) for part in parts])
        case Quantize():
            size = error.fixed + certainty() * error.variance.sqrt()
            return surely(flips(op, operands[0], torch.minimum(size, error.peak)))
        case Dequantize():
            return error.scaled(op.scale)
        case _:
            assert_never(op)


def _through_group(
    op: GroupNorm[int], error: Error, x: Tensor, constants: Sequence[Tensor]
) -> Error:
    """The derivative of a normalisation is r (1 - 1/n - z z'/n) w with z the normalised values, |z z'| <= n: at most
    2 r |w| times the largest error of the group."""
    flat = x.reshape(len(x), op.groups, -1)
    inverse = torch.rsqrt(flat.var(2, unbiased=False, keepdim=True) + op.eps)

    def through(part: Tensor) -> Tensor:
        groups = part.reshape(flat.shape)
        return (groups + groups.amax(2, keepdim=True)).reshape(x.shape)

    scale = (inverse.expand(flat.shape)).reshape(x.shape) * column(single(constants[0])).abs()
    found = Error(through(error.peak), through(error.fixed), through(error.variance))
    return found.scaled(scale)


def _placed(part: Tensor, before: int, y: Tensor) -> Tensor:
    whole = torch.zeros_like(y)
    whole[:, before : before + part.shape[1]] = part
    return whole


def flips(op: Quantize, x: Tensor, error: Tensor) -> Tensor:
    """By how many codes a quantised value may differ where `x` is off by `error`: none but near the middle between two
    codes."""
    return (quantize(op, x + error) - quantize(op, x - error)).abs()


def linear(
    op: Conv[int] | Linear[int], x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """A convolution or a linear layer with any weight."""
    if isinstance(op, Conv):
        return convolution(op, x, weight, bias)
    return functional.linear(x, weight, bias)


def single(tensor: Tensor) -> Tensor:
    """In float32, which is enough for a bound."""
    return tensor.to(torch.float32)
