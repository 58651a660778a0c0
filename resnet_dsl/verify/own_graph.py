"""The graph that one of our own ONNX files was written from, worked out from the file and the spec.

What a file was built with is not written in it, but shows: normalisations that are nodes were not folded, weights in
codes were quantised, scales say what ranges were, and a type that is wider than the rest's was kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from resnet_dsl.calibrate.search import unit_name
from resnet_dsl.compiler import Compilation
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import Concat, Conv, Dropout, DropPath, Linear
from resnet_dsl.passes.manager import PassError
from resnet_dsl.passes.numbers import Numbers, Precision, Rest
from resnet_dsl.passes.placement import Placement
from resnet_dsl.verify.onnx_file import OnnxFile


def own_graph(file: OnnxFile, compilation: Compilation) -> tuple[Graph, Precision] | None:
    """The graph, and what its precision is called; None where the file is no file of ours for this spec."""
    names = {name for item in file.operators for name in item.outputs}
    for fold, fixed_size in product((False, True), (not file.dynamic, file.dynamic)):
        plain = compilation.inference_graph(fold=fold, fixed_size=fixed_size)
        if not _names(plain) <= names:
            continue
        for numbers in _candidates(file, plain):
            try:
                graph = compilation.inference_graph(
                    fold=fold, fixed_size=fixed_size, numbers=numbers
                )
            except PassError:  # a range that the file does not have
                continue
            if _names(graph) <= names and _as_many(graph, names):
                return graph, numbers.precision
    return None


def _names(graph: Graph) -> set[str]:
    """The values that a file of the graph has under their own names: not the last, which is the output, nor what is
    left out of a file."""
    return {
        node.name
        for number, node in enumerate(graph.nodes, start=1)
        if number != graph.output
        and not isinstance(node.op, Dropout | DropPath)
        and not (isinstance(node.op, Concat) and len(node.inputs) == 1)
    }


def _as_many(graph: Graph, names: set[str]) -> bool:
    """Whether the file has no cast and no pair that the graph has not."""
    own = {node.name for node in graph.nodes} | {
        f"{item.name}.dequantized" for node in graph.nodes for item in node.constants
    }
    ends = (".quantized", ".dequantized", ".cast")
    return not any(name.endswith(ends) and name not in own for name in names)


def _candidates(file: OnnxFile, graph: Graph) -> Iterator[Numbers]:
    """What the file's numbers may be."""
    types = file.types
    weighted = [node for node in graph.nodes if isinstance(node.op, Conv | Linear)]
    kinds = {node.name: types.get(node.constants[0].name) for node in weighted}
    half: Rest = "fp32"
    if "float16" in types.values():
        half = "fp16"
    elif "bfloat16" in types.values():
        half = "bf16"
    wide = frozenset(
        node.name
        for node in graph.nodes
        if half != "fp32" and types.get(node.name) == "float32" and _has(file, node.name)
    )
    if "int8" in kinds.values() or "float8_e4m3fn" in kinds.values():
        precision: Precision = "int8" if "int8" in kinds.values() else "fp8"
        scales = _scales(file)
        placements: tuple[Placement, ...] = ("onnxruntime", "tensorrt")
        for placement, floating in product(placements, _floating(graph, kinds)):
            numbers = Numbers(precision, half, placement, floating=floating, wide=wide)
            plan = numbers.plan(graph)
            assert plan is not None
            ranges = {
                value.ranged_by: scales[value.name] * plan.codes(value)[1]
                for value in plan.values
                if value.name in scales
            }
            yield Numbers(precision, half, placement, ranges, floating, wide)
        return
    if half == "fp32":
        yield Numbers()
    else:
        yield Numbers(half, wide=wide)


def _floating(graph: Graph, kinds: Mapping[str, str | None]) -> list[frozenset[str]]:
    """What may have been left out of codes: the layers whose weights were, and with them whole blocks or stages, of
    which no layer is in codes."""
    alone = {name for name, kind in kinds.items() if kind in ("float32", "float16", "bfloat16")}
    found = [frozenset(alone)]
    for part_of in (unit_name, lambda node: node.group):
        coded = {part_of(node) for node in graph.nodes if node.name in kinds.keys() - alone}
        whole = {
            part_of(node)
            for node in graph.nodes
            if node.name in alone and part_of(node) not in coded
        }
        inside = {node.name for node in graph.nodes if part_of(node) in whole}
        found.append(frozenset(alone | inside))
    return list(dict.fromkeys(found))


def _has(file: OnnxFile, name: str) -> bool:
    return name in file.types


def _scales(file: OnnxFile) -> dict[str, float]:
    """The scale of each quantised value by its name."""
    found: dict[str, float] = {}
    for item in file.operators:
        if item.kind == "QuantizeLinear" and item.outputs[0].endswith(".quantized"):
            scale = file.constant(item.inputs[1])
            if scale is not None and scale.size == 1:
                found[item.outputs[0].removesuffix(".quantized")] = float(scale.ravel()[0])
    return found
