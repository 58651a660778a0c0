"""A graph's operations in float64: what each must be, whatever computes it.

One function, one case an operation, on torch tensors of float64 (N, C, H, W) or (N, F). Codes of a quantised value are
whole numbers in float64; those of float8 are the numbers that they stand for, before the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from resnet_dsl.ir.graph import LARGEST_CODE, ConcreteOp
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


def apply(op: ConcreteOp, inputs: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
    """The operation at inference, as mathematics has it: a Cast is the identity, since rounding is an error."""
    x = inputs[0]
    bias = constants[1] if len(constants) > 1 else None
    match op:
        case Conv():
            return convolution(op, x, constants[0], bias)
        case Linear():
            return functional.linear(x, constants[0], bias)
        case BatchNorm() | FrozenBatchNorm():
            weight, shift, mean, variance = (column(item) for item in constants)
            return (x - mean) * (weight / torch.sqrt(variance + op.eps)) + shift
        case GroupNorm():
            normal = group_normal(op, x)
            return normal * column(constants[0]) + column(constants[1])
        case Activation():
            return activation(op, x)
        case MaxPool():
            return functional.max_pool2d(x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil)
        case AvgPool():
            return functional.avg_pool2d(
                x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil, count_include_pad=False
            )
        case AdaptiveAvgPool():
            return functional.adaptive_avg_pool2d(x, op.size)
        case Flatten():
            return torch.flatten(x, 1)
        case Dropout() | DropPath() | Cast():
            return x
        case Subsample():
            return x[:, :, :: op.stride, :: op.stride]
        case PadChannels():
            more = op.out_channels - op.in_channels
            before = more // 2 if op.side == "symmetric" else 0
            return functional.pad(x, (0, 0, 0, 0, before, more - before))
        case Add():
            total = x
            for other in inputs[1:]:
                total = total + other
            return total
        case Multiply():
            product = x
            for other in inputs[1:]:
                product = product * other
            return product
        case Concat():
            return torch.cat(list(inputs), 1)
        case Gate():
            inner, carried, gate = inputs
            return inner * gate + carried * (1 - gate)
        case Quantize():
            return quantize(op, x)
        case Dequantize():
            return (x - op.zero_point) * op.scale
        case _:
            assert_never(op)


def convolution(op: Conv[int], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution of an operation with any weight, in the tensors' own element type."""
    return functional.conv2d(x, weight, bias, op.stride, op.padding, op.dilation, op.groups)


def column(vector: Tensor) -> Tensor:
    """(C,) -> (C, 1, 1), to go with an image."""
    return vector.reshape(-1, 1, 1)


def group_normal(op: GroupNorm[int], x: Tensor) -> Tensor:
    """The normalisation without its weight and bias."""
    flat = x.reshape(len(x), op.groups, -1)
    centred = flat - flat.mean(2, keepdim=True)
    scale = torch.rsqrt(centred.square().mean(2, keepdim=True) + op.eps)
    return (centred * scale).reshape(x.shape)


def quantize(op: Quantize, x: Tensor) -> Tensor:
    """The codes of a value; those of int8 reach to -128, as ONNX and TensorRT have it."""
    parts = x / op.scale
    largest = LARGEST_CODE[op.dtype]
    match op.dtype:
        case "int8":
            return torch.clamp(torch.round(parts) + op.zero_point, -128, largest)
        case "uint8":
            return torch.clamp(torch.round(parts) + op.zero_point, 0, largest)
        case "float8_e4m3fn":
            clipped = torch.clamp(parts, -largest, largest)
            return torch.copysign(torch.round(clipped / spacing(clipped)) * spacing(clipped), parts)


def spacing(parts: Tensor) -> Tensor:
    """The distance between numbers of float8_e4m3fn around each of `parts`: 2**-9 below 2**-6, then an eighth of the
    power of two below."""
    exponent = torch.floor(torch.log2(parts.abs().clamp(min=2.0**-6)))
    return torch.exp2(exponent - 3)


def activation(op: Activation, x: Tensor) -> Tensor:
    """The elementwise function."""
    match op.kind:
        case "relu":
            return functional.relu(x)
        case "relu6":
            return functional.relu6(x)
        case "leaky_relu":
            return functional.leaky_relu(x, op.slope)
        case "elu":
            return functional.elu(x, op.slope)
        case "gelu":
            return functional.gelu(x)
        case "silu":
            return functional.silu(x)
        case "mish":
            return x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))
        case "hardswish":
            return functional.hardswish(x)
        case "hardsigmoid":
            return functional.hardsigmoid(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "tanh":
            return torch.tanh(x)
        case "softplus":
            return torch.logaddexp(x, torch.zeros_like(x))  # torch's own ends at x = 20
        case _:
            assert_never(op.kind)
