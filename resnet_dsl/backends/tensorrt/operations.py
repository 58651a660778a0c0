"""The operations of a network, as a fusion report speaks of them, read off our graph. `parsed` reads them off a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from resnet_dsl.analysis.macs import macs_per_node
from resnet_dsl.analysis.values import sizes_in_bytes
from resnet_dsl.ir.graph import Graph, Node, Shape
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

Kind: TypeAlias = Literal[
    "matrix", "add", "multiply", "gate", "concat", "norm", "activation", "pool", "move", "cast",
    "quantise", "dequantise", "other",
]  # fmt: skip
_NO_WORK: frozenset[Kind] = frozenset({"cast", "quantise", "dequantise"})
JOINS: frozenset[Kind] = frozenset({"add", "multiply", "gate", "concat"})
"""Where two branches meet."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: `name` as in the graph, `title` what it is, the names of what it reads (of operations only), the
    shape of its result without the batch, None where it is symbolic, `extent` its sizes in words; multiply-adds for one
    image."""

    name: str
    kind: Kind
    title: str
    reads: tuple[str, ...]
    shape: Shape | None
    extent: str = ""
    block: str = ""
    stage: str = ""
    macs: int = 0
    bytes_moved: int | None = None
    """Of its operands and its result, were it a kernel of its own, for one image; None where that is unknown. Casts,
    codes and views count as nothing."""

    @property
    def label(self) -> str:
        """What it is, with its sizes: `conv 3×3/2 128`."""
        return f"{self.title} {self.extent}".rstrip()


class Operations:
    """The operations of a network in their order, and which of them an ONNX node belongs to."""

    def __init__(
        self,
        items: Sequence[Operation],
        aliases: Mapping[str, str] | None = None,
        image: Shape | None = None,
    ) -> None:
        self.items = tuple(items)
        self.image = image
        """The shape of what the network reads, without the batch."""
        self.places = {item.name: place for place, item in enumerate(items)}
        """Where each operation stands in the order, by its name."""
        self._by_name = {item.name: item for item in items}
        self._aliases = dict(aliases or {})
        self._blocks = {item.block for item in items if item.block}

    def named(self, name: str) -> Operation | None:
        return self._by_name.get(name)

    def outermost(self, block: str) -> str:
        """The outermost block around a block: `layer1.0` of `layer1.0.se`."""
        while True:
            around = block.rpartition(".")[0]
            while around and around not in self._blocks:
                around = around.rpartition(".")[0]
            if not around:
                return block
            block = around

    def of_node(self, node: str) -> Operation | None:
        """What an ONNX node computes, or helps to: a node that is called after an operation (`layer1.0.gate.mul`,
        `layer1.0.conv1.weight.dequantized`) is a part of it. None for a stranger."""
        name = self._aliases.get(node, node)
        while name not in self._by_name:
            if name.endswith("_"):  # a name that was taken
                name = name[:-1]
            else:
                name, dot, _ = name.rpartition(".")
                if not dot:
                    return None
        return self._by_name[name]


def operations_of(graph: Graph) -> Operations:
    """The operations of a graph of ours."""
    macs, sizes = macs_per_node(graph), sizes_in_bytes(graph)
    items = []
    for number, node in enumerate(graph.nodes, start=1):
        kind, title, extent = _described(node)
        moved = sum(sizes[value] for value in {*node.inputs, number})
        items.append(
            Operation(
                name=node.name,
                kind=kind,
                title=title,
                extent=extent,
                reads=tuple([graph.nodes[value - 1].name for value in node.inputs if value]),
                shape=node.shape,
                block=node.block,
                stage=node.group,
                macs=macs[number - 1],
                bytes_moved=0 if kind in _NO_WORK or isinstance(node.op, Flatten) else moved,
            )
        )
    # A value that is an output is called after that: `logits`, or a stage.
    names = {node.name for node in graph.nodes}
    outputs = {item.name: item.value for item in graph.features} | {"logits": graph.output}
    aliases = {
        name: graph.nodes[value - 1].name
        for name, value in outputs.items()
        if value and name not in names
    }
    return Operations(items, aliases, graph.input)


def _described(node: Node) -> tuple[Kind, str, str]:
    """What kind of operation a node is, its name, and what is to be said of its size."""
    op = node.op
    match op:
        case Conv():
            groups = "" if op.groups == 1 else f" in {op.groups} groups"
            return "matrix", "conv", f"{_window(op.kernel, op.stride)} {op.out_channels}{groups}"
        case Linear():
            return "matrix", "linear", f"{op.out_features}"
        case Add():
            return "add", "add", ""
        case Multiply():
            return "multiply", "multiply", ""
        case Gate():
            return "gate", "gate", ""
        case Concat():
            return "concat", "concat", ""
        case BatchNorm() | FrozenBatchNorm():
            return "norm", "batch norm", ""
        case GroupNorm():
            return "norm", "group norm", ""
        case Activation():
            return "activation", op.kind, ""
        case MaxPool():
            return "pool", "max pool", _window(op.kernel, op.stride)
        case AvgPool():
            return "pool", "mean pool", _window(op.kernel, op.stride)
        case AdaptiveAvgPool():
            return "pool", "mean", "" if op.size == (1, 1) else f"to {by(op.size)}"
        case Subsample():
            return "move", "slice", f"/{op.stride}"
        case PadChannels():
            return "move", "pad", f"to {op.out_channels}"
        case Flatten():
            return "move", "flatten", ""
        case Dropout() | DropPath():
            return "other", "dropout", ""
        case Cast():
            return "cast", "cast", ""
        case Quantize():
            return "quantise", "quantise", ""
        case Dequantize():
            return "dequantise", "dequantise", ""
        case unreachable:
            assert_never(unreachable)


def _window(kernel: tuple[int, int], stride: tuple[int, int]) -> str:
    if stride == (1, 1):
        return by(kernel)
    return f"{by(kernel)}/{stride[0] if stride[0] == stride[1] else by(stride)}"


def by(size: Sequence[int]) -> str:
    """A size in words: 3×3."""
    return "×".join(map(str, size))
