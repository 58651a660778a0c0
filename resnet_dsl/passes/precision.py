"""The network in a half-precision type, float16 or bfloat16, but for what has to stay wide.

The image and the logits stay float32, as callers have them. Between them everything computes in the half type, weights
included, which are rounded once, from float32 (or, for folded ones, from float64); nodes named in `wide` compute in
float32. Where a value is read in the other type, a Cast follows it, one for all its readers.

What is quantised stays so. A Quantize reads the type that a value has; a Dequantize makes the half type, or float32
where all that read it are wide: what they are wide for may be that it does not fit. Where one of the two is in the half
type, both have the scale rounded to it.

Requires: a verified float32 graph without casts. Ensures: casts are the only nodes more; they are called after the
value that they read (`<value>.cast`), and the last one `output.cast`.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Literal, TypeAlias

from resnet_dsl.ir.graph import ConcreteOp, DType, FloatType, Graph, Node, Shape
from resnet_dsl.ir.ops import Cast, Dequantize, Quantize
from resnet_dsl.passes.names import INPUT, free
from resnet_dsl.passes.rewrite import with_nodes

HalfType: TypeAlias = Literal["float16", "bfloat16"]

_CODES = ("int8", "uint8", "float8_e4m3fn")
_SMALLEST_HALF, _LARGEST_HALF = 2.0**-24, 65504.0


def precision(graph: Graph, dtype: HalfType, wide: frozenset[str] = frozenset()) -> Graph:
    """The graph computing in `dtype`, but for the nodes of the names in `wide`.

    Raises ValueError where the precision has been set already, or a name is no node's.
    """
    if any(
        isinstance(node.op, Cast) or node.dtype in ("float16", "bfloat16") for node in graph.nodes
    ):
        raise ValueError("the precision of this graph has been set already")
    if unknown := wide - {node.name for node in graph.nodes}:
        raise ValueError(f"there is no node {min(unknown)} that could stay wide")
    return _Narrowing(graph, dtype, wide).run()


def rounded(scale: float, dtype: HalfType) -> float:
    """The number of a half type that is nearest to a scale, and never zero or infinite."""
    if dtype == "float16":
        held = min(max(scale, _SMALLEST_HALF), _LARGEST_HALF)
        return float(struct.unpack("<e", struct.pack("<e", held))[0])
    (bits,) = struct.unpack("<I", struct.pack("<f", scale))
    bits += 0x7FFF + ((bits >> 16) & 1)  # to even
    return float(struct.unpack("<f", struct.pack("<I", bits & 0xFFFF_0000))[0])


class _Narrowing:
    """The new nodes as they grow, and for each old value the new one in the type of its node and, once something has
    asked for it, in the other."""

    def __init__(self, graph: Graph, dtype: HalfType, wide: frozenset[str]) -> None:
        self.graph = graph
        self.dtype = dtype
        self.kinds = _float_types(graph, dtype, wide)
        self.halved = self._halved()
        self.used = {node.name for node in graph.nodes}
        self.nodes: list[Node] = []
        self.values = [0]
        self.types: list[DType] = ["float32"]
        self.casts: dict[int, int] = {}

    def run(self) -> Graph:
        for number, node in enumerate(self.graph.nodes, start=1):
            self._take(number, node)
        made = with_nodes(self.graph, self.nodes, self.values)
        if self.types[self.graph.output] == "float32":
            return made
        name = free("output.cast", self.used)
        cast = Node(name, Cast("float32"), (made.output,), self._shape(self.graph.output))
        return replace(made, nodes=(*made.nodes, cast), output=len(made.nodes) + 1)

    def _take(self, number: int, node: Node) -> None:
        dtype = self.kinds[number]
        inputs = tuple([self._read(value, dtype) for value in node.inputs])
        constants = tuple([replace(constant, dtype=dtype) for constant in node.constants])
        result = node.dtype if isinstance(node.op, Quantize) else dtype
        op = self._rounded(number, node)
        self.nodes.append(replace(node, op=op, inputs=inputs, constants=constants, dtype=result))
        self.values.append(len(self.nodes))
        self.types.append(result)

    def _halved(self) -> set[int]:
        """The values in codes of which one end of the pair is in the half type."""
        found: set[int] = set()
        for number, node in enumerate(self.graph.nodes, start=1):
            if self.kinds[number] == self.dtype:
                if isinstance(node.op, Quantize):
                    found.add(number)
                elif isinstance(node.op, Dequantize):
                    found.add(node.inputs[0])
        return found

    def _rounded(self, number: int, node: Node) -> ConcreteOp:
        """The operation, which shares a scale with the other end of its pair."""
        match node.op:
            case Quantize() if number in self.halved:
                return replace(node.op, scale=rounded(node.op.scale, self.dtype))
            case Dequantize() if node.inputs[0] in self.halved:
                return replace(node.op, scale=rounded(node.op.scale, self.dtype))
            case _:
                return node.op

    def _read(self, value: int, dtype: FloatType) -> int:
        """The new value that a node which computes in `dtype` reads for an old one."""
        if self.types[value] in (dtype, *_CODES):
            return self.values[value]
        if value not in self.casts:
            source = self.graph.nodes[value - 1] if value else None
            cast = Node(
                free(f"{source.name if source else INPUT}.cast", self.used),
                Cast(dtype),
                (self.values[value],),
                self._shape(value),
                group=source.group if source else "",
                block=source.block if source else "",
                dtype=dtype,
            )
            self.nodes.append(cast)
            self.casts[value] = len(self.nodes)
        return self.casts[value]

    def _shape(self, value: int) -> Shape:
        return self.graph.nodes[value - 1].shape if value else self.graph.input


def _float_types(graph: Graph, dtype: HalfType, wide: frozenset[str]) -> list[FloatType]:
    """The type that each value is computed in, that of the image first."""
    found: list[FloatType] = ["float32"]
    readers: list[list[Node]] = [[] for _ in range(len(graph.nodes) + 1)]
    for node in graph.nodes:
        for value in node.inputs:
            readers[value].append(node)
    for number, node in enumerate(graph.nodes, start=1):
        if isinstance(node.op, Quantize):
            found.append(found[node.inputs[0]])
        elif isinstance(node.op, Dequantize):
            after = readers[number]
            is_wide = bool(after) and all(reader.name in wide for reader in after)
            found.append("float32" if is_wide else dtype)
        else:
            found.append("float32" if node.name in wide else dtype)
    return found
