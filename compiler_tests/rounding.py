"""What one operation may make of its operands in a type of few bits: the exact result, and how far from it is allowed.

All bounds follow from the types. A number that is rounded to p bits of mantissa moves by no more than u = 2**-p of
itself (11 for float16, 24 for float32), or by a part of the type's smallest number; a sum of n products in float32 by
n u of the sum of magnitudes (Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1); a code of
int8 or uint8 is half a scale away from what it stands for; one of float8 a sixteenth of it, or half of the smallest
subnormal. Operands are those that the operation has read, so that errors do not pile up, and neither do bounds.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch

from compiler_tests import torch_reference
from resnet_dsl.ir.graph import LARGEST_CODE, Constant, Node
from resnet_dsl.ir.ops import (
    Activation,
    BatchNorm,
    CodeType,
    Conv,
    Dequantize,
    FrozenBatchNorm,
    GroupNorm,
    Linear,
    MaxPool,
)
from resnet_dsl.weights.store import Weights, materialise

Tensor = torch.Tensor
UNIT = {"float32": 2.0**-24, "float16": 2.0**-11}
TINY = {"float32": 2.0**-126, "float16": 2.0**-25}
"""Half of the smallest step near zero; of float32, what may be taken for zero."""
STEPS = 8
"""Operators that one operation is written as, at most, each of which rounds its result."""


def expected(node: Node, operands: list[Tensor], weights: Weights) -> tuple[Tensor, Tensor]:
    """The exact result in float64, and the distance from it that the node's type allows; operands are float64."""
    if isinstance(node.op, Dequantize):
        least, most = _range(node.op)
        kept = operands[0].clamp(least, most)
        return kept, _code(kept, node.op.scale, node.op.dtype, node.dtype)
    plain = [_plain(item, weights) for item in node.constants]
    exact = torch_reference.apply(node.op, operands, plain)
    unit, tiny = UNIT[node.dtype], TINY[node.dtype]
    match node.op:
        case Conv() | Linear():
            sizes = [operands[0].abs()]
            weight = plain[0].abs()
            moved = _weight_error(node.constants[0], plain[0])
            bias = [item.abs() for item in plain[1:]]
            summed = torch_reference.apply(node.op, sizes, [weight, *bias] if bias else [weight])
            bare = [moved, *(torch.zeros_like(item) for item in bias)]
            by_weights = torch_reference.apply(node.op, sizes, bare)
            terms = prod(plain[0].shape[1:]) + 2
            digits = terms * UNIT["float32"] + 3 * unit
            return exact, by_weights + digits * (summed + by_weights) + 3 * tiny
        case BatchNorm() | FrozenBatchNorm():
            gamma, beta, mean, variance = (_by_channel(item) for item in plain)
            factor = gamma.abs() / torch.sqrt(variance + node.op.eps)
            summed = factor * (operands[0].abs() + mean.abs()) + beta.abs()
            # The variance may be so small that float16 has few digits of it.
            parts = STEPS * unit + tiny / (variance + node.op.eps)
            return exact, parts * summed + tiny * (1 + operands[0].abs() + factor)
        case GroupNorm():
            gamma, beta = (_by_channel(item) for item in plain)
            shape = (len(exact), node.op.groups, -1)
            grouped = operands[0].reshape(shape)
            spread = torch.sqrt(grouped.var(2, unbiased=False) + node.op.eps)
            # Means of numbers that may be nearly equal are subtracted: of sums in float32, and of what ONNX Runtime has
            # or has not rounded to float16 before.
            digits = 4 * unit + 64 * UNIT["float32"] * grouped.shape[2]
            lost = grouped.abs().amax(2) / spread * digits
            lost = lost.repeat_interleave(exact.shape[1] // node.op.groups, 1)
            lost = lost.reshape(*lost.shape, *[1] * (exact.ndim - 2))
            normal = torch.nn.functional.group_norm(operands[0], node.op.groups, eps=node.op.eps)
            summed = gamma.abs() * (normal.abs() * (1 + lost) + lost) + beta.abs()
            by_means = gamma.abs() * lost * (1 + normal.abs())
            return exact, by_means + STEPS * (unit + tiny) * summed + STEPS * tiny
        case MaxPool():
            return exact, torch.zeros_like(exact)
        case Activation():
            # On the way are e**x - 1 and gates, whose errors are those of numbers of about 1.
            return exact, STEPS * unit * (2 * operands[0].abs() + 1) + STEPS * tiny
        case _:
            bound = STEPS * unit * _most(operands) + STEPS * tiny
            return exact, torch.full_like(exact, bound)


def _most(operands: list[Tensor]) -> float:
    """What sums, products and means of operands, and those on the way, are not above."""
    sizes = [max(float(item.abs().max()), 1.0) for item in operands]
    return max(sum(sizes), prod(sizes))


def _range(op: Dequantize) -> tuple[float, float]:
    """The least and the largest number that there is a code for; what is beyond is cut off."""
    match op.dtype:
        case "uint8":
            return -op.zero_point * op.scale, (255 - op.zero_point) * op.scale
        case "int8":
            return -128 * op.scale, 127 * op.scale
        case _:
            return -448 * op.scale, 448 * op.scale


def _code(x: Tensor, scale: float, codes: CodeType, dtype: str) -> Tensor:
    """How far a number is from its code, of a scale that is for the largest of them."""
    unit = UNIT[dtype]
    if codes == "float8_e4m3fn":
        step = torch.maximum(x.abs() / 16, torch.tensor(scale / 1024))
    else:
        step = torch.full_like(x, scale / 2)
    # The scale is rounded, the quotient, and the product; what a smaller scale cuts off is a part of the largest.
    return step * (1 + 1e-3) + 4 * unit * (x.abs() + scale * LARGEST_CODE[codes]) + TINY[dtype]


def _weight_error(constant: Constant, plain: Tensor) -> Tensor:
    """How far a weight's numbers are from those that are computed with."""
    unit, tiny = UNIT[constant.dtype], TINY[constant.dtype]
    rounded = unit * plain.abs() + tiny
    if constant.encoding is None:
        return rounded
    largest = plain.abs().reshape(len(plain), -1).amax(1)
    largest = largest.reshape(-1, *[1] * (plain.ndim - 1))
    scale = largest / LARGEST_CODE[constant.encoding]
    # A scale that float16 can hardly tell from zero is rounded by much, and its codes are cut off by as much.
    off = tiny * LARGEST_CODE[constant.encoding]
    if constant.encoding == "float8_e4m3fn":
        step = torch.maximum(plain.abs() / 16, scale / 1024)
    else:
        step = (scale / 2).expand_as(plain)
    return step * (1 + 1e-3) + 4 * unit * largest + rounded + off


def _plain(constant: Constant, weights: Weights) -> Tensor:
    """The numbers of a constant before they were narrowed, in float64."""
    wide = replace(constant, encoding=None, dtype="float32")
    return torch.from_numpy(materialise(wide, weights).astype("f8"))


def _by_channel(vector: Tensor) -> Tensor:
    return vector.reshape(1, -1, 1, 1)
