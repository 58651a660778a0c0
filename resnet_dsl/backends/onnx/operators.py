"""Every operation as ONNX operators, newest forms where the opset has them, sums of older ones where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from resnet_dsl.backends.onnx.activations import emit_activation
from resnet_dsl.backends.onnx.builder import GraphBuilder
from resnet_dsl.backends.onnx.proto import ELEMENT_TYPES
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import DType, Node, Shape, floating
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

_TO_THE_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Operands:
    """What a node reads: the names of the values and of the constants, the shape and the element type of the first
    value, and whether its height and width are unknown until the network runs."""

    values: tuple[str, ...]
    constants: tuple[str, ...]
    shape: Shape
    dtype: DType
    dynamic: bool


def emit_operation(build: GraphBuilder, node: Node, result: str, read: Operands) -> str:
    """Add the node's operators, the last of which makes the value `result`. Returns the value's name, which is an
    operand's where the operation does nothing. Raises CompileError RD641 where the size must be known.
    """
    op = node.op
    first = read.values[0]
    match op:
        case Conv():
            return build.node(
                "Conv",
                result,
                (first, *read.constants),
                dilations=op.dilation,
                group=op.groups,
                kernel_shape=op.kernel,
                pads=(*op.padding, *op.padding),
                strides=op.stride,
            )
        case BatchNorm() | FrozenBatchNorm():
            return build.node(
                "BatchNormalization", result, (first, *read.constants), epsilon=op.eps
            )
        case Activation():
            return emit_activation(build, op, floating(node.dtype), result, first)
        case Add():
            return _pairwise(build, "Add", result, read.values)
        case Multiply():
            return _pairwise(build, "Mul", result, read.values)
        case MaxPool():
            return _pool(build, "MaxPool", op, node, result, read)
        case AvgPool():
            return _pool(build, "AveragePool", op, node, result, read)
        case AdaptiveAvgPool():
            return _adaptive_pool(build, op, node, result, read)
        case Flatten():
            if read.dynamic and len(read.shape) > 1:
                raise _size_unknown(
                    node, "flattens an image, so that the features depend on its size"
                )
            return build.node("Flatten", result, (first,), axis=1)
        case Linear():
            return build.node("Gemm", result, (first, *read.constants), transB=1)
        case GroupNorm():
            return _group_norm(build, op, node, result, read)
        case Subsample():
            ends = (_TO_THE_END,) * 2 if read.dynamic else read.shape[1:]
            return build.node(
                "Slice",
                result,
                (
                    first,
                    build.integers(0, 0),
                    build.integers(*ends),
                    build.integers(2, 3),
                    build.integers(op.stride, op.stride),
                ),
            )
        case PadChannels():
            more = op.out_channels - op.in_channels
            before = more // 2 if op.side == "symmetric" else 0
            pads = build.integers(0, before, 0, 0, 0, more - before, 0, 0)
            return build.node("Pad", result, (first, pads))
        case Concat():
            if len(read.values) == 1:
                return first
            return build.node("Concat", result, read.values, axis=1)
        case Gate():
            # h t + x (1 - t) = x + t (h - x): one operator fewer.
            inner, carried, gate = read.values
            difference = build.step("Sub", result, (inner, carried))
            product = build.step("Mul", result, (gate, difference))
            return build.node("Add", result, (carried, product))
        case Cast():
            return build.node("Cast", result, (first,), to=ELEMENT_TYPES[op.dtype])
        case Quantize(dtype, scale, zero):
            step = build.scalar(scale, floating(read.dtype))
            return build.node(
                "QuantizeLinear", result, (first, step, build.zero_point(zero, dtype))
            )
        case Dequantize(dtype, scale, zero):
            step = build.scalar(scale, floating(node.dtype))
            return build.node(
                "DequantizeLinear", result, (first, step, build.zero_point(zero, dtype))
            )
        case Dropout() | DropPath():
            return first
        case _:
            assert_never(op)


def _pairwise(build: GraphBuilder, kind: str, result: str, values: tuple[str, ...]) -> str:
    total = values[0]
    for value in values[1:-1]:
        total = build.step(kind, result, (total, value))
    return build.node(kind, result, (total, values[-1])) if len(values) > 1 else total


def _pool(
    build: GraphBuilder,
    kind: str,
    op: MaxPool[int] | AvgPool[int],
    node: Node,
    result: str,
    read: Operands,
) -> str:
    """Pooling with every window spelled out. ONNX's ceil_mode has meant different things in different versions where
    the last window starts in the padding; so the padding is extended to what the output's size asks for instead, which
    neither kind of pooling counts.
    """
    ends = list(op.padding)
    attributes: dict[str, int] = {}
    if op.ceil and read.dynamic:
        # A window can start in the padding after the input only if stride + padding > kernel.
        if any(op.stride[axis] + op.padding[axis] > op.kernel[axis] for axis in (0, 1)):
            raise _size_unknown(node, "pools with `ceil` and windows that may start in the padding")
        attributes["ceil_mode"] = 1
    elif op.ceil:
        for axis in (0, 1):
            reach = (node.shape[axis + 1] - 1) * op.stride[axis] + op.kernel[axis]
            needed = reach - read.shape[axis + 1] - op.padding[axis]
            ends[axis] = max(needed, op.padding[axis])
    return build.node(
        kind,
        result,
        read.values,
        **attributes,
        kernel_shape=op.kernel,
        pads=(*op.padding, *ends),
        strides=op.stride,
    )


def _adaptive_pool(
    build: GraphBuilder, op: AdaptiveAvgPool[int], node: Node, result: str, read: Operands
) -> str:
    """Global pooling has its operator. Windows that differ are a product with a matrix of their means from the left
    (rows) and one from the right (columns); even windows are plain pooling since the canonicalise pass.
    """
    if op.size == (1, 1):
        return build.node("GlobalAveragePool", result, read.values)
    if read.dynamic:
        raise _size_unknown(node, f"pools to {op.size[0]}×{op.size[1]}")
    rows = _mean_matrix(read.shape[1], op.size[0])
    columns = [
        list(column) for column in zip(*_mean_matrix(read.shape[2], op.size[1]), strict=True)
    ]
    left = build.matrix(f"{node.name}.rows", rows, floating(node.dtype))
    right = build.matrix(f"{node.name}.columns", columns, floating(node.dtype))
    narrow = build.step("MatMul", result, (read.values[0], right))
    return build.node("MatMul", result, (left, narrow))


def _mean_matrix(size: int, count: int) -> list[list[float]]:
    """(count, size): row i holds the weights of the mean over window i, [floor(i n/m), ceil((i+1) n/m))."""
    matrix = [[0.0] * size for _ in range(count)]
    for place, row in enumerate(matrix):
        start, end = place * size // count, -(-(place + 1) * size // count)
        row[start:end] = [1 / (end - start)] * (end - start)
    return matrix


def _group_norm(
    build: GraphBuilder, op: GroupNorm[int], node: Node, result: str, read: Operands
) -> str:
    """GroupNormalization scales per channel since opset 21. Before: each group flattened and normalised as an instance,
    then scaled by a batch normalisation whose statistics change nothing, since it reads the weights as they are stored.
    """
    x, (weight, bias) = read.values[0], read.constants
    if build.opset >= 21:
        return build.node(
            "GroupNormalization", result, (x, weight, bias), epsilon=op.eps, num_groups=op.groups
        )
    flat = build.step("Reshape", result, (x, build.integers(0, op.groups, -1)), "grouped")
    ones = build.filled(1.0, op.groups, floating(node.dtype))
    zeros = build.filled(0.0, op.groups, floating(node.dtype))
    normal = build.step(
        "InstanceNormalization", result, (flat, ones, zeros), "normalised", epsilon=op.eps
    )
    shape = build.step("Shape", result, (x,)) if read.dynamic else build.integers(0, *read.shape)
    back = build.step("Reshape", result, (normal, shape), "ungrouped")
    channels = read.shape[0]
    mean = build.filled(0.0, channels, floating(node.dtype))
    variance = build.filled(1.0, channels, floating(node.dtype))
    return build.node(
        "BatchNormalization", result, (back, weight, bias, mean, variance), epsilon=0.0
    )


def _size_unknown(node: Node, what: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD641",
            f"`{node.name}` {what}, which needs a height and width that are known",
            why="--dynamic-size leaves both open until the network runs",
            hint="leave --dynamic-size out, or end the network in global average pooling",
        )
    )
