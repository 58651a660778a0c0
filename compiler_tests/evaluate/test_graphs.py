"""An ONNX graph gives what its network gives: any batch, any size it takes, half precision."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from compiler_tests.evaluate.tiny import RESIDUAL, compiled, drawn, graph_of
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.graphs import open_graph
from resnet_dsl.evaluate.networks import load_network

CPU = torch.device("cpu")


def images(count: int, size: int = 8) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def with_batch(model: bytes, batch: int) -> bytes:
    """The graph with a fixed batch."""
    found = onnx.load_from_string(model)
    for value in (*found.graph.input, *found.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return bytes(found.SerializeToString())


def small(
    inputs: list[tuple[int, list[int | str]]], output: list[int | str], op: str = "Flatten"
) -> bytes:
    """A graph of one operation."""
    values = [
        helper.make_tensor_value_info(f"x{number}", kind, shape)
        for number, (kind, shape) in enumerate(inputs)
    ]
    kind = inputs[0][0] if inputs else TensorProto.FLOAT
    node = helper.make_node(op, [value.name for value in values][:1], ["y"])
    graph = helper.make_graph(
        [node], "small", values, [helper.make_tensor_value_info("y", kind, output)]
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_a_graph_scores_as_its_network_whatever_its_batch(tmp_path, batch):
    compilation = compiled(tmp_path)
    weights = drawn(compilation, tmp_path)
    model = graph_of(compilation, weights)
    file = tmp_path / "tiny.onnx"
    file.write_bytes(model if batch is None else with_batch(model, batch))
    network, _ = load_network(compilation, weights)
    graph = open_graph(file, CPU)
    assert (graph.batch, graph.channels, graph.size, graph.classes) == (batch, 3, (8, 8), 7)
    assert graph.spec_hash == compilation.program.spec_hash
    with torch.inference_mode():
        expected = network(images(6))
    torch.testing.assert_close(graph(images(6)), expected, rtol=1e-4, atol=1e-5)


def test_a_graph_of_any_size_takes_any(tmp_path):
    compilation = compiled(tmp_path)
    weights = drawn(compilation, tmp_path)
    file = tmp_path / "tiny.onnx"
    file.write_bytes(graph_of(compilation, weights, dynamic=True))
    network, _ = load_network(compilation, weights)
    graph = open_graph(file, CPU)
    assert graph.size is None
    for size in (8, 13):
        with torch.inference_mode():
            expected = network(images(2, size))
        torch.testing.assert_close(graph(images(2, size)), expected, rtol=1e-4, atol=1e-5)


def test_a_graph_in_half_precision_takes_and_gives_float32(tmp_path):
    compilation = compiled(tmp_path)
    weights = drawn(compilation, tmp_path)
    file = tmp_path / "tiny.onnx"
    file.write_bytes(graph_of(compilation, weights, precision="fp16"))
    network, _ = load_network(compilation, weights)
    found = open_graph(file, CPU)(images(3))
    assert found.dtype == torch.float32
    with torch.inference_mode():
        expected = network(images(3))
    assert (found - expected).abs().max() < 2e-3 * expected.abs().max()


def test_inputs_of_half_precision_are_given_so(tmp_path):
    file = tmp_path / "half.onnx"
    file.write_bytes(small([(TensorProto.FLOAT16, ["N", 3, 2, 1])], ["N", 6]))
    x = torch.arange(12.0).reshape(2, 3, 2, 1)
    assert open_graph(file, CPU)(x).tolist() == x.flatten(1).tolist()


def test_scores_may_come_as_maps_of_one_place(tmp_path):
    file = tmp_path / "map.onnx"
    file.write_bytes(small([(TensorProto.FLOAT, ["N", 3, 1, 1])], ["N", 3, 1, 1], "Relu"))
    assert open_graph(file, CPU)(torch.ones(2, 3, 1, 1)).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"no graph at all", "cannot be read"),
        (
            small([(TensorProto.FLOAT, ["N", 3])], ["N", 3], "Relu"),
            "its input has the shape (N, 3)",
        ),
        (
            small([(TensorProto.FLOAT, ["N", 3, 2, 2])], ["N", 3, 2, 2], "Relu"),
            "its output has the shape (N, 3, 2, 2)",
        ),
        (
            small([(TensorProto.FLOAT, ["N", "C", 2, 2])], ["N", "F"]),
            "its input has the shape (N, C, 2, 2)",
        ),
        (small([(TensorProto.INT64, ["N", 3, 2, 2])], ["N", 12]), "is a tensor(int64)"),
        (
            small([(TensorProto.FLOAT, ["N", 3, 2, 2]), (TensorProto.FLOAT, ["N"])], ["N", 12]),
            "has not one input",
        ),
    ],
)
def test_what_is_no_classifier_of_images_is_refused(tmp_path, content, said):
    file = tmp_path / "x.onnx"
    file.write_bytes(content)
    with pytest.raises(CompileError) as found:
        open_graph(file, CPU)
    (item,) = found.value.diagnostics
    assert item.code == "RD675"
    assert said in f"{item.message} {item.why}"


def test_a_graph_that_fails_at_work_says_so(tmp_path):
    file = tmp_path / "x.onnx"
    file.write_bytes(small([(TensorProto.FLOAT, ["N", 3, 2, 2])], ["N", 12]))
    with pytest.raises(CompileError, match="cannot be run") as found:
        open_graph(file, CPU)(torch.zeros(1, 3, 5, 5))
    assert "ONNX Runtime says" in str(found.value.diagnostics[0].why)


def test_weights_beside_a_graph_are_found(tmp_path):
    from typer.testing import CliRunner

    from resnet_dsl.cli import app

    spec = tmp_path / "tiny.yaml"
    spec.write_text(RESIDUAL)
    done = CliRunner().invoke(
        app, ["build", str(spec), "-t", "onnx", "--external-data", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0
    assert Path(tmp_path / "tiny.onnx.data").is_file()
    assert open_graph(tmp_path / "tiny.onnx", CPU)(images(2)).shape == (2, 7)
