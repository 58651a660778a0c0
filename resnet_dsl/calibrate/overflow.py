"""What fp16 could not hold of a network's values, by what they were seen to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import Add, Multiply
from resnet_dsl.passes.names import value_names

LARGEST_HALF = 65504.0
HEADROOM = 2.0
"""What is above LARGEST_HALF / HEADROOM is kept wide: images to come may give larger values than those seen."""


def overflowing(graph: Graph, largest: Mapping[str, float]) -> dict[str, float]:
    """The nodes that read or make what fp16 could not hold, each with the largest magnitude of it."""
    bound = LARGEST_HALF / HEADROOM
    names = value_names(graph)
    found: dict[str, float] = {}
    for number, node in enumerate(graph.nodes, start=1):
        read = [largest[names[value]] for value in node.inputs]
        most = max(*read, largest[names[number]], _on_the_way(node, read))
        if most > bound:
            found[node.name] = most
    return found


def _on_the_way(node: Node, read: Sequence[float]) -> float:
    """The largest magnitude that a sum or product of several may have before the last of them has come in."""
    match node.op:
        case Add() if len(read) > 2:
            return sum(read[:-1])
        case Multiply() if len(read) > 2:
            return max(prod(read[:count]) for count in range(2, len(read)))
        case _:
            return 0.0
