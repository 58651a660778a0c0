"""What a caller may choose of an ONNX file. Imports nothing heavy, so that a command line can show it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import ELEMENT_BYTES, Constant, Graph

# Read by every ONNX Runtime since 1.14 and TensorRT since 8.6; nothing here gains by a later one.
DEFAULT_OPSET = 18
OLDEST_OPSET = 13
NEWEST_OPSET = 25
# The first in which convolution and pooling take bfloat16.
BFLOAT16_OPSET = 22

# The file format's version that came with each opset, so that a runtime of its time loads the file.
_IR_VERSIONS = {
    13: 7,
    14: 7,
    15: 8,
    16: 8,
    17: 8,
    18: 8,
    19: 9,
    20: 9,
    21: 10,
    22: 10,
    23: 11,
    24: 12,
    25: 13,
}

# A protobuf message ends at 2 GiB; what is left of it holds the nodes.
EXTERNAL_DATA_FROM = 2_000_000_000


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """`opset`: None is the default. `dynamic_size`: height and width are symbolic too. `outputs`: stages (features of
    the graph) whose ends are outputs beside the logits. `external_data`: weights in a file of their own, also where
    they would fit.
    """

    opset: int | None = None
    dynamic_size: bool = False
    outputs: tuple[str, ...] = ()
    external_data: bool = False


def opset_of(graph: Graph, options: OnnxOptions) -> int:
    """The opset to write. Raises CompileError RD640 for one out of range, or too old for bfloat16."""
    least = (
        BFLOAT16_OPSET if any(node.dtype == "bfloat16" for node in graph.nodes) else OLDEST_OPSET
    )
    opset = max(DEFAULT_OPSET, least) if options.opset is None else options.opset
    if least <= opset <= NEWEST_OPSET:
        return opset
    why = (
        "bfloat16 convolutions came with opset 22"
        if least == BFLOAT16_OPSET and opset < least
        else f"opsets {OLDEST_OPSET} to {NEWEST_OPSET} are written"
    )
    raise CompileError(
        Diagnostic(
            "RD640",
            f"this network cannot be written in opset {opset}",
            why=why,
            hint=f"leave --opset out for opset {max(DEFAULT_OPSET, least)}",
        )
    )


def ir_version(opset: int) -> int:
    """The version of the file format that came with an opset."""
    return _IR_VERSIONS[opset]


def constants_of(graph: Graph) -> tuple[Constant, ...]:
    """The graph's constants in the order of their first use, shared ones once."""
    found: dict[str, Constant] = {}
    for node in graph.nodes:
        for constant in node.constants:
            found.setdefault(constant.name, constant)
    return tuple(found.values())


def byte_size(constant: Constant) -> int:
    return prod(constant.shape) * ELEMENT_BYTES[constant.dtype]


def needs_external_data(
    graph: Graph, options: OnnxOptions, *, threshold: int = EXTERNAL_DATA_FROM
) -> bool:
    """Whether the weights go into a file of their own: where asked for, or where one file could not hold them."""
    if options.external_data:
        return True
    return sum(map(byte_size, constants_of(graph))) > threshold
