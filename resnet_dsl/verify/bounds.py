"""How far a target's value may be from what it must be, given what the target's own operands are.

Sums of n terms t_i = w_i x_i, the bias one of them, are formed in an order that the target chooses, by additions that
round to s_k (1 + δ_k), where s_k are partial sums; blocked and fused ones round less often:
- peak: γ̃_n(λ) Σ|t_i| (Higham & Mary 2019, theorem 3.1).
- variance: u² (Σ_k s_k² + Σ_i t_i²), by Azuma's inequality as in Ipsen & Zhou 2020, "Probabilistic error analysis
  for inner products", SIAM J. Matrix Anal. Appl. 41(4). For an order of channels that knows nothing of the signs of
  what they add, E s_k² = (k/n)² s_n² + (k/n)(1 - k/n) Σ_c T_c², T_c being the sum over the window in channel c, and
  Σ_c T_c² <= K Σ_i t_i² for windows of K places. Summed over k: n/3 s_n² + K n/6 Σ_i t_i². Sharper than the peak by
  about sqrt(n), which is what finds an epsilon of 1e-3 where 1e-5 was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import assert_never

import torch
from torch import Tensor

from resnet_dsl.ir.graph import ConcreteOp, FloatType
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
from resnet_dsl.verify.carried import carried, flips, linear, single
from resnet_dsl.verify.error import Error, surely
from resnet_dsl.verify.functions import FUNCTIONS
from resnet_dsl.verify.interpreter import apply, column
from resnet_dsl.verify.rounding import UNITS, Arithmetic, Unit, certainty, gamma

_EXACT = (MaxPool, Flatten, Dropout, DropPath, Subsample, PadChannels, Concat)


def error_of(
    op: ConcreteOp,
    dtype: FloatType,
    operands: Sequence[Tensor],
    errors: Sequence[Error | None],
    constants: Sequence[Tensor],
    result: Tensor,
    arithmetic: Arithmetic,
) -> Error | None:
    """What `result`, an operation's in float64 on `operands`, may be off by in a target whose operands are off by
    `errors` (None: not at all) and which keeps the result in `dtype`; None: not at all."""
    rounds = not isinstance(op, _EXACT) and not (
        isinstance(op, Activation) and op.kind in ("relu", "relu6")
    )
    if not rounds and all(error is None for error in errors):
        return None
    exact = [single(item) for item in operands]
    y = single(result)
    own = _own(op, UNITS[dtype], exact, constants, y, arithmetic) if rounds else None
    for place, error in enumerate(errors):
        if error is not None:
            more = carried(op, place, error, exact, constants, y)
            own = more if own is None else own + more
    return own


def _own(
    op: ConcreteOp,
    unit: Unit,
    operands: Sequence[Tensor],
    constants: Sequence[Tensor],
    y: Tensor,
    arithmetic: Arithmetic,
) -> Error:
    """The error that the operation itself makes."""
    x, u = operands[0], unit.roundoff
    match op:
        case Conv() | Linear():
            return _stored(_sum_of(op, operands[0], constants, y, arithmetic), y, unit)
        case AvgPool() | AdaptiveAvgPool():
            n = prod(op.kernel) if isinstance(op, AvgPool) else prod(x.shape[2:])
            size = apply(op, [x.abs()], [])
            fixed = (2 * arithmetic.sums.roundoff) * size
            spread = (arithmetic.sums.roundoff * size).square() * n
            own = Error(gamma(n + 2, arithmetic.sums) * size, fixed, spread)
            return _stored(own, y, unit)
        case BatchNorm() | FrozenBatchNorm():
            return surely(8 * u * _normal_size(op, x, constants) + unit.tiny)
        case GroupNorm():
            return _stored(_group_error(op, x, constants, arithmetic.sums), y, unit)
        case Activation():
            digits = FUNCTIONS[op.kind]
            alpha = max(1.0, abs(op.slope)) if op.kind == "elu" else 1.0
            return surely(
                u * (alpha * digits.absolute + digits.relative * x.abs() + 2 * y.abs()) + unit.tiny
            )
        case Add():
            between = reduce(torch.add, [item.abs() for item in operands])
            return surely(u * (y.abs() + (len(operands) - 2) * between) + unit.tiny)
        case Multiply():
            return surely((len(operands) - 1) * (u * y.abs() + unit.tiny))
        case Gate():
            h, carried, t = operands
            either = 2 * (h * t).abs() + 3 * carried.abs() + 3 * (t * (h - carried)).abs()
            return surely(u * (either + y.abs()) + unit.tiny)
        case Cast():
            return surely(_rounded(y, unit))
        case Quantize():
            return surely(flips(op, x, 4 * 2.0**-24 * x.abs()))
        case Dequantize():
            return surely(_rounded(y, unit))
        case (
            MaxPool() | Flatten() | Dropout() | DropPath() | Subsample() | PadChannels() | Concat()
        ):
            return surely(torch.zeros_like(y))
        case _:
            assert_never(op)


def _stored(sums: Error, y: Tensor, unit: Unit) -> Error:
    """A sum's error, and that of its rounding to the type that it is kept in."""
    return sums + surely(_rounded(y, unit)) if unit.name != "float32" else sums


def _rounded(y: Tensor, unit: Unit) -> Tensor:
    return unit.roundoff * y.abs() + unit.tiny


def _sum_of(
    op: Conv[int] | Linear[int],
    x: Tensor,
    constants: Sequence[Tensor],
    y: Tensor,
    arithmetic: Arithmetic,
) -> Error:
    """The sums of a convolution or a linear layer."""
    weight = single(constants[0])
    places = prod(weight.shape[2:])
    terms = prod(weight.shape[1:]) + 1
    bias = single(constants[1]).abs() if len(constants) > 1 else None
    sizes = linear(op, x.abs(), weight.abs(), bias)
    squares = linear(op, x.square(), weight.square())
    u = arithmetic.sums.roundoff
    peak = gamma(terms, arithmetic.sums) * sizes + terms * arithmetic.sums.tiny
    variance = u * u * (terms / 3 * y.square() + (places * terms / 6 + 1) * squares)
    if arithmetic.reads:  # both operands of each product are rounded
        variance = variance + 2 * arithmetic.reads**2 * squares
        peak = peak + certainty() * arithmetic.reads * (2 * squares).sqrt()
    return Error(peak, u * y.abs() + terms * arithmetic.sums.tiny, variance)


def _normal_size(
    op: BatchNorm[int] | FrozenBatchNorm[int], x: Tensor, constants: Sequence[Tensor]
) -> Tensor:
    """|x s| + |mean s| + |bias| with s the scale, which is what the eight roundings of a normalisation (three of s, two
    of each product, one of the sum) are relative to."""
    weight, shift, mean, variance = (column(single(item)) for item in constants)
    scale = (weight / torch.sqrt(variance + op.eps)).abs()
    return (x.abs() + mean.abs()) * scale + shift.abs()


def _group_error(op: GroupNorm[int], x: Tensor, constants: Sequence[Tensor], unit: Unit) -> Error:
    """y = w (x - m) r + b with r = 1/sqrt(v + eps). To first order m is off by γ̃_n mean|x|, and v, even as the mean
    of squares less the square of the mean, by 2 γ̃_n mean x², so that r is off by γ̃_n mean x² r² of itself."""
    flat = x.reshape(len(x), op.groups, -1)
    g = gamma(flat.shape[2] + 2, unit)
    mean, square = flat.mean(2, keepdim=True), flat.square().mean(2, keepdim=True)
    inverse = torch.rsqrt((square - mean.square()).clamp(min=0) + op.eps)
    of_mean = g * flat.abs().mean(2, keepdim=True) * inverse
    of_scale = (g * square * inverse.square() + 8 * unit.roundoff) * ((flat - mean).abs() * inverse)
    weight, shift = (column(single(item)) for item in constants)
    parts = (of_mean + of_scale + unit.roundoff * flat.abs() * inverse).reshape(x.shape)
    return surely(weight.abs() * parts + 4 * unit.roundoff * shift.abs() + unit.tiny)
