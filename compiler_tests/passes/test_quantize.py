"""Where codes go in a residual network for each runtime, and that the numbers stay near."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from compiler_tests import torch_reference
from compiler_tests.graphs import RELU, Builder, conv, norm, residual_net
from compiler_tests.onnx_runs import run, session, to_bytes, to_model
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.catalogue import find_spec
from resnet_dsl.compiler import compile_spec
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import (
    Activation,
    Add,
    Dequantize,
    Flatten,
    Init,
    Linear,
    Multiply,
    Quantize,
)
from resnet_dsl.ir.text import graph_text
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.numbers import Numbers
from resnet_dsl.passes.placement import NarrowType, Placement, plan
from resnet_dsl.passes.precision import precision
from resnet_dsl.passes.quantize import quantize

WEIGHTS = torch_reference.RandomWeights()


def quantised(
    graph: Graph,
    placement: Placement,
    dtype: NarrowType = "int8",
    wide: Iterable[str] = (),
) -> Graph:
    """The graph with the ranges that a random batch has."""
    found = plan(graph, dtype, placement, frozenset(wide))
    x = torch_reference.image(graph)
    result = quantize(graph, found, torch_reference.ranges(graph, WEIGHTS, x, found.ranges))
    verify(result)
    return result


def named(graph: Graph) -> set[str]:
    """The names of the values that are quantised."""
    return {
        node.name.removesuffix(".quantized") for node in graph.nodes if type(node.op) is Quantize
    }


def reads(graph: Graph, name: str) -> list[str]:
    """What a node reads."""
    node = next(node for node in graph.nodes if node.name == name)
    return [graph.nodes[value - 1].name if value else "input" for value in node.inputs]


@pytest.fixture
def net() -> Graph:
    return fold_batchnorm(residual_net())


def test_for_tensorrt_convolutions_read_codes_and_of_an_addition_only_the_skip(net):
    result = quantised(net, "tensorrt")
    assert reads(result, "layer1.1.conv1") == ["layer1.0.relu.dequantized"]
    # The convolution that ends the branch stays in floating point, and the skip shares the codes of conv1.
    assert reads(result, "layer1.1.add") == ["layer1.1.conv2", "layer1.0.relu.dequantized"]
    # Where both are convolutions, one is fused, and the other quantised.
    assert reads(result, "layer2.0.add") == [
        "layer2.0.conv2.dequantized",
        "layer2.0.downsample.0",
    ]
    assert "layer1.0.conv2" not in named(result)
    assert not any(op.zero_point for node in result.nodes if isinstance(op := node.op, Quantize))
    assert {node.op.dtype for node in result.nodes if isinstance(node.op, Quantize)} == {"int8"}


def test_for_onnx_runtime_nothing_returns_to_floating_point_within_a_stage(net):
    result = quantised(net, "onnxruntime")
    for node in result.nodes:
        if type(node.op).__name__ in ("Conv", "Add", "MaxPool", "AdaptiveAvgPool", "Linear"):
            assert all(name.endswith(".dequantized") for name in reads(result, node.name))
    assert "layer1.0.conv1" not in named(result)  # its activation is, which is fused with it
    assert {"layer1.0.relu1", "layer1.0.conv2", "layer1.0.relu"} <= named(result)
    assert "fc" not in named(result)
    ops = {node.name: node.op for node in result.nodes if isinstance(node.op, Quantize)}
    assert ops["layer1.0.relu1.quantized"].zero_point == 0
    assert ops["layer1.0.conv2.quantized"].zero_point == 128


def test_onnx_runtime_runs_it_in_kernels_of_codes(net, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    model = to_bytes(quantised(net, "onnxruntime"), WEIGHTS)
    onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    convolutions = sum(type(node.op).__name__ == "Conv" for node in net.nodes)
    assert kinds.count("QLinearConv") == convolutions
    assert kinds.count("QLinearAdd") == sum(isinstance(node.op, Add) for node in net.nodes)
    assert "Conv" not in kinds
    assert "FusedConv" not in kinds


def test_onnx_runtime_computes_hidden_linear_layers_in_codes_too(tmp_path):
    build = Builder(2, 4)
    build.add("flatten", Flatten())
    build.add("fc1", Linear(32, 8, bias=True, init=Init()))
    build.add("relu", RELU)
    build.add("fc2", Linear(8, 6, bias=False, init=Init()))
    build.add("fc3", Linear(6, 4, bias=True, init=Init()))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    model = to_model(quantised(build.graph(), "onnxruntime"), WEIGHTS).SerializeToString()
    onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QGemm") == 2
    assert kinds.count("Gemm") == 1  # the logits, which are no codes


def test_stages_that_are_outputs_too_leave_onnx_runtime_its_kernels_of_codes(net, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    stages = tuple(feature.name for feature in net.features)
    assert stages
    result = quantised(net, "onnxruntime")
    model = to_model(result, WEIGHTS, OnnxOptions(outputs=stages)).SerializeToString()
    onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert not {"Add", "Relu", "Conv"} & {*kinds}
    x = torch_reference.image(net)
    exact, found = torch_reference.run(net, WEIGHTS, x), run(model, x)
    for name in stages:
        assert np.abs(found[name] - exact[name]).max() < 0.1 * np.abs(exact[name]).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_outputs_are_float32_in_half_precision_too(net, dtype):
    stages = tuple(feature.name for feature in net.features)
    model = to_model(precision(net, dtype), WEIGHTS, OnnxOptions(outputs=stages))
    kinds = {item.name: item.type.tensor_type.elem_type for item in model.graph.output}
    assert kinds == dict.fromkeys(["logits", *stages], onnx.TensorProto.FLOAT)


@pytest.mark.parametrize("placement", ["tensorrt", "onnxruntime"])
def test_scales_pass_through_what_leaves_codes_as_they_were(net, placement):
    result = quantised(net, placement)
    scale = {node.name: node.op.scale for node in result.nodes if isinstance(node.op, Quantize)}
    assert scale["relu.quantized"] == scale["maxpool.quantized"]
    assert reads(result, "maxpool") == ["relu.dequantized"]


@pytest.mark.parametrize("placement", ["tensorrt", "onnxruntime"])
@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
def test_the_numbers_stay_near_and_are_those_of_onnx_runtime(net, placement, dtype):
    if dtype == "float8_e4m3fn" and placement == "onnxruntime":
        pytest.skip("float8 is for TensorRT")
    result = quantised(net, placement, dtype)
    x = torch_reference.image(net, batch=4, seed=5)
    exact = torch_reference.run(net, WEIGHTS, x)["logits"]
    found = torch_reference.run(result, WEIGHTS, x)["logits"]
    spread = np.abs(exact).max()
    assert 1e-5 * spread < np.abs(found - exact).max() < 0.15 * spread
    model = to_model(result, WEIGHTS)
    ran = run(model.SerializeToString(), x, codes=dtype == "int8")["logits"]
    assert np.abs(ran - found).max() < 0.03 * spread


def test_weights_are_kept_as_codes_with_a_scale_for_each_channel_and_biases_in_floating_point(net):
    model = to_model(quantised(net, "tensorrt"), WEIGHTS)
    tensors = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert tensors["layer1.0.conv1.weight"].dtype == np.int8
    assert tensors["layer1.0.conv1.weight_scale"].shape == (8,)
    assert tensors["layer1.0.conv1.bias"].dtype == np.float32
    assert (
        np.abs(tensors["layer1.0.conv1.weight"].astype(int)).max(axis=(1, 2, 3)).tolist()
        == [127] * 8
    )


@pytest.mark.parametrize("placement", ["tensorrt", "onnxruntime"])
def test_what_is_wide_neither_reads_nor_is_kept_in_codes(net, placement):
    wide = {node.name for node in net.nodes if node.name.startswith("layer2.0.")}
    result = quantised(net, placement, wide=wide)
    for name in ("layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0", "layer2.0.add"):
        inside = [item for item in reads(result, name) if item.startswith("layer2.0.")]
        assert not any(".dequantized" in item for item in inside)
        node = next(node for node in result.nodes if node.name == name)
        assert all(constant.encoding is None for constant in node.constants)
    assert any(".dequantized" in item for item in reads(result, "layer2.1.conv1"))


def test_a_network_that_is_all_wide_is_left_alone(net):
    wide = frozenset(node.name for node in net.nodes)
    assert quantize(net, plan(net, "int8", "onnxruntime", wide), {}) == net


def test_codes_and_half_precision_go_together(net):
    half = precision(quantised(net, "tensorrt"), "float16")
    verify(half)
    model = to_model(half, WEIGHTS)
    assert model.opset_import[0].version == 19
    x = torch_reference.image(net)
    exact = torch_reference.run(net, WEIGHTS, x)["logits"]
    assert (
        np.abs(run(model.SerializeToString(), x)["logits"] - exact).max()
        < 0.15 * np.abs(exact).max()
    )


def test_a_value_that_is_always_zero_has_a_scale():
    build = Builder(2, 4)
    build.add("conv1", conv(2, 3))
    build.add("relu", RELU)
    build.add("conv2", conv(3, 3))
    graph = build.graph()
    found = plan(graph, "int8", "onnxruntime")
    result = quantize(graph, found, dict.fromkeys(found.ranges, 0.0))
    verify(result)
    assert {node.op.scale for node in result.nodes if isinstance(node.op, Quantize)} == {1.0}


def test_a_range_that_is_missing_is_an_error(net):
    with pytest.raises(KeyError, match="relu"):
        quantize(net, plan(net), {"input": 1.0})


def test_an_activation_with_negative_results_is_signed_and_not_fused():
    build = Builder(2, 4)
    build.add("conv1", conv(2, 3))
    build.add("act", Activation("silu"))
    build.add("conv2", conv(3, 3))
    graph = build.graph()
    names = {value.name: value.signed for value in plan(graph).values}
    assert names == {"input": True, "conv1": True, "act": True}
    assert reads(quantised(graph, "onnxruntime"), "act") == ["conv1.dequantized"]


def test_gates_and_products_stay_in_floating_point():
    build = Builder(4, 4)
    first = build.add("conv1", conv(4, 4))
    build.add("gate", Activation("sigmoid"))
    build.add("scaled", Multiply(), first, 2)
    build.add("conv2", conv(4, 4))
    result = quantised(build.graph(), "tensorrt")
    assert reads(result, "scaled") == ["conv1", "gate"]
    assert reads(result, "conv2") == ["scaled.dequantized"]


def test_a_normalisation_that_is_not_folded_is_no_branch_to_fuse():
    build = Builder(4, 4)
    build.add("conv1", conv(4, 4))
    branch = build.add("bn1", norm(4))
    build.add("add", Add(), branch, 0)
    result = quantised(build.graph(), "tensorrt")
    assert reads(result, "add") == ["bn1", "input.dequantized"]
    assert named(result) == {"input"}


@pytest.mark.parametrize("placement", ["tensorrt", "onnxruntime"])
@pytest.mark.parametrize(
    "spec", ["resnet18", "resnet34_a", "cifar/resnet20", "se_resnet50", "cifar/resnet_nested"]
)
def test_bundled_networks_are_quantised_and_can_be_loaded(spec, placement):
    path = find_spec(spec)
    graph = compile_spec(path).inference_graph()
    found = plan(graph, "int8", placement)
    numbers = Numbers("int8", "fp32", placement, dict.fromkeys(found.ranges, 4.0))
    result = compile_spec(path).inference_graph(numbers=numbers)
    session(to_bytes(result, WEIGHTS))


def test_a_pair_is_printed_with_its_numbers(net):
    text = graph_text(quantised(net, "onnxruntime"))
    assert "relu.quantized(%" in text
    assert " uint8 " in text
    assert "stored=int8" in text
    assert any(isinstance(node.op, Dequantize) for node in quantised(net, "tensorrt").nodes)
