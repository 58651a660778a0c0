"""The whole network in a half-precision type: float16 or bfloat16.

The image and the logits stay float32, as callers have them: a Cast follows the input, and one
precedes the output. Everything between computes in the half type, weights included; they are
rounded once, from float32 (or, for folded ones, from float64). Features are in the half type.

Requires: a verified float32 graph without casts. Ensures: two more nodes (`input.cast`,
`output.cast`); every other node and constant has the half type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from resnet_dsl.ir.graph import Graph, Node, Shape
from resnet_dsl.ir.ops import Cast

HalfType = Literal["float16", "bfloat16"]


def precision(graph: Graph, dtype: HalfType) -> Graph:
    """The graph computing in `dtype`; raises ValueError where it has casts already."""
    if any(isinstance(node.op, Cast) or node.dtype != "float32" for node in graph.nodes):
        raise ValueError("the precision of this graph has been set already")
    nodes = [Node("input.cast", Cast(dtype), (0,), graph.input, dtype=dtype)]
    for node in graph.nodes:
        constants = tuple([replace(constant, dtype=dtype) for constant in node.constants])
        inputs = tuple([value + 1 for value in node.inputs])
        nodes.append(replace(node, inputs=inputs, constants=constants, dtype=dtype))
    output = graph.output + 1
    shape: Shape = nodes[output - 1].shape
    nodes.append(Node("output.cast", Cast("float32"), (output,), shape))
    return replace(
        graph,
        nodes=tuple(nodes),
        output=len(nodes),
        features=tuple(replace(feature, value=feature.value + 1) for feature in graph.features),
    )
