"""Where a network keeps values in few bits, which depends on what runs it: the plan that `quantize` carries out.

A pair says in which codes a value is kept; a runtime fuses it with the operations around it into kernels that compute
with codes. What fuses is a matter of the runtime, so there are two placements:

`tensorrt`, int8 or float8, symmetric, without zero points:
1. what a convolution or linear layer reads is quantised, once for all readers, so that a block's first convolution and
   its skip share one scale;
2. of what a residual addition joins, the convolution that ends the branch stays in floating point, since addition and
   activation are fused into it, and the other operands, the skip, are quantised;
3. biases stay in floating point.

`onnxruntime`, unsigned 8 bits, from 0 after an activation without negative results, around 128 elsewhere:
4. operations that it has for codes (convolution, linear, addition, pooling, concatenation) read codes only, and their
   results are quantised too, after the ReLU that follows if it follows alone, for all that read them; so nothing
   returns to floating point within a stage. The logits stay as they are.

In both, max pooling, flattening, taking every n-th pixel and adding channels of zeros leave a value's codes what they
were: its scale is that of what they read, and so is what stands before them quantised.

Tried, and left out. For ONNX Runtime 1.31, int8 on a CPU with VNNI: products and sigmoids in codes (SE-ResNet-50: 1.00
of the time); biases of the last layer as int32 (0.95 to 1.05); normalisations that cannot be folded as depthwise
convolutions (preact networks: 0.90 to 0.95), which would need weights that no state dict has. For TensorRT for RTX 1.7,
ResNet-50 with fp16 beside: quantising both operands of additions, the branch in place of a projection, what activations
read, or all that is in codes for ONNX Runtime makes the same 106 kernels, of which those of convolutions write float32.
The skip in floating point moves 11 % more memory, the stem wide 3 % less. With 3×3 convolutions alone it is 90 kernels
and 36 % less memory, at half of the multiply-adds in codes; wholly in fp16 it is 58, and half of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from resnet_dsl.ir.graph import LARGEST_CODE, Graph, Node
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    CodeType,
    Concat,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    PadChannels,
    Subsample,
)
from resnet_dsl.passes.names import value_names

Placement: TypeAlias = Literal["tensorrt", "onnxruntime"]
NarrowType: TypeAlias = Literal["int8", "float8_e4m3fn"]

_WEIGHTED = (Conv, Linear)
_TRANSPARENT = (MaxPool, Flatten, Subsample, PadChannels)
_IN_CODES = (Conv, Linear, Add, AvgPool, AdaptiveAvgPool, MaxPool, Concat)
_NOT_NEGATIVE = ("relu", "relu6", "sigmoid", "hardsigmoid", "softplus")


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is quantised: its name (`names.value_names`), that of the value whose range its scale is from, and
    whether it can be negative."""

    name: str
    ranged_by: str
    signed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a network's quantisation consists of: `values` in order, and the nodes whose weights are kept as codes.
    `reads` are the pairs (node, operand) that read codes."""

    dtype: NarrowType
    placement: Placement
    values: tuple[Value, ...]
    weighted: frozenset[str]
    reads: frozenset[tuple[str, int]]

    @property
    def ranges(self) -> tuple[str, ...]:
        """The names of the values whose ranges must be known, in order."""
        return tuple(dict.fromkeys(value.ranged_by for value in self.values))

    def codes(self, value: Value) -> tuple[CodeType, float, int]:
        """What a value is kept in: the type, the number of steps from zero to the largest magnitude, the zero point."""
        if self.dtype != "int8":
            return self.dtype, LARGEST_CODE[self.dtype], 0
        if self.placement == "tensorrt":
            return "int8", LARGEST_CODE["int8"], 0
        return ("uint8", 127.0, 128) if value.signed else ("uint8", 255.0, 0)


def plan(
    graph: Graph,
    dtype: NarrowType = "int8",
    placement: Placement = "onnxruntime",
    wide: frozenset[str] = frozenset(),
) -> Plan:
    """What to quantise in a graph, but for the nodes of the names in `wide`."""
    facts = _Facts(graph, wide)
    quantised = facts.for_tensorrt() if placement == "tensorrt" else facts.for_onnxruntime()
    facts.spread(quantised)
    readers = _TRANSPARENT + (_IN_CODES if placement == "onnxruntime" else (*_WEIGHTED, Add))
    made_in_codes = facts.made_in_codes() if placement == "onnxruntime" else set()
    reads = frozenset(
        (node.name, operand)
        for node in graph.nodes
        for operand, value in enumerate(node.inputs)
        if value in quantised
        and (value in made_in_codes or (node.name not in wide and isinstance(node.op, readers)))
    )
    read = {
        node.inputs[operand]
        for node in graph.nodes
        for operand in range(len(node.inputs))
        if (node.name, operand) in reads
    }
    values = tuple(facts.value(number) for number in sorted(quantised & read))
    weighted = frozenset(
        node.name
        for node in graph.nodes
        if node.name not in wide and isinstance(node.op, _WEIGHTED)
    )
    return Plan(dtype, placement, values, weighted, reads)


class _Facts:
    """What the placements ask of a graph."""

    def __init__(self, graph: Graph, wide: frozenset[str]) -> None:
        self.graph = graph
        self.names = value_names(graph)
        self.narrow = [node.name not in wide for node in graph.nodes]
        self.readers: list[list[int]] = [[] for _ in range(len(graph.nodes) + 1)]
        for number, node in enumerate(graph.nodes, start=1):
            for value in node.inputs:
                self.readers[value].append(number)
        self.signed = [True]
        self.ranged_by = [0]
        for number, node in enumerate(graph.nodes, start=1):
            self.signed.append(self._signed(node))
            through = isinstance(node.op, _TRANSPARENT)
            self.ranged_by.append(self.ranged_by[node.inputs[0]] if through else number)

    def _signed(self, node: Node) -> bool:
        match node.op:
            case Activation(kind=kind):
                return kind not in _NOT_NEGATIVE
            case MaxPool() | AvgPool() | AdaptiveAvgPool() | Flatten() | Subsample():
                return self.signed[node.inputs[0]]
            case PadChannels() | Add() | Concat():
                return any(self.signed[value] for value in node.inputs)
            case _:
                return True

    def for_tensorrt(self) -> set[int]:
        """What convolutions and linear layers read, and the skips of additions."""
        found = {node.inputs[0] for node in self._narrow(*_WEIGHTED)}
        for node in self._narrow(Add):
            branch = self._branch(node)
            if branch is not None:
                found.update(value for value in node.inputs if value != branch)
        return found

    def _branch(self, node: Node) -> int | None:
        """The operand of an addition whose convolution the addition is fused into: the last that nothing else reads."""
        for value in node.inputs[::-1]:
            if (
                value
                and isinstance(self.graph.nodes[value - 1].op, Conv)
                and self.narrow[value - 1]
                and len(self.readers[value]) == 1
            ):
                return value
        return None

    def for_onnxruntime(self) -> set[int]:
        """What operations that take codes read and make."""
        read = {value for node in self._narrow(*_IN_CODES) for value in node.inputs}
        return read | self.made_in_codes()

    def made_in_codes(self) -> set[int]:
        """The results of operations that make codes, after the activation that is fused with them; not the logits,
        which nothing reads."""
        makers = [
            number
            for number, node in enumerate(self.graph.nodes, start=1)
            if self.narrow[number - 1] and isinstance(node.op, _IN_CODES)
        ]
        return {after for number in makers if self.readers[after := self._activated(number)]}

    def _activated(self, number: int) -> int:
        """The activation that alone reads a value and is fused with what makes it; else the value."""
        readers = self.readers[number]
        if len(readers) == 1 and self.narrow[readers[0] - 1]:
            match self.graph.nodes[readers[0] - 1].op:
                case Activation(kind="relu" | "relu6"):
                    return readers[0]
                case _:
                    pass
        return number

    def spread(self, quantised: set[int]) -> None:
        """Quantise what stands before operations that leave codes what they were, where their result is."""
        for number in range(len(self.graph.nodes), 0, -1):
            node = self.graph.nodes[number - 1]
            if (
                number in quantised
                and self.narrow[number - 1]
                and isinstance(node.op, _TRANSPARENT)
            ):
                quantised.add(node.inputs[0])

    def value(self, number: int) -> Value:
        ranged_by = self.names[self.ranged_by[number]]
        return Value(self.names[number], ranged_by, self.signed[number])

    def _narrow(self, *kinds: type) -> Iterator[Node]:
        for node, narrow in zip(self.graph.nodes, self.narrow, strict=True):
            if narrow and isinstance(node.op, kinds):
                yield node
