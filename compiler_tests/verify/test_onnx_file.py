"""Files are read as ones that anyone may have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_tests.verify import nets
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.errors import CompileError
from resnet_dsl.passes.numbers import Numbers
from resnet_dsl.verify.onnx_file import read
from resnet_dsl.verify.own_constants import differing
from resnet_dsl.verify.own_graph import own_graph


def test_constants_are_read_as_they_are_kept() -> None:
    for precision, kind in (("fp32", np.float32), ("fp16", np.float16), ("bf16", np.uint16)):
        target = nets.target(nets.PLAIN, Numbers(precision))  # type: ignore[arg-type]
        found = read(target.path).constant("conv1.weight")
        assert found is not None
        assert found.dtype == kind
        assert target.differing(nets.weights(nets.PLAIN)) == []


def test_constants_in_a_file_beside_are_read_too(tmp_path: Path) -> None:
    graph = nets.compiled(nets.PLAIN).inference_graph()
    path = tmp_path / "net.onnx"
    with path.open("wb") as stream, (tmp_path / "net.data").open("wb") as data:
        write_model(
            graph,
            nets.weights(nets.PLAIN),
            stream,
            OnnxOptions(external_data=True),
            data=data,
            location="net.data",
        )
    assert differing(read(path), graph, nets.weights(nets.PLAIN)) == []
    (tmp_path / "net.data").unlink()
    with pytest.raises(CompileError) as raised:
        differing(read(path), graph, nets.weights(nets.PLAIN))
    assert raised.value.diagnostics[0].code == "RD691"


def test_data_outside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    tensor = numpy_helper.from_array(np.zeros(16, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [16]) for name in "xy"]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [tensor]))
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompileError) as raised:
        read(path).constant("w")
    assert raised.value.diagnostics[0].code == "RD691"


@settings(max_examples=60)
@given(st.data())
def test_bytes_that_are_changed_are_no_defect(data: st.DataObject) -> None:
    """Whatever a file holds, it is read, or refused with a sentence."""
    content = bytearray(nets.target(nets.PLAIN).path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = nets.folder() / "changed.onnx"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    compilation = nets.compiled(nets.PLAIN)
    try:
        file = read(path)
        own = own_graph(file, compilation)
        if own is not None:
            differing(file, own[0], nets.weights(nets.PLAIN))
        assert file.sha256
        assert isinstance(dict(file.said), dict)
        assert isinstance(file.input_shape, tuple)
    except CompileError as error:
        hints = [item.hint for item in error.diagnostics]
    else:
        hints = []
    assert all(hints)


def test_constants_of_nodes_count_too() -> None:
    model = onnx.load(nets.target(nets.PLAIN).path)
    tensor = next(item for item in model.graph.initializer if item.name == "fc.bias")
    kept = onnx.TensorProto()
    kept.CopyFrom(tensor)
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["fc.bias"], value=kept))
    path = nets.folder() / "constant.onnx"
    onnx.save(model, path)
    file = read(path)
    assert file.shapes["fc.bias"] == (5,)
    assert (
        differing(file, nets.compiled(nets.PLAIN).inference_graph(), nets.weights(nets.PLAIN)) == []
    )
