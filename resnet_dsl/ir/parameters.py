"""The parameters and buffers of every operation, in the order of torch's state dict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

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
    Init,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Quantize,
    Subsample,
)


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One tensor of an operation: `name` is local (`weight`); `fill` is how it is drawn, or the
    number that fills it."""

    name: str
    shape: Shape
    fill: Init | float
    trainable: bool = True
    dtype: Literal["float32", "int64"] = "float32"


def parameters(op: ConcreteOp) -> tuple[ParameterSpec, ...]:
    """The tensors of an operation in state-dict order. Buffers are those that are not trainable;
    the one integer among them, `num_batches_tracked` of BatchNorm, is in the state dict and in no
    graph.
    """
    match op:
        case Conv():
            shape = (op.out_channels, op.in_channels // op.groups, *op.kernel)
            return _weight_and_bias(shape, op.init, op.bias_fill if op.bias else None)
        case BatchNorm():
            return (*_affine_and_statistics(op, trainable=True), _BATCHES)
        case FrozenBatchNorm():
            return _affine_and_statistics(op, trainable=False)
        case GroupNorm():
            size = (op.channels,)
            return (ParameterSpec("weight", size, op.gamma), ParameterSpec("bias", size, 0.0))
        case Linear():
            return _weight_and_bias((op.out_features, op.in_features), op.init, _linear_bias(op))
        case (
            Activation()
            | MaxPool()
            | AvgPool()
            | AdaptiveAvgPool()
            | Flatten()
            | Dropout()
            | DropPath()
            | Subsample()
            | PadChannels()
            | Add()
            | Multiply()
            | Concat()
            | Gate()
            | Cast()
            | Quantize()
            | Dequantize()
        ):
            return ()
        case _:
            assert_never(op)


_BATCHES = ParameterSpec("num_batches_tracked", (), 0.0, trainable=False, dtype="int64")


def _weight_and_bias(
    shape: Shape, init: Init, bias: Init | float | None
) -> tuple[ParameterSpec, ...]:
    weight = ParameterSpec("weight", shape, init)
    return (weight,) if bias is None else (weight, ParameterSpec("bias", shape[:1], bias))


def _linear_bias(op: Linear[int]) -> Init | float | None:
    if not op.bias:
        return None
    if op.init.kind == "uniform":
        # The bound is the weight's; a vector's shape does not tell it, so that there `scale` is it.
        return Init("uniform", scale=op.in_features**-0.5)
    return op.bias_fill


def _affine_and_statistics(
    op: BatchNorm[int] | FrozenBatchNorm[int], *, trainable: bool
) -> tuple[ParameterSpec, ...]:
    size = (op.channels,)
    return (
        ParameterSpec("weight", size, op.gamma, trainable),
        ParameterSpec("bias", size, 0.0, trainable),
        ParameterSpec("running_mean", size, 0.0, trainable=False),
        ParameterSpec("running_var", size, 1.0, trainable=False),
    )
