"""Every message that we write is, byte for byte, what the onnx package writes."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from compiler_tests import onnx_runs, torch_reference
from compiler_tests.graphs import residual_net
from resnet_dsl.backends.onnx import proto
from resnet_dsl.ir.graph import DType

names = st.text(max_size=200)
int64 = st.integers(-(2**63), 2**63 - 1)


def serialised(
    message: onnx.NodeProto | onnx.GraphProto | onnx.ModelProto | onnx.TensorProto,
) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


@given(int64)
def test_whole_numbers_of_any_size_and_sign(value: int):
    assert onnx.AttributeProto(i=value).SerializeToString() == proto.integer(3, value)


@given(name=names, value=st.one_of(int64, st.floats(width=32), st.lists(int64).map(tuple)))
def test_attributes(name: str, value: proto.Attribute):
    message = onnx.AttributeProto(name=name)
    match value:
        case tuple():
            message.ints.extend(value)
            message.type = onnx.AttributeProto.INTS
        case int():
            message.i = value
            message.type = onnx.AttributeProto.INT
        case _:
            message.f = value
            message.type = onnx.AttributeProto.FLOAT
    proto.attribute.cache_clear()  # which holds 0.0 and -0.0 for one
    assert message.SerializeToString() == proto.attribute(name, value)


@given(kind=names, name=names, inputs=st.lists(names))
def test_nodes(kind: str, name: str, inputs: list[str]):
    message = onnx.NodeProto(op_type=kind, name=name, input=inputs, output=[name])
    message.attribute.add(name="group", i=2, type=onnx.AttributeProto.INT)
    assert serialised(message) == proto.node(kind, name, inputs, [("group", 2)])


@given(name=names, dims=st.lists(st.integers(0, 2**40)))
def test_tensors_and_references_to_other_files(name: str, dims: list[int]):
    message = TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT16)
    assert serialised(message) == proto.tensor(name, 10, dims)
    message.data_location = TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", "4096"), ("length", "300")):
        message.external_data.add(key=key, value=value)
    ours = proto.tensor(name, 10, dims) + proto.external(name, 4096, 300)
    assert serialised(message) == ours


def test_values_with_symbolic_dimensions():
    message = onnx.helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 224, "w"])
    ours = proto.value_info("input", 1, ["batch", 3, 224, "w"])
    assert message.SerializeToString(deterministic=True) == ours


def test_graphs_around_their_nodes():
    message = onnx.GraphProto(name="net", doc_string="A net.")
    message.node.add(op_type="Relu", name="y", input=["x"], output=["y"])
    for values, name in ((message.input, "x"), (message.output, "y")):
        values.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]))
    body = proto.block(1, proto.node("Relu", "y", ["x"], []))
    ends = [proto.value_info(name, 1, ["batch", 3]) for name in "xy"]
    assert serialised(message) == proto.graph("net", "A net.", body, ends[:1], ends[1:])


def test_models_around_their_graph():
    message = onnx.ModelProto(
        ir_version=8, producer_name="us", producer_version="1", doc_string="A net."
    )
    assert serialised(message) == proto.model_head(8, "us", "1", "A net.")
    tail = onnx.ModelProto()
    tail.opset_import.add(domain="", version=18)
    tail.metadata_props.add(key="spec", value="é")
    assert serialised(tail) == proto.model_tail(18, [("spec", "é")])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_element_types_are_onnx_s(dtype: DType):
    # ONNX says FLOAT where the others have their own name.
    name = "FLOAT" if dtype == "float32" else dtype.upper()
    assert proto.ELEMENT_TYPES[dtype] == TensorProto.DataType.Value(name)
    assert TensorProto.INT64 == proto.INT64


def test_a_whole_file_is_what_the_package_writes_of_it_but_for_the_order_of_fields():
    ours = onnx_runs.to_bytes(residual_net(), torch_reference.RandomWeights())
    model = onnx.load_from_string(ours)
    assert len(serialised(model)) == len(ours)
