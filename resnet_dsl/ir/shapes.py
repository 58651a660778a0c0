"""The shape rule of every operation.

Shapes leave out the batch: `(C, H, W)`, or `(F,)` after a flatten. The rules are torch's, with its
floor and ceiling conventions, so that a graph has the same shapes on every target. The messages of
`ShapeError` are shown to users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from resnet_dsl.ir.graph import ConcreteOp, Shape
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


class ShapeError(ValueError):
    """An operation that its operands' shapes, or its own numbers, do not allow."""


def infer(op: ConcreteOp, inputs: Sequence[Shape]) -> Shape:
    """The shape of the operation's result; raises ShapeError."""
    match op:
        case Conv():
            return _conv(op, _image(op, inputs))
        case BatchNorm() | FrozenBatchNorm():
            shape = _image(op, inputs)
            _require_channels("the normalisation", op.channels, shape)
            return shape
        case Activation() | Dropout() | DropPath() | Cast() | Quantize() | Dequantize():
            return _only(op, inputs)
        case Add():
            return _equal("addition", inputs)
        case MaxPool() | AvgPool():
            return _pool(op, _image(op, inputs))
        case AdaptiveAvgPool():
            channels = _image(op, inputs)[0]
            _at_least(1, "the size of an adaptive pooling", *op.size)
            return (channels, *op.size)
        case Flatten():
            features = 1
            for size in _only(op, inputs):
                features *= size
            return (features,)
        case Linear():
            return _linear(op, _only(op, inputs))
        case GroupNorm():
            shape = _image(op, inputs)
            _require_channels("the group normalisation", op.channels, shape)
            _at_least(1, "the number of groups", op.groups)
            if op.channels % op.groups:
                raise ShapeError(f"{op.groups} groups do not divide {op.channels} channels")
            if op.groups == shape[0] * shape[1] * shape[2]:
                raise ShapeError(
                    f"each of the {op.groups} groups has one number, and less its mean that is 0; "
                    "torch refuses it for an image alone"
                )
            return shape
        case Subsample():
            channels, height, width = _image(op, inputs)
            _at_least(1, "the stride", op.stride)
            return (channels, -(-height // op.stride), -(-width // op.stride))
        case PadChannels():
            return _pad_channels(op, _image(op, inputs))
        case Multiply():
            return _multiply(inputs)
        case Concat():
            return _concat(inputs)
        case Gate():
            _count(op, inputs, 3)
            return _equal("gate", inputs)
        case _:
            assert_never(op)


def show(shape: Shape) -> str:
    """A shape as messages print it: `64×56×56`, or `512 features` for a flat one."""
    return f"{shape[0]} features" if len(shape) == 1 else "×".join(map(str, shape))


def convolved(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """The output size of a convolution along one axis: windows that fit into the padded input."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def pooled(size: int, kernel: int, stride: int, padding: int, ceil: bool) -> int:
    """The output size of a pooling along one axis. With `ceil` a last, partial window counts, but
    only if it starts inside the input or the padding before it (torch's rule; one that starts in
    the padding after it would be empty).
    """
    room = size + 2 * padding - kernel
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _conv(op: Conv[int], shape: Shape) -> Shape:
    _require_channels("the convolution", op.in_channels, shape)
    _at_least(1, "the number of output channels", op.out_channels)
    _at_least(1, "the kernel size", *op.kernel)
    _at_least(1, "the stride", *op.stride)
    _at_least(1, "the dilation", *op.dilation)
    _at_least(0, "the padding", *op.padding)
    _at_least(1, "the number of groups", op.groups)
    for channels, side in ((op.in_channels, "input"), (op.out_channels, "output")):
        if channels % op.groups:
            raise ShapeError(f"{op.groups} groups do not divide {channels} {side} channels")
    height, width = (
        convolved(
            shape[axis + 1], op.kernel[axis], op.stride[axis], op.padding[axis], op.dilation[axis]
        )
        for axis in (0, 1)
    )
    if height < 1 or width < 1:
        spread = tuple(op.dilation[axis] * (op.kernel[axis] - 1) + 1 for axis in (0, 1))
        _window_too_large(spread, op.padding, shape)
    return (op.out_channels, height, width)


def _pool(op: MaxPool[int] | AvgPool[int], shape: Shape) -> Shape:
    _at_least(1, "the kernel size", *op.kernel)
    _at_least(1, "the stride", *op.stride)
    _at_least(0, "the padding", *op.padding)
    for kernel, padding in zip(op.kernel, op.padding, strict=True):
        if 2 * padding > kernel:
            raise ShapeError(
                f"the pooling's padding of {padding} is more than half of its kernel of {kernel}, "
                "so some windows could hold nothing but padding"
            )
    height, width = (
        pooled(shape[axis + 1], op.kernel[axis], op.stride[axis], op.padding[axis], op.ceil)
        for axis in (0, 1)
    )
    if height < 1 or width < 1:
        _window_too_large(op.kernel, op.padding, shape)
    return (shape[0], height, width)


def _linear(op: Linear[int], shape: Shape) -> Shape:
    if len(shape) != 1:
        raise ShapeError(
            f"a linear layer needs a flat input, but gets {show(shape)}; flatten it first"
        )
    _at_least(1, "the number of output features", op.out_features)
    if shape[0] != op.in_features:
        raise ShapeError(
            f"the linear layer takes {op.in_features} features, but its input has {shape[0]}"
        )
    return (op.out_features,)


def _pad_channels(op: PadChannels[int], shape: Shape) -> Shape:
    _require_channels("the channel padding", op.in_channels, shape)
    if op.out_channels < op.in_channels:
        raise ShapeError(
            f"padding can only add channels: {op.in_channels} cannot become {op.out_channels}; "
            "a projection (shortcut B) can"
        )
    return (op.out_channels, *shape[1:])


def _multiply(inputs: Sequence[Shape]) -> Shape:
    result = _first("multiplication", inputs)
    for shape in inputs[1:]:
        fits = len(shape) == len(result) and shape[0] == result[0]
        if not fits or any(
            a != b and 1 not in (a, b) for a, b in zip(shape[1:], result[1:], strict=True)
        ):
            raise ShapeError(
                f"a multiplication of unequal shapes: {show(result)} and {show(shape)}"
            )
        result = tuple(map(max, shape, result))
    return result


def _concat(inputs: Sequence[Shape]) -> Shape:
    first = _first("concatenation", inputs)
    for shape in inputs[1:]:
        if shape[1:] != first[1:] or len(shape) != len(first):
            raise ShapeError(
                "a concatenation needs operands of the same height and width: "
                f"{show(first)} and {show(shape)}"
            )
    return (sum(shape[0] for shape in inputs), *first[1:])


def _equal(what: str, inputs: Sequence[Shape]) -> Shape:
    first = _first(what, inputs)
    for shape in inputs:
        if shape != first:
            article = "an" if what[0] in "aeiou" else "a"
            raise ShapeError(f"{article} {what} of unequal shapes: {show(first)} and {show(shape)}")
    return first


def _first(what: str, inputs: Sequence[Shape]) -> Shape:
    if not inputs:
        raise ShapeError(f"the {what} has no operands")
    return inputs[0]


def _count(op: ConcreteOp, inputs: Sequence[Shape], expected: int) -> None:
    if len(inputs) != expected:
        raise ShapeError(f"{type(op).__name__} takes {expected} operands and gets {len(inputs)}")


def _only(op: ConcreteOp, inputs: Sequence[Shape]) -> Shape:
    _count(op, inputs, 1)
    return inputs[0]


def _image(op: ConcreteOp, inputs: Sequence[Shape]) -> Shape:
    shape = _only(op, inputs)
    if len(shape) != 3:
        raise ShapeError(
            f"{type(op).__name__} needs an image (channels, height, width), but its input is flat"
        )
    return shape


def _require_channels(who: str, channels: int, shape: Shape) -> None:
    if channels != shape[0]:
        raise ShapeError(f"{who} takes {channels} channels, but its input has {shape[0]}")


def _at_least(least: int, what: str, *values: int) -> None:
    for value in values:
        if value < least:
            raise ShapeError(f"{what} must be at least {least}, not {value}")


def _window_too_large(window: tuple[int, ...], padding: tuple[int, int], shape: Shape) -> None:
    padded = "×".join(str(shape[axis + 1] + 2 * padding[axis]) for axis in (0, 1))
    raise ShapeError(
        f"a window of {'×'.join(map(str, window))} is larger than the padded input of {padded}"
    )
