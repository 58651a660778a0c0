"""Multiply-adds, and what "FLOPs" means here.

"3.8 or 4.1 GFLOPs?" Tools disagree on ResNet-50 at 224 for three reasons, and each has its own name
here and in the summary.

1. Which network. He et al. 2015 halve the resolution in a bottleneck's first 1×1 convolution:
   3.86e9 multiply-adds, printed as 3.8. torchvision halves it in the 3×3 ("v1.5"): 4.09e9. That is
   a difference of nets, not of counting.
2. Multiply-adds or operations. `macs` counts one multiplication with its addition as one, which is
   what the paper, fvcore and most tables call "FLOPs". `flops_2x_macs` is exactly 2 × MACs, which
   is what hardware data sheets count.
3. Which layers. `macs` counts convolutions and linear layers, at batch 1, without their biases.
   Some tools add normalisations, activations, biases and pooling, about 1 % on ResNet-50; those are
   `elementwise_operations` here, single operations that are never added to `macs`.

Rules of `macs`: a convolution costs C_out · H' · W' · (C_in / groups) · kh · kw, where padded zeros
are multiplied as every other number is; a linear layer costs in_features · out_features.

Rules of `elementwise_operations`, in operations for each element of the result unless said
otherwise: bias 1; batch normalisation 2 (a scale and a shift, at inference); group normalisation 5
(sum, square, sum, scale, shift); activation 1, whatever its kind; add n - 1 and multiply n - 1 for
n operands; gate 4; max pooling kh · kw - 1 comparisons; average pooling kh · kw (sums and one division);
adaptive average pooling 1 for each element of its operand. What moves numbers without computing
(flatten, subsample, concatenate, padding, casts) and what inference leaves out (dropout, drop path)
costs 0.
"""

from __future__ import annotations

from math import prod
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


def macs_per_node(graph: Graph) -> tuple[int, ...]:
    """Multiply-adds of each node, in the graph's order."""
    return tuple(_macs(node) for node in graph.nodes)


def total_macs(graph: Graph) -> int:
    """Multiply-adds of the whole graph: the paper's "FLOPs"."""
    return sum(macs_per_node(graph))


def elementwise_operations_per_node(graph: Graph) -> tuple[int, ...]:
    """Operations outside of the multiply-adds, for each node."""
    shape = shapes(graph)
    return tuple(
        _elementwise(node, [shape[value] for value in node.inputs]) for node in graph.nodes
    )


def _macs(node: Node) -> int:
    match node.op:
        case Conv(in_channels=channels, kernel=(height, width), groups=groups):
            return prod(node.shape) * (channels // groups) * height * width
        case Linear(in_features=features):
            return prod(node.shape) * features
        case _:
            return 0


def _elementwise(node: Node, operands: list[Shape]) -> int:
    size = prod(node.shape)
    match node.op:
        case Conv(bias=bias) | Linear(bias=bias):
            return size if bias else 0
        case BatchNorm() | FrozenBatchNorm():
            return 2 * size
        case GroupNorm():
            return 5 * size
        case Activation():
            return size
        case Add() | Multiply():
            return (len(operands) - 1) * size
        case Gate():
            return 4 * size
        case MaxPool(kernel=(height, width)):
            return (height * width - 1) * size
        case AvgPool(kernel=(height, width)):
            return height * width * size
        case AdaptiveAvgPool():
            return prod(operands[0])
        case Quantize() | Dequantize():
            return 2 * size
        case Flatten() | Subsample() | PadChannels() | Concat() | Cast() | Dropout() | DropPath():
            return 0
        case unreachable:
            assert_never(unreachable)
