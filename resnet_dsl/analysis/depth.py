"""The depth that names a network: the 152 of ResNet-152.

Depth is the number of weighted layers (convolutions and linear layers) on the longest path from the
input to the output. A projection shortcut lies beside a longer residual path and so does not count.
What only weighs a tensor does not count either: at a multiply (squeeze-and-excitation) a path that
went through global pooling is left out where there is one that did not, so SE-ResNet-50 is 50
layers deep.
"""

from __future__ import annotations

from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import AdaptiveAvgPool, Conv, Linear, Multiply


def depths(graph: Graph) -> tuple[int, ...]:
    """The depth of each node's result, in the graph's order."""
    depth = [0]
    pooled = [False]
    for node in graph.nodes:
        paths = list(node.inputs)
        if isinstance(node.op, Multiply):
            paths = [value for value in paths if not pooled[value]] or paths
        depth.append(max(depth[value] for value in paths) + isinstance(node.op, (Conv, Linear)))
        squeezes = isinstance(node.op, AdaptiveAvgPool) and node.op.size == (1, 1)
        pooled.append(squeezes or all(pooled[value] for value in paths))
    return tuple(depth[1:])
