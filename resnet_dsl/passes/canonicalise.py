"""Canonical form: operations that do nothing are gone, and pooling to a size is plain pooling where
it can be.

1. A pooling of kernel 1 and stride 1 is the identity.
2. Taking every first row and column (`Subsample` of stride 1) is the identity.
3. Padding channels to as many as there are is the identity.
4. Adaptive pooling to the size that the input has is the identity.
5. Flattening what is flat is the identity.
6. A sum, a product or a concatenation of one operand is that operand.
7. A cast to the type that the operand has is the identity.
8. Adaptive pooling whose windows [floor(i n / m), ceil((i + 1) n / m)) are all equal and evenly
   spaced is average pooling with that window and stride. Pooling to (1, 1) keeps its own form: it
   is global for an image of any size.

Requires: a verified graph. Ensures: none of 1 to 7 is left, and 8 only where the windows differ.
With `fixed_size=False` (height and width not known until the network runs) rules 4 and 8 hold for
no image but the spec's, and are left out, except for pooling a size of 1 to a size of 1.
"""

from __future__ import annotations

from dataclasses import replace

from resnet_dsl.ir.graph import DType, Graph, Node, Shape
from resnet_dsl.ir.ops import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    Cast,
    Concat,
    Flatten,
    MaxPool,
    Multiply,
    PadChannels,
    Subsample,
)
from resnet_dsl.passes.rewrite import rewrite


def canonicalise(graph: Graph, *, fixed_size: bool = True) -> Graph:
    """The graph in canonical form (see the module's docstring)."""
    shapes: list[Shape] = [graph.input]
    dtypes: list[DType] = ["float32"]

    def change(node: Node) -> Node | int:
        # A node that stays becomes the next value, so the lists are by new value numbers.
        first = node.inputs[0]
        if _is_identity(node, shapes[first], dtypes[first], fixed_size):
            return first
        if fixed_size and isinstance(node.op, AdaptiveAvgPool):
            node = _plain_pooling(node, node.op, shapes[first])
        shapes.append(node.shape)
        dtypes.append(node.dtype)
        return node

    return rewrite(graph, change)


def even_windows(size: int, count: int) -> tuple[int, int] | None:
    """Kernel and stride of the average pooling that takes `size` places to `count`; None where the
    windows of adaptive pooling differ in length or spacing.
    """
    starts = [place * size // count for place in range(count)]
    kernel = -(-size // count)
    if any(-(-(place + 1) * size // count) - starts[place] != kernel for place in range(count)):
        return None
    if count == 1:
        return kernel, kernel
    stride = starts[1]
    if stride < 1 or any(start != place * stride for place, start in enumerate(starts)):
        return None
    return kernel, stride


def _is_identity(node: Node, shape: Shape, dtype: DType, fixed_size: bool) -> bool:
    match node.op:
        case MaxPool(kernel=(1, 1), stride=(1, 1)) | AvgPool(kernel=(1, 1), stride=(1, 1)):
            return True
        case Subsample(stride=1):
            return True
        case PadChannels(in_channels=before, out_channels=after):
            return before == after
        case AdaptiveAvgPool(size=size):
            return size == shape[1:] and (fixed_size or size == (1, 1))
        case Flatten():
            return len(shape) == 1
        case Add() | Multiply() | Concat():
            return len(node.inputs) == 1
        case Cast(dtype=target):
            return target == dtype
        case _:
            return False


def _plain_pooling(node: Node, op: AdaptiveAvgPool[int], shape: Shape) -> Node:
    if op.size == (1, 1):
        return node
    rows = even_windows(shape[1], op.size[0])
    columns = even_windows(shape[2], op.size[1])
    if rows is None or columns is None:
        return node
    plain = AvgPool((rows[0], columns[0]), (rows[1], columns[1]), (0, 0))
    return replace(node, op=plain)
