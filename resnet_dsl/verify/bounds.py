"""How far a target's value may be from what it must be, given what the target's own operands are.

An `Error` has three parts, each (N, C, H, W) or (N, F) like the value:
- `peak`: no element is off by more;
- `fixed`: what is sure for each element, such as the rounding of a result or the digits of a function;
- `variance`: of the rest, the roundings inside of sums, a proxy in the sense of Higham & Mary's model: E exp(t e) <=
  exp(t² variance / 2).

Sums of n terms t_i = w_i x_i, the bias one of them, are formed in an order that the target chooses, by additions that
round to s_k (1 + δ_k), where s_k are partial sums; blocked and fused ones round less often:
- peak: γ̃_n(λ) Σ|t_i| (Higham & Mary 2019, theorem 3.1).
- variance: u² (Σ_k s_k² + Σ_i t_i²), by Azuma's inequality as in Ipsen & Zhou 2020, "Probabilistic error analysis
  for inner products", SIAM J. Matrix Anal. Appl. 41(4). For an order of channels that knows nothing of the signs of
  what they add, E s_k² = (k/n)² s_n² + (k/n)(1 - k/n) Σ_c T_c², T_c being the sum over the window in channel c, and
  Σ_c T_c² <= K Σ_i t_i² for windows of K places. Summed over k: n/3 s_n² + K n/6 Σ_i t_i². Sharper than the peak by
  about sqrt(n), which is what finds an epsilon of 1e-3 where 1e-5 was meant.

Functions: OpenCL 3.0, table 38, asks 3 ulp of exp, 5 of tanh, 16 of erf and 2 of log1p, and 2.5 of a division; the
constants below follow from how each function is composed of them. Runtimes that approximate by rational functions are
off by a few ulp of the largest value, 1, which is why sigmoid and tanh have an absolute part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from resnet_dsl.verify.interpreter import apply, column, convolution, quantize
from resnet_dsl.verify.rounding import UNITS, Arithmetic, Unit, certainty, gamma

_EXACT = (MaxPool, Flatten, Dropout, DropPath, Subsample, PadChannels, Concat)

# (c, d): off by u (c + d |x|) at most, beside the rounding of the result; see above. Largest slope.
_FUNCTIONS: dict[str, tuple[float, float, float]] = {
    "relu": (0, 0, 1),
    "relu6": (0, 0, 1),
    "leaky_relu": (0, 1, 1),
    "elu": (4, 0, 1),  # exp(x) <= 1 to 3 ulp, less 1
    "gelu": (0, 10, 1.13),  # x/2 of 1 + erf, which is off by 16 ulp of 1
    "silu": (0, 6, 1.1),  # x times sigmoid
    "mish": (0, 8, 1.09),  # x times tanh of softplus
    "hardswish": (0, 4, 1.5),  # x times hardsigmoid
    "hardsigmoid": (3, 0, 1 / 6),  # 1/6 is rounded, and so are the product and the sum
    "sigmoid": (6, 0, 0.25),  # exp to 3 ulp, a sum and a division
    "tanh": (5, 0, 1),
    "softplus": (6, 0, 1),  # log1p of exp, and an addition of x
}


@dataclass(frozen=True, slots=True)
class Error:
    """What a value may be off by (see the module's docstring)."""

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
    exact = [_single(item) for item in operands]
    y = _single(result)
    own = _own(op, UNITS[dtype], exact, constants, y, arithmetic) if rounds else None
    for place, error in enumerate(errors):
        if error is not None:
            carried = _carried(op, place, error, exact, constants, y)
            own = carried if own is None else own + carried
    return own


def _single(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32)


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
            absolute, relative, _ = _FUNCTIONS[op.kind]
            alpha = max(1.0, abs(op.slope)) if op.kind == "elu" else 1.0
            return surely(u * (alpha * absolute + relative * x.abs() + 2 * y.abs()) + unit.tiny)
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
            return surely(_flips(op, x, 4 * 2.0**-24 * x.abs()))
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
    weight = _single(constants[0])
    places = prod(weight.shape[2:])
    terms = prod(weight.shape[1:]) + 1
    bias = _single(constants[1]).abs() if len(constants) > 1 else None
    sizes = _linear(op, x.abs(), weight.abs(), bias)
    squares = _linear(op, x.square(), weight.square())
    u = arithmetic.sums.roundoff
    peak = gamma(terms, arithmetic.sums) * sizes + terms * arithmetic.sums.tiny
    variance = u * u * (terms / 3 * y.square() + (places * terms / 6 + 1) * squares)
    if arithmetic.reads:  # both operands of each product are rounded
        variance = variance + 2 * arithmetic.reads**2 * squares
        peak = peak + certainty() * arithmetic.reads * (2 * squares).sqrt()
    return Error(peak, u * y.abs() + terms * arithmetic.sums.tiny, variance)


def _linear(
    op: Conv[int] | Linear[int], x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    if isinstance(op, Conv):
        return convolution(op, x, weight, bias)
    return torch.nn.functional.linear(x, weight, bias)


def _normal_size(
    op: BatchNorm[int] | FrozenBatchNorm[int], x: Tensor, constants: Sequence[Tensor]
) -> Tensor:
    """|x s| + |mean s| + |bias| with s the scale, which is what the eight roundings of a normalisation (three of s, two
    of each product, one of the sum) are relative to."""
    weight, shift, mean, variance = (column(_single(item)) for item in constants)
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
    weight, shift = (column(_single(item)) for item in constants)
    parts = (of_mean + of_scale + unit.roundoff * flat.abs() * inverse).reshape(x.shape)
    return surely(weight.abs() * parts + 4 * unit.roundoff * shift.abs() + unit.tiny)


def _carried(
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
            weight = _single(constants[0])
            fixed = _linear(op, error.fixed, weight.abs())
            variance = _linear(op, error.variance, weight.square())
            peak = _linear(op, error.peak, weight.abs())
            return Error(
                torch.minimum(peak, fixed + certainty() * variance.sqrt()), fixed, variance
            )
        case BatchNorm() | FrozenBatchNorm():
            weight, _, _, variance = (column(_single(item)) for item in constants)
            return error.scaled(weight / torch.sqrt(variance + op.eps))
        case GroupNorm():
            return _through_group(op, error, operands[0], constants)
        case Activation():
            slope = _FUNCTIONS[op.kind][2]
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
            return surely(_flips(op, operands[0], torch.minimum(size, error.peak)))
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

    scale = (inverse.expand(flat.shape)).reshape(x.shape) * column(_single(constants[0])).abs()
    found = Error(through(error.peak), through(error.fixed), through(error.variance))
    return found.scaled(scale)


def _placed(part: Tensor, before: int, y: Tensor) -> Tensor:
    whole = torch.zeros_like(y)
    whole[:, before : before + part.shape[1]] = part
    return whole


def _flips(op: Quantize, x: Tensor, error: Tensor) -> Tensor:
    """By how many codes a quantised value may differ where `x` is off by `error`: none but near the middle between two
    codes."""
    return (quantize(op, x + error) - quantize(op, x - error)).abs()
