"""What a caller may choose of an ONNX file. Imports nothing heavy, so that a command line can show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import ELEMENT_BYTES, Codes, Constant, Graph, Scales

# Read by every ONNX Runtime since 1.14 and TensorRT since 8.6; nothing here gains by a later one.
DEFAULT_OPSET = 18
OLDEST_OPSET = 13
NEWEST_OPSET = 25
# The first in which convolution and pooling take bfloat16.
BFLOAT16_OPSET = 22
# The first in which codes can stand for float16, and in which there is float8.
QUANTIZED_HALF_OPSET = 19

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
    least, why_least = _least_opset(graph)
    opset = max(DEFAULT_OPSET, least) if options.opset is None else options.opset
    if least <= opset <= NEWEST_OPSET:
        return opset
    why = (
        why_least
        if why_least and opset < least
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


def _least_opset(graph: Graph) -> tuple[int, str]:
    """The oldest opset that has what a graph computes with, and why no older one; no reason if any will do."""
    types = {node.dtype for node in graph.nodes}
    if "bfloat16" in types:
        return BFLOAT16_OPSET, f"bfloat16 convolutions came with opset {BFLOAT16_OPSET}"
    if "float8_e4m3fn" in types:
        return QUANTIZED_HALF_OPSET, f"float8 came with opset {QUANTIZED_HALF_OPSET}"
    if "float16" in types and types & {"int8", "uint8"}:
        return (
            QUANTIZED_HALF_OPSET,
            f"quantising float16 came with opset {QUANTIZED_HALF_OPSET}",
        )
    return OLDEST_OPSET, ""


def ir_version(opset: int) -> int:
    """The version of the file format that came with an opset."""
    return _IR_VERSIONS[opset]


def constants_of(graph: Graph) -> tuple[Constant, ...]:
    """What a file holds of the graph's constants, in the order of their first use, shared ones once; a constant with an
    encoding is its codes, under its name, and their scales."""
    found: dict[str, Constant] = {}
    for node in graph.nodes:
        for constant in node.constants:
            if constant.encoding is None:
                found.setdefault(constant.name, constant)
            elif constant.name not in found:
                kept = replace(constant, encoding=None)
                scales = scales_name(constant)
                found[constant.name] = replace(
                    kept, source=Codes(constant), dtype=constant.encoding
                )
                found[scales] = replace(
                    kept, name=scales, shape=constant.shape[:1], source=Scales(constant)
                )
    return tuple(found.values())


def scales_name(constant: Constant) -> str:
    """The name of the scales of a constant with an encoding."""
    return f"{constant.name}_scale"


def byte_size(constant: Constant) -> int:
    return prod(constant.shape) * ELEMENT_BYTES[constant.dtype]


def needs_external_data(
    graph: Graph, options: OnnxOptions, *, threshold: int = EXTERNAL_DATA_FROM
) -> bool:
    """Whether the weights go into a file of their own: where asked for, or where one file could not hold them."""
    if options.external_data:
        return True
    return sum(map(byte_size, constants_of(graph))) > threshold
