"""Parameters (what training moves) and buffers (what it does not: running statistics, frozen
normalisations).

A weight that several nodes share counts once, at the node that reads it first. torch's
`num_batches_tracked` is a counter, not a tensor of the network, and is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from resnet_dsl.ir.graph import ELEMENT_BYTES, Constant, Graph


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """`trainable` and `buffers` are numbers of elements; `bytes` is what both take in their element
    types.
    """

    trainable: int = 0
    buffers: int = 0
    bytes: int = 0

    def __add__(self, other: ParameterCount) -> ParameterCount:
        return ParameterCount(
            self.trainable + other.trainable,
            self.buffers + other.buffers,
            self.bytes + other.bytes,
        )


def parameters_per_node(graph: Graph) -> tuple[ParameterCount, ...]:
    """One count a node, in the graph's order."""
    seen: set[str] = set()
    counts: list[ParameterCount] = []
    for node in graph.nodes:
        new = {c.name: c for c in node.constants if c.name not in seen}
        seen.update(new)
        counts.append(_count(new.values()))
    return tuple(counts)


def total_parameters(graph: Graph) -> ParameterCount:
    """The count of the whole graph."""
    return sum(parameters_per_node(graph), ParameterCount())


def _count(constants: Iterable[Constant]) -> ParameterCount:
    count = ParameterCount()
    for constant in constants:
        size = prod(constant.shape)
        taken = size * ELEMENT_BYTES[constant.encoding or constant.dtype]
        if constant.encoding is not None:
            taken += constant.shape[0] * ELEMENT_BYTES[constant.dtype]  # its scales
        trains = constant.trainable
        count += ParameterCount(size, 0, taken) if trains else ParameterCount(0, size, taken)
    return count
