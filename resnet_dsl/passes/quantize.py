"""Quantised inference: what convolutions and linear layers compute with in few bits, by Quantize and Dequantize pairs.

A pair says in which codes a value is kept; a runtime fuses it with the operations around it into kernels that compute
with codes. Which values these are is `placement`'s to say.

Weights are kept as symmetric codes, a scale for each output channel (`Constant.encoding`).

Requires: a verified float32 graph without casts. Ensures: the pairs are the only nodes more, `<value>.quantized` and
`<value>.dequantized`, one pair a value; nodes named in `wide` read and make floating point, with weights as they were.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from resnet_dsl.ir.graph import Graph, Node, Output
from resnet_dsl.ir.ops import CodeType, Dequantize, Quantize
from resnet_dsl.passes.names import free, value_names
from resnet_dsl.passes.placement import Plan
from resnet_dsl.passes.rewrite import with_nodes

_SMALLEST = 2.0**-126  # of the normal numbers of float32


def quantize(graph: Graph, plan: Plan, ranges: Mapping[str, float]) -> Graph:
    """The graph quantised as planned; `ranges` are the largest magnitudes that each of `plan.ranges` keeps, beyond
    which it is clipped. Raises KeyError for a range that is missing."""
    kept = {value.name: value for value in plan.values}
    names = value_names(graph)
    used = {node.name for node in graph.nodes}
    dtype: CodeType = plan.dtype
    numbers = [0]
    codes: dict[int, int] = {}
    nodes: list[Node] = []

    def pair(old: int, source: Node | None) -> None:
        """Quantise an old value, which has just been made."""
        name = names[old]
        value = kept.get(name)
        if value is None:
            return
        kind, steps, zero = plan.codes(value)
        scale = _scale(ranges[value.ranged_by], steps)
        shape, group, block = (
            (source.shape, source.group, source.block) if source else (graph.input, "", "")
        )
        first = Node(
            free(f"{name}.quantized", used),
            Quantize(kind, scale, zero),
            (numbers[old],),
            shape,
            group=group,
            block=block,
            dtype=kind,
        )
        second = replace(
            first,
            name=free(f"{name}.dequantized", used),
            op=Dequantize(kind, scale, zero),
            inputs=(len(nodes) + 1,),
            dtype="float32",
        )
        nodes.extend((first, second))
        codes[old] = len(nodes)

    pair(0, None)
    for old, node in enumerate(graph.nodes, start=1):
        inputs = tuple(
            [
                codes[value] if (node.name, operand) in plan.reads else numbers[value]
                for operand, value in enumerate(node.inputs)
            ]
        )
        constants = node.constants
        if node.name in plan.weighted:
            constants = (replace(constants[0], encoding=dtype), *constants[1:])
        nodes.append(replace(node, inputs=inputs, constants=constants))
        numbers.append(len(nodes))
        pair(old, node)
    made = with_nodes(graph, nodes, numbers)
    return replace(made, features=tuple(_features(graph, plan, codes, made.features)))


def _features(
    graph: Graph, plan: Plan, codes: Mapping[int, int], features: Iterable[Output]
) -> Iterator[Output]:
    """The ends of stages. For ONNX Runtime they are what all readers read, where that is codes: it makes codes of
    nothing that is wanted in floating point as well."""
    floating = {
        value
        for node in graph.nodes
        for operand, value in enumerate(node.inputs)
        if (node.name, operand) not in plan.reads
    }
    for old, new in zip(graph.features, features, strict=True):
        in_codes = plan.placement == "onnxruntime" and old.value not in floating
        yield replace(new, value=codes.get(old.value, new.value)) if in_codes else new


def _scale(largest: float, steps: float) -> float:
    """The scale under which the largest magnitude is the largest code, as the float32 that it is written as; of a value
    that is always zero, or too small for a scale, 1."""
    exact = largest / steps
    scale = struct.unpack("<f", struct.pack("<f", exact))[0]
    return float(scale) if scale >= _SMALLEST else 1.0
