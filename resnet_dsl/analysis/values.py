"""Facts about a graph's values that every analysis needs. Value 0 is the input, i + 1 the result of
node i.
"""

from __future__ import annotations

from math import prod

from resnet_dsl.ir.graph import ELEMENT_BYTES, Graph, Shape


def shapes(graph: Graph) -> tuple[Shape, ...]:
    """The shape of each value, without the batch: (C, H, W) or (F,)."""
    return (graph.input, *(node.shape for node in graph.nodes))


def sizes_in_bytes(graph: Graph) -> tuple[int, ...]:
    """Bytes of each value at batch 1, in the element type of its node; the input is float32."""
    results = (prod(node.shape) * ELEMENT_BYTES[node.dtype] for node in graph.nodes)
    return (prod(graph.input) * ELEMENT_BYTES["float32"], *results)
