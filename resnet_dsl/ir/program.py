"""The hierarchical IR: functions over symbolic parameters, and calls of them.

A value is a number: 0 is a function's input and i + 1 is the result of its i-th statement. Statements are in an order
in which every operand comes before its use. Names are local to the function and become module paths when inlined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from resnet_dsl.ir.expr import Expr, Value
from resnet_dsl.ir.ops import Op

SymbolicOp: TypeAlias = Op[Expr, Expr]
Arguments: TypeAlias = tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class Apply:
    """One operation; `name` is its module name (`conv1`), or its place in a chain (`0`)."""

    name: str
    op: SymbolicOp
    operands: tuple[int, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A function with its arguments, handed to a slot."""

    function: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Call:
    """Call of a function.

    A spliced call stands in a chain and its function is a chain: the function's members take their
    places in this one (VGG's `features.0`, `features.1`, …), `name` being the first one's number.
    """

    name: str
    function: str
    arguments: Arguments
    operand: int
    slots: tuple[tuple[str, Reference | None], ...] = ()
    group: str = ""
    splice: bool = False


@dataclass(frozen=True, slots=True)
class UseSlot:
    """Call of the function that the caller put in the slot; of the identity where it put none."""

    name: str
    operand: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Members in sequence, each the input of the next (an nn.Sequential). Members' own operands are not read."""

    name: str
    members: tuple[Apply | Call, ...]
    operand: int
    group: str = ""


Statement: TypeAlias = Apply | Call | UseSlot | Chain


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function; `default` is what a caller may leave out."""

    name: str
    type: Literal["int", "float", "bool", "str"]
    default: Value | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A block (`kind == "block"`: a module with a forward) or a chain (its statements in sequence, named 0, 1, …).
    `required_slots` are those that every call fills, as far as a pass has looked."""

    name: str
    doc: str
    kind: Literal["block", "chain"]
    parameters: tuple[Parameter, ...]
    slots: tuple[str, ...]
    body: tuple[Statement, ...]
    result: int
    required_slots: tuple[str, ...] = ()


Stride: TypeAlias = int | tuple[int, int]
"""One number, or (vertical, horizontal) where they differ."""


@dataclass(frozen=True, slots=True)
class Feature:
    """The output of a stage, as a backbone hands it on: the value in main, or the end of `members` of a chain."""

    stage: str
    value: int
    channels: int
    stride: Stride
    height: int
    width: int
    chain_end: int | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A whole network. `main` takes the image (N, C, H, W) and has one parameter, `classes`, with its default."""

    name: str
    doc: str
    input: tuple[int, int, int]
    classes: int
    main: Function
    functions: Mapping[str, Function] = field(default_factory=dict)
    features: tuple[Feature, ...] = ()
    spec_hash: str = ""
