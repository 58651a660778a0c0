"""The operations of an ONNX file of anybody's, read off the build log.

The parser logs each node as two lines, which say its operator, its operands and the shapes:

    layer1.0.conv1 [Conv] inputs: [relu -> (-1, 64, 56, 56)[HALF]], [conv1.weight -> (64, 64, 3, 3)[HALF]], …
    layer1.0.conv1 [Conv] outputs: [layer1.0.conv1 -> (-1, 64, 56, 56)[HALF]],
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from resnet_dsl.backends.tensorrt.operations import JOINS, Kind, Operation, Operations, by
from resnet_dsl.ir.graph import Shape

_NODE = re.compile(r"(?P<name>.*) \[(?P<type>\w+)\] (?P<end>inputs|outputs): (?P<values>.*)")
_VALUE = re.compile(r"\[(?P<name>.*?) -> \((?P<shape>[-\d, ]*)\)\[\w+\]\]")
_INPUT = re.compile(r"Adding network input: (.*) with dtype: ")
_OPERATORS: dict[Kind, tuple[str, ...]] = {
    "matrix": ("Conv", "ConvTranspose", "Gemm", "MatMul"),
    "add": ("Add", "Sum"),
    "multiply": ("Mul",),
    "concat": ("Concat",),
    "norm": ("BatchNormalization", "GroupNormalization", "InstanceNormalization"),
    "activation": ("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "Gelu", "HardSwish"),
    "pool": ("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
    "move": ("Slice", "Pad", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"),
    "cast": ("Cast",),
    "quantise": ("QuantizeLinear",),
    "dequantise": ("DequantizeLinear",),
}
_KINDS = {name: kind for kind, names in _OPERATORS.items() for name in names}


@dataclass(frozen=True, slots=True)
class _Logged:
    name: str
    type: str
    inputs: tuple[tuple[str, Shape], ...]
    output: tuple[str, Shape]


def parsed_operations(log: Iterable[str]) -> Operations:
    """The operations of an ONNX file, by its build log; none where the log has no such lines."""
    lines = list(log)
    given = {found[1] for line in lines if (found := _INPUT.match(line)) is not None}
    maker: dict[str, str] = {}
    items = []
    for node in _logged(lines):
        data = [(name, shape) for name, shape in node.inputs if name in maker or name in given]
        kind = _KINDS.get(node.type, "other")
        if kind in JOINS and len(data) < 2:
            kind = "other"  # with a constant
        name, shape = node.output
        maker[name] = node.name
        known = -1 not in shape[1:]
        title, extent = _described(node, kind)
        items.append(
            Operation(
                name=node.name,
                kind=kind,
                title=title,
                extent=extent,
                reads=tuple([maker[name] for name, _ in data if name in maker]),
                shape=shape[1:] if known else None,
                macs=_logged_macs(node) if kind == "matrix" and known else 0,
            )
        )
    return Operations(items)


def _logged(lines: Iterable[str]) -> Iterator[_Logged]:
    inputs: dict[str, tuple[tuple[str, Shape], ...]] = {}
    for line in lines:
        found = _NODE.fullmatch(line.strip())
        if found is None:
            continue
        values = tuple(
            (value["name"], tuple(int(size) for size in value["shape"].split(",") if size.strip()))
            for value in _VALUE.finditer(found["values"])
        )
        if found["end"] == "inputs":
            inputs[found["name"]] = values
        elif values:
            yield _Logged(found["name"], found["type"], inputs.get(found["name"], ()), values[0])


def _described(node: _Logged, kind: Kind) -> tuple[str, str]:
    weight = node.inputs[1][1] if len(node.inputs) > 1 else ()
    if kind == "matrix" and len(weight) > 2:
        return "conv", f"{by(weight[2:])} {weight[0]}"
    return (
        kind if kind in ("add", "multiply", "quantise", "dequantise") else node.type.lower()
    ), ""


def _logged_macs(node: _Logged) -> int:
    """A convolution's weight is (C_out, C_in / groups, kh, kw); what a matrix product sums over is the last axis of its
    first operand."""
    if len(node.inputs) < 2:
        return 0
    result = prod(node.output[1][1:])
    if node.type in ("Gemm", "MatMul"):
        return result * max(0, node.inputs[0][1][-1]) if node.inputs[0][1] else 0
    return result * prod(node.inputs[1][1][1:]) if node.type == "Conv" else 0
