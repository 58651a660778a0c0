"""ONNX files read without the onnx package: the same as it reads, and nothing but `Damaged` for anything else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compiler_tests.backends.tensorrt.models import residual_net
from resnet_dsl.backends.onnx.reader import DATA_TYPES, Damaged, Value, _Reader, read_onnx


def test_a_model_is_read_as_the_package_reads_it(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", "bf16", quantised=True)
    found, model = read_onnx(path), onnx.load(path)
    assert found.ir_version == model.ir_version
    assert found.opsets == {"": 22}
    assert found.inputs == [Value("input", "bfloat16", ("N", 8, 32, 32))]
    assert found.outputs == [Value("logits", "bfloat16", ("N", 10))]
    assert dict(found.nodes) == {
        kind: sum(node.op_type == kind for node in model.graph.node)
        for kind in {node.op_type for node in model.graph.node}
    }
    assert found.weights.total() == len(model.graph.initializer)
    assert found.weights["int8"] == 1
    sizes = [onnx.numpy_helper.to_array(item).size for item in model.graph.initializer]
    assert found.elements == sum(sizes)


def test_what_a_model_says_of_itself_is_read(tmp_path: Path) -> None:
    graph = helper.make_graph([], "g", [], [])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, producer_name="someone", opset_imports=opsets)
    model.producer_version = "1.2"
    model.doc_string = "a net"
    helper.set_model_props(model, {"spec_sha256": "ab", "ö": ""})
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    found = read_onnx(path)
    assert (found.producer, found.producer_version, found.doc) == ("someone", "1.2", "a net")
    assert found.opsets == {"": 18, "com.microsoft": 1}
    assert found.metadata == {"spec_sha256": "ab", "ö": ""}


def test_weights_in_another_file_are_named_with_the_length_they_need(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", "fp32")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    found = read_onnx(path)
    assert found.external == {"net.data": (tmp_path / "net.data").stat().st_size}


def test_every_data_type_of_the_package_has_its_name() -> None:
    names = {"float": "float32", "double": "float64", "float8e4m3fn": "float8_e4m3fn"}
    for name, number in TensorProto.DataType.items():
        plain = DATA_TYPES.get(number, "").replace("_", "")
        if number < len(DATA_TYPES):
            assert plain == names.get(name.lower(), name.lower()).replace("_", "")


def test_packed_dimensions_are_dimensions() -> None:
    tensor = b"\x0a\x02\x03\x05\x10\x01"  # dims 3 and 5, packed; type 1
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    found = _Reader(b"\x08\x08\x3a" + bytes([len(graph)]) + graph + b"\x42\x02\x10\x12").model()
    assert found.elements == 15


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\x08", "does not end"),
        (b"\x08\x08", "no graph"),
        (b"\x00\x08", "without a number"),
        (b"\x0b", "begins no field"),
        (b"\x3a\x7f\x00", "should end at byte"),
        (b"\xff" * 20, "does not end"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "should end at byte"),
    ],
)
def test_bytes_that_are_no_model_are_damaged(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=why):
        read_onnx(path)


def test_a_model_that_is_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    content = residual_net(tmp_path / "net.onnx").read_bytes()
    for end in range(0, len(content) - 20, 997):
        with pytest.raises(Damaged):
            _Reader(content[:end]).model()


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    for start in (b"", b"\x08\x08\x42\x02\x10\x12\x3a"):
        with suppress(Damaged):
            _Reader(start + content).model()


def test_a_tensor_of_very_many_dimensions_is_damaged() -> None:
    tensor = b"\x08\x7f" * 100
    graph = b"\x2a\xc8\x01" + tensor
    with pytest.raises(Damaged, match="100 dimensions"):
        _Reader(b"\x08\x08\x3a\xcb\x01" + graph + b"\x42\x02\x10\x12").model()
