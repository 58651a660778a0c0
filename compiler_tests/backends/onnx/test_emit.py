"""The model as a whole: names, inputs and outputs, versions, what may be chosen and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import resnet_dsl
from compiler_tests import onnx_runs, torch_reference
from compiler_tests.graphs import RELU, Builder, conv, residual_net
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import Activation, Dropout
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.precision import precision

WEIGHTS = torch_reference.RandomWeights()


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [item.dim_param or item.dim_value for item in value.type.tensor_type.shape.dim]


def close(ours: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    atol = tolerance * float(np.abs(expected).max())
    np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_net_gives_torchs_logits_at_any_batch_folded_or_not(fold: bool, batch: int):
    graph = residual_net()
    model = onnx_runs.to_bytes(fold_batchnorm(graph) if fold else graph, WEIGHTS)
    x = torch_reference.image(graph, batch)
    close(onnx_runs.run(model, x)["logits"], torch_reference.run(graph, WEIGHTS, x)["logits"])


@pytest.mark.parametrize("opset", range(13, 26))
def test_every_opset_is_valid_and_runs(opset: int):
    graph = fold_batchnorm(residual_net())
    model = onnx_runs.to_model(graph, WEIGHTS, OnnxOptions(opset))
    assert [item.version for item in model.opset_import] == [opset]
    versions = {row[2]: row[1] for row in reversed(onnx.helper.VERSION_TABLE)}
    assert model.ir_version == versions[opset]
    x = torch_reference.image(graph)
    close(
        onnx_runs.run(model.SerializeToString(), x)["logits"],
        torch_reference.run(graph, WEIGHTS, x)["logits"],
    )


def test_names_are_the_module_paths_and_the_state_dict_keys():
    graph = residual_net()
    model = onnx_runs.to_model(graph, WEIGHTS)
    assert [node.name for node in model.graph.node] == [
        *(node.name for node in graph.nodes[:-1]),
        "logits",
    ]
    assert all(list(node.output) == [node.name] for node in model.graph.node)
    assert [item.name for item in model.graph.initializer] == [
        constant.name for node in graph.nodes for constant in node.constants
    ]


def test_the_batch_is_symbolic_and_the_size_is_on_request():
    graph = residual_net()
    fixed = onnx_runs.to_model(graph, WEIGHTS).graph
    assert (fixed.input[0].name, dims(fixed.input[0])) == ("input", ["batch", 3, 16, 16])
    assert (fixed.output[0].name, dims(fixed.output[0])) == ("logits", ["batch", 5])
    open_size = onnx_runs.to_model(graph, WEIGHTS, OnnxOptions(dynamic_size=True)).graph
    assert dims(open_size.input[0]) == ["batch", 3, "height", "width"]


def test_a_model_of_open_size_runs_at_sizes_other_than_the_spec_s():
    model = onnx_runs.to_bytes(residual_net(), WEIGHTS, OnnxOptions(dynamic_size=True))
    other = residual_net(size=24)
    x = torch_reference.image(other)[:, :, :20]
    close(onnx_runs.run(model, x)["logits"], torch_reference.run(other, WEIGHTS, x)["logits"])


@pytest.mark.parametrize("dynamic", [False, True])
def test_stages_are_outputs_on_request(dynamic: bool):
    graph = fold_batchnorm(residual_net())
    options = OnnxOptions(outputs=("layer2", "layer1"), dynamic_size=dynamic)
    model = onnx_runs.to_model(graph, WEIGHTS, options)
    assert [item.name for item in model.graph.output] == ["logits", "layer2", "layer1"]
    sizes = ["layer1.height", "layer1.width"] if dynamic else [4, 4]
    assert dims(model.graph.output[2]) == ["batch", 8, *sizes]
    x = torch_reference.image(graph)
    expected = torch_reference.run(graph, WEIGHTS, x)
    for name, value in onnx_runs.run(model.SerializeToString(), x).items():
        close(value, expected[name])


def test_a_stage_that_ends_in_the_output_is_an_output_too():
    build = Builder(3, 4)
    build.add("conv", conv(3, 4))
    build.feature("layer1", 1)
    build.feature("image", 0)
    model = onnx_runs.to_model(build.graph(), WEIGHTS, OnnxOptions(outputs=("layer1", "image")))
    assert [node.op_type for node in model.graph.node] == ["Conv", "Identity", "Identity"]
    x = torch_reference.image(build.graph())
    ours = onnx_runs.run(model.SerializeToString(), x)
    np.testing.assert_array_equal(ours["layer1"], ours["logits"])
    np.testing.assert_array_equal(ours["image"], x)


def test_an_output_that_is_no_stage_is_an_error_that_lists_them():
    with pytest.raises(CompileError, match="there is no stage `layer3`") as caught:
        onnx_runs.to_bytes(residual_net(), WEIGHTS, OnnxOptions(outputs=("layer3",)))
    (problem,) = caught.value.diagnostics
    assert problem.code == "RD642"
    assert problem.why == "the stages of small are layer1, layer2"
    assert problem.hint == "did you mean `layer2`?"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("LAYER-1", "did you mean `layer1`?"),
        ("logarithm", "name one of them"),
        ("layer" * 10_000, "name one of them"),
    ],
    ids=["case", "nothing near", "long"],
)
def test_an_output_that_is_no_stage_is_compared_as_every_other_name_is(name, hint):
    with pytest.raises(CompileError) as caught:
        onnx_runs.to_bytes(residual_net(), WEIGHTS, OnnxOptions(outputs=(name,)))
    (problem,) = caught.value.diagnostics
    assert problem.code == "RD642"
    assert problem.hint == hint


def test_names_that_would_collide_are_kept_apart():
    build = Builder(3, 4)
    build.add("input", RELU)
    build.add("logits", Activation("silu"))
    build.add("last.sigmoid", RELU)
    build.add("last", Activation("silu"))
    build.add("end", RELU)
    graph = build.graph()
    model = onnx_runs.to_model(graph, WEIGHTS)
    names = [node.output[0] for node in model.graph.node]
    assert len(set(names) | {"input"}) == len(names) + 1
    x = torch_reference.image(graph)
    close(
        onnx_runs.run(model.SerializeToString(), x)["logits"],
        torch_reference.run(graph, WEIGHTS, x)["logits"],
    )


def test_a_network_that_ends_in_dropout_or_has_no_nodes_still_has_logits():
    build = Builder(3, 4)
    x = torch_reference.image(build.graph())
    np.testing.assert_array_equal(
        onnx_runs.run(onnx_runs.to_bytes(build.graph(), WEIGHTS), x)["logits"], x
    )
    build.add("relu", RELU)
    build.add("drop", Dropout(0.5))
    ours = onnx_runs.run(onnx_runs.to_bytes(build.graph(), WEIGHTS), x)["logits"]
    np.testing.assert_array_equal(ours, np.maximum(x, 0))


def test_shared_weights_are_stored_once():
    build = Builder(4, 8)
    build.add("one", conv(4, 4))
    build.add("two", conv(4, 4), weights="one")
    graph = build.graph()
    model = onnx_runs.to_model(graph, WEIGHTS)
    assert [item.name for item in model.graph.initializer] == ["one.weight"]
    x = torch_reference.image(graph)
    close(
        onnx_runs.run(model.SerializeToString(), x)["logits"],
        torch_reference.run(graph, WEIGHTS, x)["logits"],
    )


def half(dtype: str) -> Graph:
    graph = fold_batchnorm(residual_net())
    return precision(graph, "float16" if dtype == "float16" else "bfloat16")


def test_a_float16_net_runs_near_the_float32_one_with_float32_ends():
    graph = half("float16")
    model = onnx_runs.to_model(graph, WEIGHTS)
    types = {item.data_type for item in model.graph.initializer}
    assert types == {onnx.TensorProto.FLOAT16}
    x = torch_reference.image(graph)
    ours = onnx_runs.run(model.SerializeToString(), x)["logits"]
    assert ours.dtype == np.float32
    close(ours, torch_reference.run(residual_net(), WEIGHTS, x)["logits"], 1e-2)


def test_a_bfloat16_net_is_valid_from_opset_22_and_its_weights_are_rounded():
    model = onnx_runs.to_model(half("bfloat16"), WEIGHTS)
    assert model.opset_import[0].version == 22
    rounded = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float32)
    full = onnx_runs.to_model(fold_batchnorm(residual_net()), WEIGHTS).graph.initializer[0]
    np.testing.assert_allclose(rounded, onnx.numpy_helper.to_array(full), rtol=2**-8)


@pytest.mark.parametrize(
    "kind", ["relu6", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "elu", "softplus"]
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_constants_have_the_type_of_the_net(kind, dtype):
    build = Builder(3, 4)
    build.add("act", Activation(kind))
    model = onnx_runs.to_model(precision(build.graph(), dtype), WEIGHTS)
    kinds = {node.op_type for node in model.graph.node}
    assert dtype == "float16" or not kinds & {"Mish", "HardSwish"}, "TensorRT refuses these"


@pytest.mark.parametrize(
    ("graph", "opset", "why"),
    [
        (residual_net(), 12, "opsets 13 to 25 are written"),
        (residual_net(), 26, "opsets 13 to 25 are written"),
        (half("bfloat16"), 21, "bfloat16 convolutions came with opset 22"),
    ],
)
def test_an_opset_that_cannot_be_written_is_an_error(graph: Graph, opset: int, why: str):
    with pytest.raises(CompileError, match=f"cannot be written in opset {opset}") as caught:
        onnx_runs.to_bytes(graph, WEIGHTS, OnnxOptions(opset))
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].why) == ("RD640", why)


def test_the_file_says_who_made_it_from_what():
    model = onnx_runs.to_model(residual_net(), WEIGHTS)
    assert (model.producer_name, model.producer_version) == ("resnet-dsl", resnet_dsl.__version__)
    assert (model.doc_string, model.graph.doc_string, model.graph.name) == (
        "A test.",
        "A test.",
        "small",
    )
    metadata = {item.key: item.value for item in model.metadata_props}
    assert metadata["compiler"] == f"resnet-dsl {resnet_dsl.__version__}"
    assert metadata["spec_sha256"] == "spec"
    assert len(metadata["weights_sha256"]) == 64
