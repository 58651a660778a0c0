"""Receptive fields: how much of the image one place of a tensor can see (Araujo, Norris & Sim 2019,
eq. 2).

A window of kernel k, dilation d and stride s after a tensor with size r and jump j has size r + d ·
(k - 1) · j and jump j · s. The size is that of the formula and is not cut at the image's edge, so
deep networks have fields larger than their image. Where paths join, the largest counts. A result
that sees everything (after global pooling, or a linear layer) is `whole`; joined with a path that
does not (squeeze-and-excitation), the result sees everything too and `size` stays that of the other
path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from resnet_dsl.analysis.values import shapes
from resnet_dsl.ir.graph import Graph, Node, Shape
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

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """`size` and `jump` (distance of neighbours) in pixels of the image, (height, width)."""

    size: Pair = (1, 1)
    jump: Pair = (1, 1)
    whole: bool = False


def receptive_fields(graph: Graph) -> tuple[ReceptiveField, ...]:
    """The field of each node's result, in the graph's order."""
    shape = shapes(graph)
    image = (graph.input[-2], graph.input[-1])
    fields = [ReceptiveField()]
    for node in graph.nodes:
        operands = [fields[value] for value in node.inputs]
        fields.append(_field(node, operands, shape[node.inputs[0]], image))
    return tuple(fields[1:])


def _field(node: Node, operands: list[ReceptiveField], shape: Shape, image: Pair) -> ReceptiveField:
    field = operands[0]
    match node.op:
        case Conv(kernel=kernel, stride=stride, dilation=dilation):
            window = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
            return _window(field, window, stride)
        case MaxPool(kernel=kernel, stride=stride) | AvgPool(kernel=kernel, stride=stride):
            return _window(field, kernel, stride)
        case AdaptiveAvgPool(size=(1, 1)) | Linear():
            return ReceptiveField(image, image, whole=True)
        case AdaptiveAvgPool(size=size):
            vertical, horizontal = _adaptive(shape[-2], size[0]), _adaptive(shape[-1], size[1])
            return _window(field, (vertical[0], horizontal[0]), (vertical[1], horizontal[1]))
        case Subsample(stride=step):
            return _window(field, (1, 1), (step, step))
        case Add() | Multiply() | Concat() | Gate():
            return _join(operands)
        case BatchNorm() | FrozenBatchNorm() | GroupNorm() | Activation() | PadChannels():
            return field
        case Flatten() | Dropout() | DropPath() | Cast() | Quantize() | Dequantize():
            return field
        case unreachable:
            assert_never(unreachable)


def _window(field: ReceptiveField, kernel: Pair, stride: Pair) -> ReceptiveField:
    if field.whole:
        return field
    (height, width), (down, across) = field.size, field.jump
    size = (height + (kernel[0] - 1) * down, width + (kernel[1] - 1) * across)
    return ReceptiveField(size, (down * stride[0], across * stride[1]))


def _join(fields: list[ReceptiveField]) -> ReceptiveField:
    local = [field for field in fields if not field.whole] or fields
    return ReceptiveField(
        size=(max(f.size[0] for f in local), max(f.size[1] for f in local)),
        jump=(max(f.jump[0] for f in local), max(f.jump[1] for f in local)),
        whole=any(field.whole for field in fields),
    )


def _adaptive(length: int, out: int) -> Pair:
    """Largest window and stride of adaptive pooling, whose window i covers floor(i·L/n) up to
    ceil((i+1)·L/n).
    """
    largest = max(-(-(i + 1) * length // out) - i * length // out for i in range(out))
    return largest, max(length // out, 1)
