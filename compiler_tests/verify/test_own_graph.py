"""The graph that a file of ours was written from is worked out from the file, whatever it was built with."""

from __future__ import annotations

import pytest

from compiler_tests.verify import nets
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.calibrate.parts import nodes_in
from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.numbers import Numbers, Precision, Rest
from resnet_dsl.passes.placement import Placement
from resnet_dsl.verify.onnx_file import OnnxFile, read
from resnet_dsl.verify.own_graph import own_graph


def written(graph: Graph, options: OnnxOptions | None = None) -> OnnxFile:
    path = nets.folder() / "own.onnx"
    with path.open("wb") as stream:
        write_model(graph, nets.weights(nets.PLAIN), stream, options or OnnxOptions())
    return read(path)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_floating_point(precision: Precision, fold: bool) -> None:
    compilation = nets.compiled(nets.PLAIN)
    graph = compilation.inference_graph(fold=fold, numbers=Numbers(precision))
    assert own_graph(written(graph), compilation) == (graph, precision)


@pytest.mark.parametrize("spec", nets.SPECS.values(), ids=nets.SPECS.keys())
def test_every_kind_of_network(spec: str) -> None:
    compilation = nets.compiled(spec)
    graph = compilation.inference_graph()
    path = nets.folder() / "kind.onnx"
    with path.open("wb") as stream:
        write_model(graph, nets.weights(spec), stream)
    assert own_graph(read(path), compilation) == (graph, "fp32")


def test_what_stays_wide_is_seen() -> None:
    compilation = nets.compiled(nets.PLAIN)
    wide = frozenset({"layer1.0.conv1", "layer1.0.relu1", "layer2.1.add"})
    graph = compilation.inference_graph(numbers=Numbers("fp16", wide=wide))
    assert own_graph(written(graph), compilation) == (graph, "fp16")


def test_open_sizes_and_more_outputs() -> None:
    compilation = nets.compiled(nets.PLAIN)
    graph = compilation.inference_graph(fixed_size=False)
    file = written(graph, OnnxOptions(dynamic_size=True))
    assert own_graph(file, compilation) == (graph, "fp32")


PLACED: list[tuple[Precision, Placement, Rest]] = [
    ("int8", "onnxruntime", "fp32"),
    ("int8", "tensorrt", "fp32"),
    ("int8", "tensorrt", "fp16"),
    ("fp8", "tensorrt", "fp32"),
    ("fp8", "tensorrt", "fp16"),
]


@pytest.mark.parametrize(("precision", "placement", "rest"), PLACED)
@pytest.mark.parametrize(
    "parts",
    [(), ("conv1", "layer2.0.conv2"), ("layer1.0",), ("layer2", "stem")],
    ids=["nothing", "layers", "block", "stages"],
)
def test_codes(
    precision: Precision, placement: Placement, rest: Rest, parts: tuple[str, ...]
) -> None:
    compilation = nets.compiled(nets.PLAIN)
    floating = nodes_in(compilation.inference_graph(), parts)
    bare = Numbers(precision, rest, placement, floating=floating)
    plan = bare.plan(compilation.inference_graph())
    assert plan is not None
    ranges = {name: 1.0 + 0.37 * number for number, name in enumerate(plan.ranges)}
    numbers = Numbers(precision, rest, placement, ranges, floating)
    graph = compilation.inference_graph(numbers=numbers)
    assert own_graph(written(graph), compilation) == (graph, precision)


def test_a_file_of_another_spec_is_none() -> None:
    graph = nets.compiled(nets.PLAIN).inference_graph()
    assert own_graph(written(graph), nets.compiled(nets.BOTTLENECK)) is None
