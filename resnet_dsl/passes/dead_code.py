"""Nodes whose results nobody reads are left out. Read are the output, the features, and what a read
node reads.

Requires: a verified graph. Ensures: every node leads to the output or to a feature.
"""

from __future__ import annotations

from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.rewrite import rewrite


def dead_code(graph: Graph) -> Graph:
    """The graph without the nodes that lead nowhere; the graph itself where there are none."""
    read = bytearray(len(graph.nodes) + 1)
    read[graph.output] = 1
    for feature in graph.features:
        read[feature.value] = 1
    for number in range(len(graph.nodes), 0, -1):
        if read[number]:
            for value in graph.nodes[number - 1].inputs:
                read[value] = 1
    if all(read[1:]):
        return graph
    alive = iter(read[1:])
    return rewrite(graph, lambda node: node if next(alive) else node.inputs[0])
