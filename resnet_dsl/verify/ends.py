"""Which values of a network are compared from its input to its output, and what they are called in each graph."""

from __future__ import annotations

from resnet_dsl.ir.graph import FoldedWeight, Graph, Node
from resnet_dsl.ir.ops import Cast, Dequantize, Quantize


def section(node: Node) -> str:
    """The spec block that a node belongs to, or the stage where it is in no block."""
    return node.block or node.group


def ends(graph: Graph) -> dict[str, str]:
    """The name of the last node of each section (blocks, stem, head), with the section, in order; the last of all gives
    the logits."""
    last: dict[str, str] = {}
    for node in graph.nodes[: graph.output]:
        last.pop(section(node), None)
        last[section(node)] = node.name
    final = graph.nodes[graph.output - 1]
    last.pop(section(final), None)
    last[section(final)] = final.name
    return {name: where for where, name in last.items()}


def counterparts(graph: Graph, reference: Graph) -> dict[str, str]:
    """For the names of a graph's values, those of the reference's values that they stand for.

    A convolution that a normalisation is folded into stands for the normalisation; a cast, and a pair that quantises,
    for what it reads; everything else for what has its name. What is missing stands for nothing.
    """
    own = {node.name for node in reference.nodes}
    norms = {
        node.constants[0].name: node.name for node in reference.nodes if len(node.constants) == 4
    }
    found: dict[int, str] = {}
    for number, node in enumerate(graph.nodes, start=1):
        if isinstance(node.op, Cast | Quantize | Dequantize):
            read = found.get(node.inputs[0])
            if read is not None:
                found[number] = read
            continue
        source = node.constants[0].source if node.constants else None
        if isinstance(source, FoldedWeight):
            found[number] = norms[source.norm.gamma.key]
        elif node.name in own:
            found[number] = node.name
    return {graph.nodes[number - 1].name: name for number, name in found.items()}
