"""The flat IR: one list of nodes in topological order, every number concrete, every weight an explicit operand.

A value is a number: 0 is the graph's input and i + 1 is the result of its i-th node. Shapes leave out the batch:
`(C, H, W)` or `(F,)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from resnet_dsl.ir.ops import Init, Op

ConcreteOp: TypeAlias = Op[int, float]
Shape: TypeAlias = tuple[int, ...]
DType: TypeAlias = Literal["float32", "float16", "bfloat16"]

ELEMENT_BYTES: dict[DType, int] = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that the state dict holds under `key`; without weights, it is drawn by `fill`."""

    key: str
    fill: Init | float


@dataclass(frozen=True, slots=True)
class Norm:
    """The state-dict keys of a batch normalisation, for the folds below."""

    gamma: Stored
    beta: Stored
    mean: Stored
    variance: Stored
    eps: float


@dataclass(frozen=True, slots=True)
class FoldedWeight:
    """W * gamma / sqrt(variance + eps), along the output channel."""

    weight: Stored
    norm: Norm


@dataclass(frozen=True, slots=True)
class FoldedBias:
    """beta + (b - mean) * gamma / sqrt(variance + eps), with b = 0 where the convolution has no bias."""

    bias: Stored | None
    norm: Norm


Source: TypeAlias = Stored | FoldedWeight | FoldedBias


@dataclass(frozen=True, slots=True)
class Constant:
    """A weight operand of a node: its name is a graph-wide key (`layer1.0.conv1.weight`)."""

    name: str
    shape: Shape
    source: Source
    trainable: bool = True
    dtype: DType = "float32"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `name` is the module path; `group` the stage it belongs to (`stem`, `layer1`, …, `head`); `block`
    the path of the innermost block call (`layer1.0`), empty outside of blocks. Constants are in the op's order: weight,
    bias, and for batch normalisation running_mean, running_var."""

    name: str
    op: ConcreteOp
    inputs: tuple[int, ...]
    shape: Shape
    constants: tuple[Constant, ...] = ()
    group: str = ""
    block: str = ""
    dtype: DType = "float32"


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as its inference (or training) data flow. `features` are stage ends, for analysis and extra outputs."""

    name: str
    doc: str
    input: Shape
    nodes: tuple[Node, ...]
    output: int
    features: tuple[Output, ...] = ()
    spec_hash: str = ""
