"""Parts of a network by the names that people have for them: a stage, a block, a layer."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.ir.graph import Graph


def nodes_in(graph: Graph, parts: Sequence[str]) -> frozenset[str]:
    """The nodes of stages (`layer1`, `stem`), blocks (`layer1.0`) and layers (`layer1.0.conv1`, `fc`).

    Raises CompileError RD685 for a name that is none.
    """
    found: set[str] = set()
    unknown: list[Diagnostic] = []
    for part in parts:
        inside = {
            node.name
            for node in graph.nodes
            if part in (node.group, node.name) or node.name.startswith(f"{part}.")
        }
        if not inside:
            unknown.append(_unknown(graph, part))
        found |= inside
    if unknown:
        raise CompileError(unknown)
    return frozenset(found)


def _unknown(graph: Graph, part: str) -> Diagnostic:
    names = dict.fromkeys(
        name for node in graph.nodes for name in (node.group, node.block, node.name) if name
    )
    stages = ", ".join(dict.fromkeys(node.group for node in graph.nodes if node.group))
    return Diagnostic(
        "RD685",
        f"{graph.name} has no part `{part[:100]}`",
        hint=suggest(part, names) or f"its stages are {stages}; `resnet-dsl describe` lists layers",
    )
