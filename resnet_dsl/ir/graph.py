"""The flat IR: one list of nodes in topological order, every number concrete, every weight an explicit operand.

A value is a number: 0 is the graph's input and i + 1 is the result of its i-th node. Shapes leave out the batch:
`(C, H, W)` or `(F,)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from resnet_dsl.ir.ops import CodeType, Init, Op

ConcreteOp: TypeAlias = Op[int, float]
Shape: TypeAlias = tuple[int, ...]
FloatType: TypeAlias = Literal["float32", "float16", "bfloat16"]
"""The types that operations compute in."""
DType: TypeAlias = FloatType | CodeType
"""Those, and the types of quantised values, which only Quantize and Dequantize know."""

ELEMENT_BYTES: dict[DType, int] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int8": 1,
    "uint8": 1,
    "float8_e4m3fn": 1,
}
LARGEST_CODE: dict[CodeType, float] = {"int8": 127.0, "uint8": 255.0, "float8_e4m3fn": 448.0}
"""The largest number of each; int8 is used symmetrically, so that -128 is not."""


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


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes in which a quantised constant is kept (see `Constant.encoding`)."""

    of: Constant


@dataclass(frozen=True, slots=True)
class Scales:
    """The scales of a quantised constant, one for each slice of its first axis."""

    of: Constant


Source: TypeAlias = Stored | FoldedWeight | FoldedBias | Codes | Scales


@dataclass(frozen=True, slots=True)
class Constant:
    """A weight operand of a node: its name is a graph-wide key (`layer1.0.conv1.weight`).

    With an `encoding` it is kept as codes q of that type and a scale s for each slice of its first axis (the output
    channel), and the node computes with the numbers s q, in `dtype`: q = round(w / s), s = max|w| / largest code.
    """

    name: str
    shape: Shape
    source: Source
    trainable: bool = True
    dtype: DType = "float32"
    encoding: CodeType | None = None


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


def floating(dtype: DType) -> FloatType:
    """The type, which is one that operations compute in. Raises ValueError for a type of codes."""
    match dtype:
        case "float32" | "float16" | "bfloat16":
            return dtype
        case _:
            raise ValueError(f"{dtype} is a type of codes, which nothing computes in")


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
