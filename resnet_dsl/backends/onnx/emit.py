"""Graph to ONNX nodes. Names are the graph's own: a node and its result are called by the module's path, an
initialiser by its state-dict key. The image is `input` (N, C, H, W), the result `logits` (N, classes); they and ends of
stages that are outputs are float32, whatever the graph computes with.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_dsl.backends.onnx import proto
from resnet_dsl.backends.onnx.builder import GraphBuilder
from resnet_dsl.backends.onnx.operators import Operands, emit_operation
from resnet_dsl.backends.onnx.options import OnnxOptions, constants_of, opset_of, scales_name
from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.ir.graph import Constant, DType, Graph, Node, Shape
from resnet_dsl.ir.ops import AdaptiveAvgPool, Linear

INPUT = "input"
OUTPUT = "logits"


@dataclass(frozen=True, slots=True)
class Emitted:
    """A GraphProto that lacks its weights; `initializers` counts the small constants that it has."""

    graph: bytes
    nodes: int
    initializers: int
    opset: int


def emit(graph: Graph, options: OnnxOptions) -> Emitted:
    """The model's nodes, inputs and outputs. Raises CompileError: RD640 for an opset, RD641 where `dynamic_size` cannot
    be had, RD642 for an output that is no stage.
    """
    opset = opset_of(graph, options)
    outputs = {OUTPUT: graph.output, **_features(graph, options)}
    build = GraphBuilder(opset, {INPUT, *outputs, *(item.name for item in constants_of(graph))})
    result_names = _result_names(graph, outputs, build)

    values = [INPUT]
    dynamic = [options.dynamic_size]
    for number, node in enumerate(graph.nodes, start=1):
        first = node.inputs[0]
        read = Operands(
            tuple([values[value] for value in node.inputs]),
            tuple([_constant(build, node, constant) for constant in node.constants]),
            _shape(graph, first),
            _dtype(graph, first),
            dynamic[first],
        )
        values.append(emit_operation(build, node, result_names[number], read))
        dynamic.append(
            not isinstance(node.op, AdaptiveAvgPool)
            and any(dynamic[value] for value in node.inputs)
        )
    for name, value in outputs.items():
        if _dtype(graph, value) != "float32":
            build.node("Cast", name, (values[value],), to=proto.ELEMENT_TYPES["float32"])
        elif values[value] != name:
            build.node("Identity", name, (values[value],))

    message = proto.graph(
        graph.name,
        graph.doc,
        build.fields(),
        [_end(INPUT, graph, 0, dynamic[0])],
        [_end(name, graph, value, dynamic[value]) for name, value in outputs.items()],
    )
    return Emitted(message, build.nodes, build.initializers, opset)


def _constant(build: GraphBuilder, node: Node, constant: Constant) -> str:
    """The name under which a node reads a constant: its own, or that of its codes times their scales."""
    if constant.encoding is None:
        return constant.name
    codes = [constant.name, scales_name(constant)]
    if isinstance(node.op, Linear) and constant.encoding == "int8":
        # ONNX Runtime has a Gemm of codes only where the zero points are written.
        codes.append(build.zero_points(constant.shape[0], constant.encoding))
    return build.once("DequantizeLinear", f"{constant.name}.dequantized", codes, axis=0)


def _features(graph: Graph, options: OnnxOptions) -> dict[str, int]:
    """The stages asked for, by name, in the order of asking."""
    stages = {feature.name: feature.value for feature in graph.features}
    for name in options.outputs:
        if name in stages and name in (INPUT, OUTPUT):
            raise CompileError(
                Diagnostic(
                    "RD642",
                    f"the stage `{name}` cannot be an output",
                    why=f"the graph has a `{name}` of its own",
                    hint="give the stage another name",
                )
            )
        if name not in stages:
            raise CompileError(
                Diagnostic(
                    "RD642",
                    f"there is no stage `{name}` to be an output",
                    why=f"the stages of {graph.name} are {', '.join(stages) or 'none'}",
                    hint=suggest(name, stages) or "name one of them",
                )
            )
    return {name: stages[name] for name in options.outputs}


def _result_names(graph: Graph, outputs: dict[str, int], build: GraphBuilder) -> list[str]:
    """What each value is to be called: by its output, or else by its node; unlike any other."""
    by_value = {
        value: name
        for name, value in reversed(outputs.items())
        if value and _dtype(graph, value) == "float32"
    }
    names = [INPUT]
    for number, node in enumerate(graph.nodes, start=1):
        names.append(by_value[number] if number in by_value else build.free(node.name))
    return names


def _shape(graph: Graph, value: int) -> Shape:
    return graph.nodes[value - 1].shape if value else graph.input


def _dtype(graph: Graph, value: int) -> DType:
    return graph.nodes[value - 1].dtype if value else "float32"


def _end(name: str, graph: Graph, value: int, dynamic: bool) -> bytes:
    """An input or output; the batch goes before its shape, and a word is a symbolic dimension."""
    shape: tuple[int | str, ...] = _shape(graph, value)
    if dynamic and len(shape) == 3:
        prefix = "" if name == INPUT else f"{name}."
        shape = (shape[0], f"{prefix}height", f"{prefix}width")
    return proto.value_info(name, proto.ELEMENT_TYPES["float32"], ("batch", *shape))
