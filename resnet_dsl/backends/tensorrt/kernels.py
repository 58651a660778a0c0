"""The kernels of an engine, read from the detailed build log.

With profiling verbosity DETAILED, the builder logs one line a layer, brackets nested, fields in a fixed order:

    Name: …, LayerType: …, Inputs: [ { Name: …, Dimensions: […], …, Datatype: Half, … }, … ], Constants: […],
    Outputs: […], TacticName: …, StreamId: 0, Metadata: [ONNX Layer: …][ONNX Layer: …]

Full TensorRT has `Format/Datatype: Thirty-two wide channel vectorized row major Int8 format` for the last two fields
of a tensor, and `Weights: {"Type": "Half", "Count": 23232}, Bias: {…}` for constants.

The metadata names the ONNX nodes that were fused into the kernel, which here are the spec's blocks. An engine of
several profiles has kernels for each, of which a call launches its own. From the second on they bear it in their names,
`conv1 [profile 1]_U1_myl1_2`, or belong to a graph (`_myl1`) in which another one does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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
    constants: tuple[KernelTensor, ...] = ()
    """Weights, biases and scales, as the engine keeps them."""
    tactic: str = ""
    profile: int = 0
    """The number of the optimisation profile that it is launched in."""

    @property
    def steps(self) -> tuple[str, ...]:
        """What a generated kernel does, as its name says: ("Corr", "Mul", "Add", "Relu") of
        `__myl_CorrMulAddRelu_myl0_56`; nothing for a kernel of another name."""
        found = _GENERATED.match(self.name)
        return () if found is None else tuple(_STEP.findall(found[1]))

    @property
    def multiplies_matrices(self) -> bool:
        """Whether it computes a convolution or a matrix product. A kernel may name a convolution among its nodes and
        only lay its operand out, or scale its result."""
        return _MATRIX.search(self.kind) is not None or any(
            _MATRIX.search(step) is not None for step in self.steps
        )


_PROFILE = re.compile(r" \[profile (\d+)\]")
_GRAPH = re.compile(r"_myl(\d+)_\d+$")
_GENERATED = re.compile(r"__myl_([A-Za-z]+)_myl")
_STEP = re.compile("[A-Z][a-z0-9]*")
_MATRIX = re.compile(r"corr|conv(?!ert)|gemm|matmul|matrix|fullyconn|^fc$", re.IGNORECASE)
_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: ")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_TENSOR = re.compile(
    r"Name: (?P<name>.*?), (?:Location: \w+, )?Dimensions: \[(?P<shape>[-\d, ]*)\].*?Datatype: (?P<type>[^,}]*)"
    r"(?:, Format: \((?P<format>\w+)\))?"
)
_TYPE = re.compile(r"\b(?:Float|Half|BFloat16|Int\d+|UInt8|Bool|FP\d+|BF16)\b")
_OLDER = {"FP32": "Float", "FP16": "Half", "BF16": "BFloat16"}
_WEIGHTS = re.compile(
    r'(?P<name>Weights|Bias): \{"Type": "(?P<type>\w+)", "Count": (?P<count>\d+)\}'
)
_TACTIC = re.compile(r", TacticName: ([^,]*)")
_SECTION = {"inputs": ", Inputs: [", "constants": ", Constants: [", "outputs": ", Outputs: ["}


def read_kernels(log: Iterable[str]) -> tuple[Kernel, ...] | None:
    """The kernels in launch order; None where the log has no layer table in the form above."""
    found: list[Kernel] = []
    seen = False
    for message in log:
        if not message.startswith("Layers:\n"):
            continue
        seen = True
        for line in message.split("\n")[
            1:
        ]:  # full TensorRT puts \x1e, a line break to splitlines, among nodes
            layer = _LAYER.match(line)
            if layer is None or layer["kind"] in BOOKKEEPING:
                continue
            nodes = _NODE.findall(line.rpartition(", Metadata: ")[2])
            tactic = _TACTIC.search(line)
            found.append(
                Kernel(
                    name=layer["name"],
                    kind=layer["kind"],
                    nodes=tuple(dict.fromkeys(node.strip() for node in nodes)),
                    inputs=tuple(_tensors(line, "inputs")),
                    outputs=tuple(_tensors(line, "outputs")),
                    constants=(*_tensors(line, "constants"), *_weights(line)),
                    tactic="" if tactic is None else tactic[1],
                )
            )
    return tuple(_with_profiles(found)) if seen else None


def _with_profiles(kernels: Sequence[Kernel]) -> Iterator[Kernel]:
    """The kernels with their profiles: by their own names, or by those of others in the same graph."""
    own = [_PROFILE.search(item.name) for item in kernels]
    graphs = [_GRAPH.search(item.name) for item in kernels]
    of_graph = {
        graph[1]: int(mark[1])
        for mark, graph in zip(own, graphs, strict=True)
        if mark is not None and graph is not None
    }
    for item, mark, graph in zip(kernels, own, graphs, strict=True):
        if mark is not None:
            yield replace(item, profile=int(mark[1]))
        else:
            yield replace(item, profile=of_graph.get(graph[1], 0) if graph is not None else 0)


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
        said = item["type"].strip()
        named = _TYPE.search(said)
        if named is None or named[0] == said:
            yield KernelTensor(item["name"], shape, said, item["format"] or "")
            continue
        words = said.replace(named[0], "").removesuffix("format").split()
        kind = _OLDER.get(named[0], named[0])
        yield KernelTensor(item["name"], shape, kind, item["format"] or " ".join(words))


def _weights(line: str) -> Iterator[KernelTensor]:
    for item in _WEIGHTS.finditer(line):
        yield KernelTensor(item["name"], (int(item["count"]),), item["type"], "")


def read_bytes(log: Iterable[str], label: str) -> int | None:
    """The number in a line such as "Max Scratch Memory: 181600256 bytes", the largest where each profile has its line;
    None where there is none."""
    pattern = re.compile(rf"{re.escape(label)}: (\d+) bytes")
    found = [item for message in log if (item := pattern.search(message)) is not None]
    return max((int(item[1]) for item in found), default=None)
