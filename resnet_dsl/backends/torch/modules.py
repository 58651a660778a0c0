"""One operation as the expression that constructs its module."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TypeAlias, assert_never

from resnet_dsl.backends.layout import Atom, Call, Node, keyword
from resnet_dsl.backends.torch.names import Names
from resnet_dsl.ir.expr import Binary, Expr, Invoke, Literal, Name, to_source
from resnet_dsl.ir.expr.tree import children
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
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
MATH_FUNCTIONS: Mapping[str, str] = {
    "sqrt": "math.sqrt",
    "floor": "math.floor",
    "ceil": "math.ceil",
}
"""The language's functions that are those of Python's `math`."""

LONGEST_EXPRESSION = 60
SHORTEST_PART = 16
_ZERO, _ONE = Literal(0), Literal(1)


class Writer:
    """Expressions as source, names spelled as the function spells them.

    An expression too long for a line is taken apart into local variables: `statements` are the
    assignments that have to stand before what was written.
    """

    def __init__(self, spelling: Mapping[str, str], scope: Names) -> None:
        self.statements: list[str] = []
        self.functions: set[str] = set()
        self._spelling = {**MATH_FUNCTIONS, **spelling}
        self._scope = scope.inner()
        for name in spelling.values():
            self._scope.take(name)
        self._locals: dict[Expr, Expr] = {}

    def __call__(self, expr: Expr) -> str:
        text = self._text(expr)
        return text if len(text) <= LONGEST_EXPRESSION else self._text(self._shortened(expr))

    def renaming(self, name: str, spelled: str) -> Writer:
        """A writer with one more name; its statements are this one's."""
        inner = copy(self)
        inner._spelling = {**self._spelling, name: spelled}
        return inner

    def _text(self, expr: Expr) -> str:
        self.functions |= invoked(expr)
        return to_source(expr, self._spelling)

    def _shortened(self, expr: Expr) -> Expr:
        if len(self._text(expr)) <= LONGEST_EXPRESSION:
            return expr
        match expr:
            case Binary(op, left, right):
                return Binary(op, self._local(left), self._local(right))
            case Invoke(function, arguments):
                return Invoke(function, tuple(self._local(part) for part in arguments))
            case _:
                return expr  # a conditional evaluates one branch only, so that none can go before

    def _local(self, expr: Expr) -> Expr:
        """The variable that holds the part of an expression; the part itself where it is short."""
        if len(self._text(expr)) < SHORTEST_PART:
            return expr
        if expr not in self._locals:
            name = self._scope.take("part")
            self.statements.append(f"{name} = {self._text(self._shortened(expr))}")
            self._locals[expr] = Name(name)
        return self._locals[expr]


def invoked(expr: Expr) -> frozenset[str]:
    """The functions of the language that an expression calls."""
    found: set[str] = set()
    pending = [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, Invoke):
            found.add(node.function)
        pending.extend(children(node))
    return frozenset(found)


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
            return Call("nn.AdaptiveAvgPool2d", (Atom(pair(op.size, write)),))
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
        case Cast():
            raise ValueError("a Cast is put in after inlining; the torch target is written before")
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


def pair(values: Pair, write: Writer) -> str:
    """`3` for (3, 3), and `(1, 7)`."""
    first, second = values
    return write(first) if first == second else f"({write(first)}, {write(second)})"


def _unless(default: bool, name: str, text: str) -> tuple[Node, ...]:
    return () if default else (keyword(name, text),)


def _conv(op: Conv[Expr], write: Writer) -> Node:
    return Call(
        "nn.Conv2d",
        (
            Atom(write(op.in_channels)),
            Atom(write(op.out_channels)),
            keyword("kernel_size", pair(op.kernel, write)),
            *_unless(op.stride == (_ONE, _ONE), "stride", pair(op.stride, write)),
            *_unless(op.padding == (_ZERO, _ZERO), "padding", pair(op.padding, write)),
            *_unless(op.dilation == (_ONE, _ONE), "dilation", pair(op.dilation, write)),
            *_unless(op.groups == _ONE, "groups", write(op.groups)),
            *_unless(op.bias, "bias", "False"),
        ),
    )


def _activation(op: Activation, *, in_place: bool) -> Node:
    name, default = _SLOPES.get(op.kind, ("", op.slope))
    slope = _unless(op.slope == default, name, repr(op.slope))
    inplace = _unless(not in_place or op.kind not in IN_PLACE, "inplace", "True")
    return Call(f"nn.{ACTIVATIONS[op.kind]}", (*slope, *inplace))


def _window(op: MaxPool[Expr] | AvgPool[Expr], write: Writer) -> tuple[Node, ...]:
    return (
        keyword("kernel_size", pair(op.kernel, write)),
        *_unless(op.stride == op.kernel, "stride", pair(op.stride, write)),
        *_unless(op.padding == (_ZERO, _ZERO), "padding", pair(op.padding, write)),
        *_unless(not op.ceil, "ceil_mode", "True"),
    )
