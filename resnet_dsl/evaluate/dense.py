"""A network as a convolution: applied to images of other sizes than it was made for.

A head that pools its whole map to 1×1 and is linear from there is the classifier applied at each place of the map (a
1×1 convolution), averaged: the network as it is takes any size, and gives just that. A head that reads a map of a fixed
k×k, as VGG's does, is a k×k convolution: it is applied to every k×k window of the larger map, and its scores are
averaged over them (Simonyan & Zisserman 2015, section 3.2).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from resnet_dsl.analysis.values import shapes
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.geometry import Size
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import AdaptiveAvgPool, Flatten
from resnet_dsl.runtime.evaluation import Score


def dense(compilation: Compilation, network: nn.Module) -> Score:
    """The network for images of any size: (B, C, H, W) to (B, classes). `network` may be changed.

    Raises CompileError RD674 where it can only be applied to images of the size that it was made for.
    """
    pool = _fixed_pool(compilation.graph)
    if pool is None:
        return network
    windows = Windows(_size_of(pool))
    parent, _, name = pool.name.rpartition(".")
    setattr(network.get_submodule(parent), name, windows)

    def score(images: Tensor) -> Tensor:
        scores: Tensor = network(images)
        return scores.reshape(len(images), -1, scores.shape[1]).mean(1)

    return score


class Windows(nn.Module):
    """Every window of `size` (height, width) of a map, (N, C, H, W) to (N · windows, C, height, width)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        (height, width), (rows, columns) = x.shape[2:], self.size
        if height < rows or width < columns:
            raise refusal(
                "RD674",
                "an image is too small for the network",
                why=f"its head reads a map of {rows}×{columns}, and the image gives one of {height}×{width}",
                hint="give larger --scales, or a larger --size",
            )
        windows = x.unfold(2, rows, 1).unfold(3, columns, 1)
        return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], rows, columns)


def _fixed_pool(graph: Graph) -> Node | None:
    """The pooling to a fixed size above 1×1 that the head begins with; None where all is pooled to 1×1.

    Raises CompileError RD674 where the graph is neither.
    """
    pool: Node | None = None
    sizes = shapes(graph)
    # Of each value: whether its shape grows with the image, is fixed, or is fixed and is one of every window.
    kinds: list[Literal["grows", "fixed", "window"]] = ["grows"]
    for node in graph.nodes:
        read = {kinds[operand] for operand in node.inputs}
        if "window" in read:
            if len(read) > 1:
                raise _resamples(node, sizes[node.inputs[0]])
            kinds.append("window")
            continue
        match node.op:
            case AdaptiveAvgPool(size=(1, 1)):
                kinds.append("fixed")
            case AdaptiveAvgPool(size=size) if "grows" in read:
                if pool is not None or sizes[node.inputs[0]][1:] != size:
                    raise _resamples(node, sizes[node.inputs[0]])
                pool = node
                kinds.append("window")
            case Flatten() if "grows" in read:
                raise _reads_all(node, sizes[node.inputs[0]])
            case _:
                kinds.append("grows" if "grows" in read else "fixed")
    if kinds[graph.output] == "grows":
        raise _reads_all(graph.nodes[-1], sizes[graph.output])
    return pool


def _size_of(pool: Node) -> Size:
    assert isinstance(pool.op, AdaptiveAvgPool)
    return pool.op.size


def _resamples(node: Node, shape: tuple[int, ...]) -> CompileError:
    return refusal(
        "RD674",
        "the network cannot be applied to images of other sizes",
        why=f"`{node.name}` pools a map of {'×'.join(map(str, shape[1:]))} to a fixed size, "
        "and what follows is no convolution of it",
        hint="give --views center or --views ten; or a head that pools to 1×1, as `classifier` does",
    )


def _reads_all(node: Node, shape: tuple[int, ...]) -> CompileError:
    return refusal(
        "RD674",
        "the network cannot be applied to images of other sizes",
        why=f"`{node.name}` reads all of a map of {'×'.join(map(str, shape))} that grows with the image",
        hint="give --views center or --views ten; or a head that pools to 1×1, as `classifier` does",
    )
