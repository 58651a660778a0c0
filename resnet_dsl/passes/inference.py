"""What only training does is left out: dropout (Srivastava et al. 2014) and stochastic depth (Huang
et al. 2016) are the identity at inference, since both are scaled by 1/(1 - rate) in training.

Requires: a verified graph. Ensures: no Dropout and no DropPath.
"""

from __future__ import annotations

from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import Dropout, DropPath
from resnet_dsl.passes.rewrite import rewrite


def inference(graph: Graph) -> Graph:
    """The graph without Dropout and DropPath."""

    def change(node: Node) -> Node | int:
        return node.inputs[0] if isinstance(node.op, Dropout | DropPath) else node

    return rewrite(graph, change)
