"""What values are called where a graph's are told apart by name: in plans, in ranges, and in what is seen of them."""

from __future__ import annotations

from dataclasses import replace

from resnet_dsl.ir.graph import Graph

INPUT = "input"
OUTPUT = "logits"


def value_names(graph: Graph) -> list[str]:
    """The names of all values, the image's first: each its node's, but where a layer is called as the image is, or as
    the logits are and makes others."""
    used = {INPUT, OUTPUT} | {node.name for node in graph.nodes}
    names = [INPUT]
    for number, node in enumerate(graph.nodes, start=1):
        taken = node.name == INPUT or (node.name == OUTPUT and number != graph.output)
        names.append(free(node.name, used) if taken else node.name)
    return names


def distinct(graph: Graph) -> Graph:
    """The graph with its nodes called as their values are."""
    names = value_names(graph)[1:]
    if all(node.name == name for node, name in zip(graph.nodes, names, strict=True)):
        return graph
    nodes = [
        replace(node, name=name) if node.name != name else node
        for node, name in zip(graph.nodes, names, strict=True)
    ]
    return replace(graph, nodes=tuple(nodes))


def free(name: str, used: set[str]) -> str:
    """`name`, or the next name like it that nothing has; taken from now on."""
    while name in used:
        name += "_"
    used.add(name)
    return name
