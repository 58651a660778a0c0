"""Folding keeps the numbers, for any statistics, and refuses with a reason where it would not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_tests import torch_reference
from compiler_tests.graphs import RELU, Builder, conv, norm, residual_net
from resnet_dsl.ir.graph import FoldedBias, FoldedWeight
from resnet_dsl.ir.ops import Activation, Add, BatchNorm, Conv, FrozenBatchNorm
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.fold_batchnorm import Refusal, fold, fold_batchnorm

WEIGHTS = torch_reference.RandomWeights()


def close(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, atol=1e-5 * max(1.0, float(np.abs(other).max())))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [BatchNorm(6, 1e-3, 0.1), FrozenBatchNorm(6, 1e-3)])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_folded_convolution_gives_the_numbers_of_the_two(bias, kind, groups):
    build = Builder(3, 9)
    build.add("conv", conv(3, 6, 3, 2, bias=bias, groups=groups))
    build.add("bn", kind)
    graph = build.graph()
    result = fold(graph)
    verify(result.graph, "fold_batchnorm")
    assert (result.folded, result.refusals) == (("bn",), ())
    (node,) = result.graph.nodes
    assert [constant.name for constant in node.constants] == ["conv.weight", "conv.bias"]
    weight, shift = (constant.source for constant in node.constants)
    assert isinstance(weight, FoldedWeight)
    assert isinstance(shift, FoldedBias)
    assert (shift.bias is not None) == bias
    x = torch_reference.image(graph)
    close(
        torch_reference.run(result.graph, WEIGHTS, x)["logits"],
        torch_reference.run(graph, WEIGHTS, x)["logits"],
    )


def test_a_residual_net_folds_wholly_and_keeps_its_logits_and_features():
    graph = residual_net()
    result = fold(graph)
    verify(result.graph, "fold_batchnorm")
    assert result.refusals == ()
    assert not any(isinstance(node.op, BatchNorm) for node in result.graph.nodes)
    assert len(result.folded) == sum(isinstance(node.op, Conv) for node in graph.nodes)
    x = torch_reference.image(graph)
    folded = torch_reference.run(result.graph, WEIGHTS, x)
    for name, value in torch_reference.run(graph, WEIGHTS, x).items():
        close(folded[name], value)


def test_the_result_is_of_the_convolutions_name_group_and_type():
    graph = residual_net()
    before = {node.name: node for node in graph.nodes}
    for node in fold_batchnorm(graph).nodes:
        same = before[node.name]
        assert (node.group, node.dtype, node.shape) == (same.group, same.dtype, same.shape)


def test_it_refuses_what_follows_no_convolution():
    build = Builder(4, 8)
    build.add("first", norm(4))
    build.add("relu", RELU)
    build.add("second", norm(4))
    graph = build.graph()
    result = fold(graph)
    assert result.graph == graph
    assert result.refusals == (
        Refusal("first", "it normalises the input, which is no convolution"),
        Refusal("second", "it normalises relu (Activation), which is no convolution"),
    )


def test_it_refuses_a_convolution_that_is_read_elsewhere():
    build = Builder(4, 8)
    inner = build.add("conv", conv(4, 4))
    build.add("bn", norm(4))
    build.add("add", Add(), inner, 2)
    graph = build.graph()
    assert fold(graph).refusals == (Refusal("bn", "the result of conv is read elsewhere too"),)
    assert fold(graph).graph == graph


def test_it_refuses_a_convolution_that_is_an_output_or_a_feature():
    build = Builder(4, 8)
    inner = build.add("conv", conv(4, 4))
    build.add("bn", norm(4))
    reason = (Refusal("bn", "the result of conv is an output of the graph"),)
    assert fold(build.graph(output=inner)).refusals == reason
    build.feature("layer1", inner)
    assert fold(build.graph()).refusals == reason


def test_it_refuses_shared_weights():
    build = Builder(4, 8)
    build.add("one", conv(4, 4))
    build.add("bn", norm(4))
    build.add("two", conv(4, 4), weights="one")
    assert fold(build.graph()).refusals == (
        Refusal("bn", "one.weight is shared with another node"),
    )


def test_of_two_normalisations_in_a_row_it_folds_the_first():
    build = Builder(4, 8)
    build.add("conv", conv(4, 4))
    build.add("bn1", norm(4))
    build.add("bn2", norm(4))
    graph = build.graph()
    result = fold(graph)
    verify(result.graph)
    assert result.folded == ("bn1",)
    assert result.refusals == (Refusal("bn2", "another normalisation is folded into conv already"),)
    x = torch_reference.image(graph)
    close(
        torch_reference.run(result.graph, WEIGHTS, x)["logits"],
        torch_reference.run(graph, WEIGHTS, x)["logits"],
    )


def test_folding_twice_changes_nothing_more():
    once = fold_batchnorm(residual_net())
    assert fold_batchnorm(once) == once


def test_trainability_follows_the_convolution():
    graph = residual_net()
    frozen = replace(
        graph.nodes[0], constants=(replace(graph.nodes[0].constants[0], trainable=False),)
    )
    result = fold_batchnorm(replace(graph, nodes=(frozen, *graph.nodes[1:])))
    assert [constant.trainable for constant in result.nodes[0].constants] == [False, False]


def test_an_activation_between_keeps_the_normalisation():
    build = Builder(4, 8)
    build.add("conv", conv(4, 4))
    build.add("act", Activation("silu"))
    build.add("bn", norm(4))
    assert fold(build.graph()).folded == ()
