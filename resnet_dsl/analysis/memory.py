"""Memory of activations at batch 1, in the element types of the graph (float32 unless a precision
pass changed them).

Training: the bytes of every tensor that the backward pass reads, each counted once however many
operations read it. The rule, by operation:
- convolution, linear, batch and group normalisation keep their operand (for the gradient of their
  weights);
- relu, relu6, sigmoid and tanh keep their result, every other activation its operand;
- max pooling keeps the place of each maximum, 8 bytes each (torch's int64);
- multiply and gate keep their operands;
- dropout keeps a mask of 1 byte an element, drop path 4 bytes a sample;
- frozen normalisation, averages, add, concatenate, subsample, padding, casts and flatten keep
  nothing.
A flatten is a view of its operand. Per-channel statistics, the loss, gradients, parameters and the
optimiser's state are not activations and are not counted.

Inference: the largest sum of live tensors while the nodes run in the graph's order. A tensor lives
from the node that writes it to the last node that reads it, and the network's output lives on.
While a node runs, its operands and its result live together, except that an elementwise operation
(normalisation, activation, add, multiply, gate) writes over an operand of its own size that nothing
reads later. So the peak is the same before and after normalisations are folded. Flatten, dropout
and drop path are views. The image is counted until its last reader, and never written over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import assert_never

from resnet_dsl.analysis.values import sizes_in_bytes
from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
    Dequantize,
    Dropout,
    DropPath,
    Flatten,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Quantize,
    Subsample,
)

_KEEPS_RESULT = frozenset({"relu", "relu6", "sigmoid", "tanh"})
_INDEX_BYTES = 8
_MASK_BYTES = 1
_SAMPLE_MASK_BYTES = 4


@dataclass(frozen=True, slots=True)
class ActivationMemory:
    """Bytes for each node. `training[i]` is what node i's result (and mask) adds to what the
    backward pass needs; the image, where it is kept, counts at its first reader. `live[i]` is what
    lives while node i runs.
    """

    training: tuple[int, ...]
    live: tuple[int, ...]


def activation_memory(graph: Graph) -> ActivationMemory:
    """Both figures, in time linear in the number of edges."""
    return ActivationMemory(_training(graph), _live(graph))


def _training(graph: Graph) -> tuple[int, ...]:
    size = sizes_in_bytes(graph)
    storage = _storage(graph, (Flatten,))
    kept = [False] * len(size)
    added = [0] * len(graph.nodes)
    for index, node in enumerate(graph.nodes):
        values, extra = _kept_by(node, index + 1, prod(node.shape))
        added[index] += extra
        for value in values:
            tensor = storage[value]
            if not kept[tensor]:
                kept[tensor] = True
                added[tensor - 1 if tensor else index] += size[tensor]
    return tuple(added)


def _kept_by(node: Node, result: int, size: int) -> tuple[tuple[int, ...], int]:
    """The values that the backward pass of `node` reads, and the bytes of what it keeps beside
    them.
    """
    match node.op:
        case Conv() | Linear() | BatchNorm() | GroupNorm() | Multiply() | Gate():
            return node.inputs, 0
        case Activation(kind=kind):
            return ((result,) if kind in _KEEPS_RESULT else node.inputs), 0
        case MaxPool():
            return (), size * _INDEX_BYTES
        case Dropout():
            return (), size * _MASK_BYTES
        case DropPath():
            return (), _SAMPLE_MASK_BYTES
        case AvgPool() | AdaptiveAvgPool() | FrozenBatchNorm() | Add() | Concat():
            return (), 0
        case Flatten() | Subsample() | PadChannels() | Cast() | Quantize() | Dequantize():
            return (), 0
        case unreachable:
            assert_never(unreachable)


def _live(graph: Graph) -> tuple[int, ...]:
    size = sizes_in_bytes(graph)
    storage = _storage(graph, (Flatten, Dropout, DropPath))
    last_reader = [-1] * len(size)
    for index, node in enumerate(graph.nodes):
        for value in node.inputs:
            last_reader[storage[value]] = index
    last_reader[storage[graph.output]] = len(graph.nodes)

    live: list[int] = []
    now = size[0]
    for index, node in enumerate(graph.nodes):
        result = index + 1
        dying = {storage[value] for value in node.inputs if last_reader[storage[value]] == index}
        if storage[result] == result:
            now += size[result]
            if _writes_in_place(node):
                reused = next((t for t in dying if t and size[t] == size[result]), None)
                if reused is not None:
                    dying.remove(reused)
                    now -= size[reused]
        live.append(now)
        now -= sum(size[tensor] for tensor in dying)
        if storage[result] == result and last_reader[result] < 0:
            now -= size[result]
    return tuple(live)


def _storage(graph: Graph, views: tuple[type, ...]) -> list[int]:
    """For each value, the value that owns its memory: its own number, or the operand's where the
    node is a view.
    """
    storage = [0]
    for index, node in enumerate(graph.nodes):
        storage.append(storage[node.inputs[0]] if isinstance(node.op, views) else index + 1)
    return storage


def _writes_in_place(node: Node) -> bool:
    elementwise = (BatchNorm, FrozenBatchNorm, GroupNorm, Activation, Add, Multiply, Gate)
    return isinstance(node.op, elementwise)
