"""One operation as the expression that constructs its module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, assert_never

from resnet_dsl.backends.layout import Atom, Call, Group, Node, Prefixed, keyword
from resnet_dsl.backends.torch.expressions import Writer
from resnet_dsl.ir.expr import Expr, Literal
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
from resnet_dsl.ir.program import SymbolicOp

Pair: TypeAlias = tuple[Expr, Expr]

ACTIVATIONS: Mapping[str, str] = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "hardswish": "Hardswish",
    "hardsigmoid": "Hardsigmoid",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
}
IN_PLACE: frozenset[str] = frozenset({"relu", "relu6", "leaky_relu", "silu", "hardswish"})
"""Activations that torch can do in place, wherever the operation before does not need its result
for its gradient."""

_SLOPES: Mapping[str, tuple[str, float]] = {
    "leaky_relu": ("negative_slope", 0.01),
    "elu": ("alpha", 1.0),
}
_ZERO, _ONE = Literal(0), Literal(1)


def constructor(op: SymbolicOp, write: Writer, *, in_place: bool = False) -> Node:
    """The call that constructs the operation's module; `in_place` allows an activation to write
    into its input."""
    match op:
        case Conv():
            return _conv(op, write)
        case Linear():
            sizes = (Atom(write(op.in_features)), Atom(write(op.out_features)))
            return Call("nn.Linear", (*sizes, *_unless(op.bias, "bias", "False")))
        case BatchNorm():
            settings = (
                *_unless(op.eps == 1e-5, "eps", repr(op.eps)),
                *_unless(op.momentum == 0.1, "momentum", repr(op.momentum)),
            )
            return Call("nn.BatchNorm2d", (Atom(write(op.channels)), *settings))
        case FrozenBatchNorm():
            eps = _unless(op.eps == 1e-5, "eps", repr(op.eps))
            return Call("FrozenBatchNorm2d", (Atom(write(op.channels)), *eps))
        case GroupNorm():
            sizes = (Atom(write(op.groups)), Atom(write(op.channels)))
            eps = _unless(op.eps == 1e-5, "eps", repr(op.eps))
            return Call("nn.GroupNorm", (*sizes, *eps))
        case Activation():
            return _activation(op, in_place=in_place)
        case MaxPool():
            return Call("nn.MaxPool2d", _window(op, write))
        case AvgPool():
            no_padding = op.padding == (_ZERO, _ZERO)
            counted = _unless(no_padding, "count_include_pad", "False")
            return Call("nn.AvgPool2d", (*_window(op, write), *counted))
        case AdaptiveAvgPool():
            return Call("nn.AdaptiveAvgPool2d", (pair(op.size, write, ""),))
        case Flatten():
            return Call("nn.Flatten")
        case Dropout():
            return Call("nn.Dropout", (Atom(write(op.rate)),))
        case DropPath():
            return Call("DropPath", (Atom(write(op.rate)),))
        case Subsample():
            return Call("Subsample", (Atom(write(op.stride)),))
        case PadChannels():
            name = "PadChannels" if op.side == "symmetric" else "AppendChannels"
            return Call(name, (Atom(write(op.in_channels)), Atom(write(op.out_channels))))
        case Add() | Multiply() | Concat() | Gate():
            raise ValueError(f"{type(op).__name__} has several operands, and is no module")
        case Cast() | Quantize() | Dequantize():
            raise ValueError(
                "a conversion is put in after inlining; the torch target is written before"
            )
        case _:
            assert_never(op)


def helper(op: SymbolicOp) -> str | None:
    """The helper class that the operation needs, where torch has none of its own."""
    match op:
        case Subsample():
            return "Subsample"
        case PadChannels():
            return "PadChannels" if op.side == "symmetric" else "AppendChannels"
        case DropPath():
            return "DropPath"
        case FrozenBatchNorm():
            return "FrozenBatchNorm2d"
        case _:
            return None


def pair(values: Pair, write: Writer, name: str) -> Node:
    """`3` for (3, 3), and `(1, 7)`; behind a keyword where there is one."""
    first, second = values
    prefix = f"{name}=" if name else ""
    if first == second:
        return Prefixed(prefix, Atom(write(first, prefix)))
    return Prefixed(prefix, Group("(", (Atom(write(first)), Atom(write(second)))))


def _unless(default: bool, name: str, text: str) -> tuple[Node, ...]:
    return () if default else (keyword(name, text),)


def _unless_both(default: Expr, name: str, values: Pair, write: Writer) -> tuple[Node, ...]:
    return () if values == (default, default) else (pair(values, write, name),)


def _conv(op: Conv[Expr], write: Writer) -> Node:
    groups = () if op.groups == _ONE else (keyword("groups", write(op.groups, "groups=")),)
    return Call(
        "nn.Conv2d",
        (
            Atom(write(op.in_channels)),
            Atom(write(op.out_channels)),
            pair(op.kernel, write, "kernel_size"),
            *_unless_both(_ONE, "stride", op.stride, write),
            *_unless_both(_ZERO, "padding", op.padding, write),
            *_unless_both(_ONE, "dilation", op.dilation, write),
            *groups,
            *_unless(op.bias, "bias", "False"),
        ),
    )


def _activation(op: Activation, *, in_place: bool) -> Node:
    name, default = _SLOPES.get(op.kind, ("", op.slope))
    slope = _unless(op.slope == default, name, repr(op.slope))
    inplace = _unless(not in_place or op.kind not in IN_PLACE, "inplace", "True")
    return Call(f"nn.{ACTIVATIONS[op.kind]}", (*slope, *inplace))


def _window(op: MaxPool[Expr] | AvgPool[Expr], write: Writer) -> tuple[Node, ...]:
    stride = () if op.stride == op.kernel else (pair(op.stride, write, "stride"),)
    return (
        pair(op.kernel, write, "kernel_size"),
        *stride,
        *_unless_both(_ZERO, "padding", op.padding, write),
        *_unless(not op.ceil, "ceil_mode", "True"),
    )
