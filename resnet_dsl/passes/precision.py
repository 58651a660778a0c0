"""The network in a half-precision type, float16 or bfloat16, but for what has to stay wide.

The image and the logits stay float32, as callers have them. Between them everything computes in the half type, weights
included, which are rounded once, from float32 (or, for folded ones, from float64); nodes named in `wide` compute in
float32. Where a value is read in the other type, a Cast follows it, one for all its readers. What is quantised stays
so: a Quantize reads, and a Dequantize makes, the type of what stands around it.

Requires: a verified float32 graph without casts. Ensures: casts are the only nodes more; they are called after the
value that they read (`<value>.cast`), and the last one `output.cast`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

from resnet_dsl.ir.graph import DType, FloatType, Graph, Node, Shape
from resnet_dsl.ir.ops import Cast, Quantize
from resnet_dsl.passes.rewrite import with_nodes

HalfType: TypeAlias = Literal["float16", "bfloat16"]


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
    narrowing = _Narrowing(graph, lambda node: "float32" if node.name in wide else dtype)
    for node in graph.nodes:
        narrowing.take(node)
    return narrowing.finish()


class _Narrowing:
    """The new nodes as they grow, and for each old value the new one in the type of its node and, once something has
    asked for it, in the other."""

    def __init__(self, graph: Graph, type_of: Callable[[Node], FloatType]) -> None:
        self.graph = graph
        self.type_of = type_of
        self.nodes: list[Node] = []
        self.values = [0]
        self.types: list[DType] = ["float32"]
        self.casts: dict[int, int] = {}

    def take(self, node: Node) -> None:
        dtype = self.type_of(node)
        inputs = tuple([self._read(value, dtype) for value in node.inputs])
        constants = tuple([replace(constant, dtype=dtype) for constant in node.constants])
        result = node.dtype if isinstance(node.op, Quantize) else dtype
        self.nodes.append(replace(node, inputs=inputs, constants=constants, dtype=result))
        self.values.append(len(self.nodes))
        self.types.append(result)

    def finish(self) -> Graph:
        made = with_nodes(self.graph, self.nodes, self.values)
        if self.types[self.graph.output] == "float32":
            return made
        cast = Node("output.cast", Cast("float32"), (made.output,), self._shape(self.graph.output))
        return replace(made, nodes=(*made.nodes, cast), output=len(made.nodes) + 1)

    def _read(self, value: int, dtype: FloatType) -> int:
        """The new value that a node which computes in `dtype` reads for an old one."""
        has = self.types[value]
        if has in (dtype, "int8", "uint8", "float8_e4m3fn"):
            return self.values[value]
        if value not in self.casts:
            source = self.graph.nodes[value - 1] if value else None
            cast = Node(
                f"{source.name if source else 'input'}.cast",
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
