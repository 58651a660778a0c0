"""The kernels of an engine, read from the detailed build log.

With profiling verbosity DETAILED, the builder logs one line a layer, brackets nested, fields in a fixed order:

    Name: …, LayerType: …, Inputs: [ { Name: …, Dimensions: […], …, Datatype: Half, … }, … ], Constants: […],
    Outputs: […], TacticName: …, StreamId: 0, Metadata: [ONNX Layer: …][ONNX Layer: …]

The metadata names the ONNX nodes that were fused into the kernel, which here are the spec's blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BOOKKEEPING = frozenset({"shape_call", "signal", "wait"})
"""Layers that launch no kernel: host arithmetic on shapes, and the order of two streams."""


@dataclass(frozen=True, slots=True)
class KernelTensor:
    """A tensor that a kernel reads or writes, -1 for a symbolic dimension; `format` as in "NHWC" or "Linear"."""

    name: str
    shape: tuple[int, ...]
    data_type: str
    format: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launched kernel and the ONNX nodes fused into it, in their order."""

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[KernelTensor, ...]
    outputs: tuple[KernelTensor, ...]


_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: ")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_TENSOR = re.compile(
    r"Name: (?P<name>.*?), Dimensions: \[(?P<shape>[-\d, ]*)\].*?Datatype: (?P<type>\w+)"
    r"(?:, Format: \((?P<format>\w+)\))?"
)
_SECTION = {"inputs": ", Inputs: [", "outputs": ", Outputs: ["}


def read_kernels(log: Iterable[str]) -> tuple[Kernel, ...] | None:
    """The kernels in launch order; None where the log has no layer table in the form above."""
    found: list[Kernel] = []
    seen = False
    for message in log:
        if not message.startswith("Layers:\n"):
            continue
        seen = True
        for line in message.splitlines()[1:]:
            layer = _LAYER.match(line)
            if layer is None or layer["kind"] in BOOKKEEPING:
                continue
            nodes = _NODE.findall(line.rpartition(", Metadata: ")[2])
            found.append(
                Kernel(
                    name=layer["name"],
                    kind=layer["kind"],
                    nodes=tuple(dict.fromkeys(node.strip() for node in nodes)),
                    inputs=tuple(_tensors(line, "inputs")),
                    outputs=tuple(_tensors(line, "outputs")),
                )
            )
    return tuple(found) if seen else None


def _tensors(line: str, section: str) -> Iterator[KernelTensor]:
    """The tensors of one bracketed list, `[]` or `[ { … }, { … }]`."""
    start = line.find(_SECTION[section])
    if start < 0:
        return
    start += len(_SECTION[section])
    depth, end = 1, start
    while depth and end < len(line):
        depth += {"[": 1, "]": -1}.get(line[end], 0)
        end += 1
    for item in _TENSOR.finditer(line, start, end - 1):
        shape = tuple(int(size) for size in item["shape"].split(",") if size.strip())
        yield KernelTensor(item["name"], shape, item["type"], item["format"] or "")


def read_bytes(log: Iterable[str], label: str) -> int | None:
    """The number in a line such as "Max Scratch Memory: 181600256 bytes"; None where there is none."""
    pattern = re.compile(rf"{re.escape(label)}: (\d+) bytes")
    for message in log:
        found = pattern.search(message)
        if found is not None:
            return int(found[1])
    return None
