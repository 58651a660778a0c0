"""inference, dead_code and precision: what they remove or change, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_tests import torch_reference
from compiler_tests.graphs import RELU, Builder, conv, residual_net
from resnet_dsl.ir.ops import Add, Cast, Dropout, DropPath
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.dead_code import dead_code
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.inference import inference
from resnet_dsl.passes.precision import precision

WEIGHTS = torch_reference.RandomWeights()


def test_dropout_and_stochastic_depth_are_gone_at_inference():
    build = Builder(3, 4)
    build.add("relu", RELU)
    build.add("path", DropPath(0.2))
    build.add("add", Add(), 2, 0)
    build.add("drop", Dropout(0.5))
    graph = build.graph()
    result = inference(graph)
    verify(result)
    assert [(node.name, node.inputs) for node in result.nodes] == [("relu", (0,)), ("add", (1, 0))]
    assert result.output == 2
    x = torch_reference.image(graph)
    np.testing.assert_array_equal(
        torch_reference.run(graph, WEIGHTS, x)["logits"],
        torch_reference.run(result, WEIGHTS, x)["logits"],
    )


def test_nodes_that_lead_nowhere_are_gone_and_those_that_lead_to_a_feature_stay():
    build = Builder(3, 4)
    build.add("dead1", conv(3, 8))
    build.add("dead2", RELU)
    build.add("live", conv(3, 4), 0)
    build.add("tapped", RELU)
    build.feature("layer1", 4)
    build.add("out", RELU, 3)
    result = dead_code(build.graph())
    verify(result)
    assert [node.name for node in result.nodes] == ["live", "tapped", "out"]
    assert (result.output, result.features[0].value) == (3, 2)


def test_a_graph_without_dead_code_is_itself():
    graph = residual_net()
    assert dead_code(graph) is graph


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_casts_at_both_ends_and_changes_everything_between(dtype):
    graph = fold_batchnorm(residual_net())
    result = precision(graph, dtype)
    verify(result)
    first, *middle, last = result.nodes
    assert (first.op, last.op) == (Cast(dtype), Cast("float32"))
    assert {node.dtype for node in middle} == {dtype}
    assert {item.dtype for node in middle for item in node.constants} == {dtype}
    assert [node.name for node in middle] == [node.name for node in graph.nodes]
    assert result.nodes[result.output - 1] is last
    for before, after in zip(graph.features, result.features, strict=True):
        assert result.nodes[after.value - 1].name == graph.nodes[before.value - 1].name


def test_the_precision_of_a_graph_is_set_once():
    half = precision(residual_net(), "float16")
    with pytest.raises(ValueError, match="set already"):
        precision(half, "bfloat16")
