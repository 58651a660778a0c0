"""Inner values of ONNX files, ours and others', are what the nodes compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_tests.evaluate.tiny import compiled
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.calibrate.taps import TappedSession
from resnet_dsl.errors import CompileError
from resnet_dsl.weights.store import SeededWeights


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny network as we write it."""
    file = tmp_path / "tiny.onnx"
    with file.open("wb") as stream:
        write_model(compiled(tmp_path).inference_graph(), SeededWeights(0), stream)
    return file


def made(
    folder: Path, nodes: list[onnx.NodeProto], kind: int = TensorProto.FLOAT, batch: int | str = "n"
) -> Path:
    """A file of another producer: nodes from `x` (N, 3, 8, 8) to `y`."""
    constants = [
        numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", kind, [batch, 3, 8, 8])],
        [onnx.ValueInfoProto(name="y")],
        constants,
    )
    file = folder / "theirs.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
    return file


RELU = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]


def refused(file: Path, *said: str, names: list[str] | None = None) -> None:
    with pytest.raises(CompileError) as caught:
        TappedSession(file, names, 1).run(images(1))
    (found,) = caught.value.diagnostics
    assert found.code == "RD681"
    text = f"{found.message} {found.why} {found.hint}"
    assert all(word in text for word in said), text
    assert found.hint


@pytest.mark.parametrize("optimise", [False, True])
def test_every_value_is_what_its_node_computes(model, optimise):
    session = TappedSession(model, None, 1, optimise=optimise)
    values = session.run(images())
    assert tuple(values) == session.names
    np.testing.assert_array_equal(values["input"], images())
    for node in onnx.load(model).graph.node:
        if node.op_type == "Relu":
            np.testing.assert_array_equal(
                values[node.output[0]], np.maximum(values[node.input[0]], 0)
            )
        if node.op_type == "Add":
            left, right = (values[name] for name in node.input)
            np.testing.assert_allclose(values[node.output[0]], left + right, 1e-5, 1e-6)
    assert values["logits"].shape == (5, 7)


def test_the_names_that_are_asked_for_come_in_their_order(model):
    session = TappedSession(model, ["logits", "layer1.0.conv1", "input", "logits"], 1)
    values = session.run(images())
    assert list(values) == ["logits", "layer1.0.conv1", "input"]
    everything = TappedSession(model, None, 1).run(images())
    for name, value in values.items():
        np.testing.assert_allclose(value, everything[name], 1e-5, 1e-6)
    assert session.bytes_of_an_image() == {"logits": 28, "layer1.0.conv1": 2048, "input": 768}


def test_the_input_alone_needs_no_run(model):
    assert list(TappedSession(model, ["input"], 1).run(images())) == ["input"]


def test_weights_in_a_file_beside_the_graph_are_found_from_anywhere(tmp_path, model, monkeypatch):
    folder = tmp_path / "external"
    folder.mkdir()
    graph = compiled(tmp_path).inference_graph()
    with (folder / "e.onnx").open("wb") as stream, (folder / "e.data").open("wb") as data:
        options = OnnxOptions(external_data=True)
        write_model(graph, SeededWeights(0), stream, options, data=data, location="e.data")
    monkeypatch.chdir(tmp_path)
    found = TappedSession(Path("external/e.onnx"), None, 1).run(images())
    expected = TappedSession(model, None, 1).run(images())
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_fixed_batch_is_filled_up_and_cut_off(tmp_path):
    file = made(tmp_path, RELU, batch=2)
    values = TappedSession(file, None, 1).run(images(5))
    assert values["a"].shape == (5, 3, 8, 8)
    np.testing.assert_array_equal(values["a"], -images(5))


def test_half_precision_is_given_as_it_is(tmp_path):
    session = TappedSession(made(tmp_path, RELU, TensorProto.FLOAT16), None, 1)
    values = session.run(images())
    assert {value.dtype.name for value in values.values()} == {"float16"}
    np.testing.assert_array_equal(values["a"], -images().astype(np.float16))


def test_quantised_values_can_be_asked_for_and_are_no_floats(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    file = made(tmp_path, nodes)
    assert TappedSession(file, None, 1).names == ("x", "y")
    values = TappedSession(file, ["q"], 1).run(images())
    assert values["q"].dtype == np.int8
    np.testing.assert_array_equal(values["q"], np.rint(images() / 0.5))


def test_shapes_that_are_not_known_are_none(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT),
    ]
    session = TappedSession(made(tmp_path, nodes), None, 1)
    assert session.bytes_of_an_image()["y"] is None


def test_a_name_that_is_none_is_refused_with_the_nearest(model):
    refused(model, "no value `layer1.0.conv9`", "layer1.0.conv", names=["layer1.0.conv9"])


def test_values_that_numpy_has_no_type_for_are_refused(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    file = made(tmp_path, nodes)
    refused(file, "bfloat16", names=["b"])
    assert TappedSession(file, None, 1).names == ("x", "y")


def test_what_is_no_graph_of_images_is_refused(tmp_path, model):
    bad = tmp_path / "bad.onnx"
    refused(bad, "cannot be read")
    bad.write_bytes(b"")
    refused(bad, "no graph")
    bad.write_bytes(model.read_bytes()[:-500])
    refused(bad)
    bad.write_bytes(b"\xff" * 100)
    refused(bad, "no ONNX file")
    refused(made(tmp_path, RELU, TensorProto.INT32), "images")


def test_what_cannot_be_run_is_said(tmp_path):
    strange = [helper.make_node("NoSuch", ["x"], ["y"])]
    refused(made(tmp_path, strange), "cannot be run")
    with pytest.raises(CompileError) as caught:
        TappedSession(made(tmp_path, RELU), None, 1).run(images()[:, :2])
    assert caught.value.diagnostics[0].code == "RD681"


def test_external_data_outside_the_folder_is_not_read(tmp_path, model):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(bytes(4096))
    (tmp_path / "in").mkdir()
    graph = onnx.load(made(tmp_path / "in", [helper.make_node("Add", ["x", "w"], ["y"])]))
    tensor = numpy_helper.from_array(np.zeros((3, 8, 8), np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, "../outside.bin")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    graph.graph.initializer.append(tensor)
    file = tmp_path / "in" / "evil.onnx"
    file.write_bytes(graph.SerializeToString())
    refused(file)
