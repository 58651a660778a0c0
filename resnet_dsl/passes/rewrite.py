"""What passes share: one walk over a graph that keeps, replaces or removes nodes and renumbers the
rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnet_dsl.ir.graph import Graph, Node


def renumbered(node: Node, inputs: tuple[int, ...]) -> Node:
    """The node reading other values; the node itself where they are the same."""
    return node if inputs == node.inputs else replace(node, inputs=inputs)


def rewrite(graph: Graph, change: Callable[[Node], Node | int]) -> Graph:
    """The graph with every node replaced by what `change` makes of it, from input to output.

    `change` sees the node with its inputs already renumbered, and returns the node (or its
    replacement, of the same shape), or the number of one of its inputs, which then stands for its
    result: the node is gone.
    """
    values = [0]
    nodes: list[Node] = []
    for node in graph.nodes:
        result = change(renumbered(node, tuple([values[value] for value in node.inputs])))
        if isinstance(result, int):
            values.append(result)
        else:
            nodes.append(result)
            values.append(len(nodes))
    return with_nodes(graph, nodes, values)


def with_nodes(graph: Graph, nodes: list[Node], values: list[int]) -> Graph:
    """The graph with other nodes; `values[old]` is the new number of an old value."""
    return replace(
        graph,
        nodes=tuple(nodes),
        output=values[graph.output],
        features=tuple(replace(feature, value=values[feature.value]) for feature in graph.features),
    )
