"""Every operation through ONNX Runtime gives torch's numbers, in old opsets and new."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler_tests import onnx_runs, torch_reference
from compiler_tests.graphs import RELU, Builder, conv
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import ConcreteOp, Graph
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Init,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Subsample,
)
from resnet_dsl.ir.shapes import ShapeError
from resnet_dsl.passes.precision import precision

WEIGHTS = torch_reference.RandomWeights()
FEW = settings(max_examples=25)
pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


def single(op: ConcreteOp, channels: int = 4, height: int = 7, width: int = 6) -> Graph:
    build = Builder(channels, height, width)
    build.add("op", op)
    return build.graph()


def assert_as_torch(graph: Graph, options: OnnxOptions | None = None) -> list[str]:
    """Checks the model and its numbers at batch 2; returns the kinds of its nodes."""
    model = onnx_runs.to_model(graph, WEIGHTS, options)
    x = torch_reference.image(graph) * 3
    ours = onnx_runs.run(model.SerializeToString(), x)["logits"]
    expected = torch_reference.run(graph, WEIGHTS, x)["logits"]
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=2e-5)
    return [node.op_type for node in model.graph.node]


@FEW
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=pair,
    stride=pair,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=pair,
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
)
def test_convolutions(size, kernel, stride, padding, dilation, groups, bias):
    op = Conv(4, 8, kernel, stride, padding, dilation, groups, bias, Init())
    try:
        graph = single(op, 4, *size)
    except ShapeError:
        assume(False)
    assert assert_as_torch(graph) == ["Conv"]


@settings(FEW, max_examples=60)
@given(
    kind=st.sampled_from([MaxPool, AvgPool]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ceil=st.booleans(),
    opset=st.sampled_from([13, 18, 22]),
)
def test_poolings(kind, size, kernel, stride, padding, ceil, opset):
    try:
        graph = single(kind(kernel, stride, padding, ceil), 2, *size)
    except ShapeError:
        assume(False)
    kinds = assert_as_torch(graph, OnnxOptions(opset))
    assert kinds == ["MaxPool" if kind is MaxPool else "AveragePool"]


@FEW
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    out=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_adaptive_poolings_with_even_and_uneven_windows(size, out):
    kinds = assert_as_torch(single(AdaptiveAvgPool(out), 3, *size))
    assert kinds == (["GlobalAveragePool"] if out == (1, 1) else ["MatMul", "MatMul"])


@pytest.mark.parametrize("opset", [13, 17, 18, 20, 25])
@pytest.mark.parametrize(
    "op",
    [
        Activation("relu"),
        Activation("relu6"),
        Activation("leaky_relu", 0.2),
        Activation("elu", 0.7),
        Activation("gelu"),
        Activation("silu"),
        Activation("mish"),
        Activation("hardswish"),
        Activation("hardsigmoid"),
        Activation("sigmoid"),
        Activation("tanh"),
        Activation("softplus"),
    ],
    ids=lambda op: op.kind,
)
def test_activations(op: Activation, opset: int):
    assert_as_torch(single(op), OnnxOptions(opset))


@pytest.mark.parametrize(
    ("kind", "opset", "nodes"),
    [
        ("gelu", 20, ["Gelu"]),
        ("gelu", 19, ["Div", "Erf", "Add", "Mul", "Mul"]),
        ("mish", 18, ["Mish"]),
        ("mish", 17, ["Softplus", "Tanh", "Mul"]),
        ("hardswish", 14, ["HardSwish"]),
        ("hardswish", 13, ["HardSigmoid", "Mul"]),
        ("silu", 18, ["Sigmoid", "Mul"]),
    ],
)
def test_an_activation_is_one_operator_where_the_opset_has_it(kind, opset, nodes):
    assert assert_as_torch(single(Activation(kind)), OnnxOptions(opset)) == nodes


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalisation_scales_channels_in_every_opset(opset, groups):
    graph = single(GroupNorm(4, groups, 1e-5))
    kinds = assert_as_torch(graph, OnnxOptions(opset))
    assert ("GroupNormalization" in kinds) == (opset >= 21)
    if opset < 21:  # the weights are read as they are stored
        normal = ["Reshape", "InstanceNormalization", "Reshape"]
        assert kinds == [*normal, "BatchNormalization"]


@pytest.mark.parametrize(
    ("op", "nodes"),
    [
        (BatchNorm(4, 1e-3, 0.1), ["BatchNormalization"]),
        (FrozenBatchNorm(4, 1e-3), ["BatchNormalization"]),
        (Subsample(2), ["Slice"]),
        (Subsample(3), ["Slice"]),
        (PadChannels(4, 9), ["Pad"]),
        (PadChannels(4, 9, "trailing"), ["Pad"]),
        (Flatten(), ["Flatten"]),
        (Dropout(0.5), ["Identity"]),
        (DropPath(0.5), ["Identity"]),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("opset", [13, 18, 25])
def test_other_operations_of_one_operand(op: ConcreteOp, nodes: list[str], opset: int):
    assert assert_as_torch(single(op), OnnxOptions(opset)) == nodes


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(bias: bool):
    build = Builder(3, 2)
    build.add("flatten", Flatten())
    build.add("fc", Linear(12, 5, bias, Init()))
    assert assert_as_torch(build.graph()) == ["Flatten", "Gemm"]


@pytest.mark.parametrize(
    ("op", "nodes"),
    [
        (Add(), ["Add", "Add"]),
        (Multiply(), ["Mul", "Mul"]),
        (Concat(), ["Concat"]),
        (Gate(), ["Sub", "Mul", "Add"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_joins_of_three_operands(op: ConcreteOp, nodes: list[str]):
    build = Builder(4, 5)
    build.add("one", Activation("tanh"), 0)
    build.add("two", Activation("sigmoid"), 0)
    build.add("join", op, 1, 0, 2)
    assert assert_as_torch(build.graph()) == ["Tanh", "Sigmoid", *nodes]


def test_squeeze_and_excitation_broadcasts_over_height_and_width():
    build = Builder(4, 5)
    build.add("relu", RELU)
    build.add("pool", AdaptiveAvgPool((1, 1)))
    build.add("conv", conv(4, 4, 1, bias=True))
    build.add("gate", Activation("sigmoid"))
    build.add("scale", Multiply(), 1, 4)
    assert_as_torch(build.graph())


def test_a_join_of_one_operand_is_no_operator():
    build = Builder(4, 5)
    build.add("one", RELU)
    build.add("join", Concat())
    build.add("sum", Add())
    build.add("two", RELU)
    assert assert_as_torch(build.graph()) == ["Relu", "Relu"]


@pytest.mark.parametrize(
    ("op", "what"),
    [
        (Flatten(), "flattens an image"),
        (AdaptiveAvgPool((2, 3)), "pools to 2×3"),
        (MaxPool((2, 2), (3, 3), (0, 0), ceil=True), "pools with `ceil`"),
    ],
)
def test_what_depends_on_the_size_is_refused_where_the_size_is_open(op: ConcreteOp, what: str):
    with pytest.raises(CompileError, match=f"`op` {what}") as caught:
        onnx_runs.to_bytes(single(op), WEIGHTS, OnnxOptions(dynamic_size=True))
    assert caught.value.diagnostics[0].code == "RD641"


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((3, 3), (2, 2), (1, 1), ceil=True),
        AvgPool((2, 2), (2, 2), (0, 0), ceil=True),
        Subsample(2),
        GroupNorm(4, 2, 1e-5),
        AdaptiveAvgPool((1, 1)),
    ],
)
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_what_does_not_depend_on_the_size_runs_at_every_size(op: ConcreteOp, opset: int):
    model = onnx_runs.to_model(single(op), WEIGHTS, OnnxOptions(opset, dynamic_size=True))
    for size in ((7, 6), (9, 12), (5, 4)):
        graph = single(op, 4, *size)
        x = torch_reference.image(graph)
        ours = onnx_runs.run(model.SerializeToString(), x)["logits"]
        expected = torch_reference.run(graph, WEIGHTS, x)["logits"]
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_softplus_in_float16_is_finite_wherever_its_operand_is():
    build = Builder(1, 4)
    build.add("act", Activation("softplus"))
    x = np.array([-300, -5, 0, 5, 12, 19.9, 20.1, 300, *[60000] * 8], np.float32)
    half = precision(build.graph(), "float16")
    model = onnx_runs.to_bytes(half, WEIGHTS)
    found = onnx_runs.run(model, x.reshape(1, 1, 4, 4))["logits"].ravel()
    exact = np.logaddexp(0, x.astype(np.float16).astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=2**-10, atol=2**-24)
