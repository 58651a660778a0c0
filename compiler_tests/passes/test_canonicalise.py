"""Operations that do nothing are removed, even windows become plain pooling, and the numbers stay the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_tests import torch_reference
from compiler_tests.graphs import RELU, Builder, conv
from resnet_dsl.ir.graph import ConcreteOp, Graph
from resnet_dsl.ir.ops import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    Cast,
    Concat,
    Flatten,
    MaxPool,
    Multiply,
    PadChannels,
    Subsample,
)
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.canonicalise import canonicalise, even_windows

WEIGHTS = torch_reference.RandomWeights()


def around(op: ConcreteOp) -> Graph:
    """relu, the operation, relu: on an image of (3, 8, 6)."""
    build = Builder(3, 8, 6)
    build.add("before", RELU)
    build.add("op", op)
    build.feature("middle", len(build.nodes))
    build.add("after", RELU)
    return build.graph()


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((1, 1), (1, 1), (0, 0)),
        AvgPool((1, 1), (1, 1), (0, 0), ceil=True),
        Subsample(1),
        PadChannels(3, 3),
        AdaptiveAvgPool((8, 6)),
        Add(),
        Multiply(),
        Concat(),
        Cast("float32"),
    ],
)
def test_an_operation_that_does_nothing_is_removed(op: ConcreteOp):
    graph = around(op)
    result = canonicalise(graph)
    verify(result)
    assert [node.name for node in result.nodes] == ["before", "after"]
    assert result.features[0].value == 1
    x = torch_reference.image(graph)
    for name, value in torch_reference.run(graph, WEIGHTS, x).items():
        np.testing.assert_array_equal(value, torch_reference.run(result, WEIGHTS, x)[name])


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((1, 1), (2, 1), (0, 0)),
        Subsample(2),
        PadChannels(3, 4),
        AdaptiveAvgPool((8, 4)),
        AdaptiveAvgPool((1, 1)),
        Cast("float16"),
    ],
)
def test_an_operation_that_does_something_stays_as_it_is(op: ConcreteOp):
    build = Builder(3, 8, 6)
    build.add("op", op)
    graph = build.graph()
    assert canonicalise(graph).nodes == graph.nodes


def test_flattening_what_is_flat_is_removed():
    build = Builder(3, 2)
    build.add("flatten", Flatten())
    build.add("again", Flatten())
    build.add("relu", RELU)
    result = canonicalise(build.graph())
    assert [node.name for node in result.nodes] == ["flatten", "relu"]


def test_the_output_may_be_what_is_removed():
    build = Builder(3, 8)
    build.add("conv", conv(3, 4))
    build.add("op", Subsample(1))
    result = canonicalise(build.graph())
    assert (len(result.nodes), result.output) == (1, 1)


@settings(max_examples=80)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    out=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_adaptive_pooling_becomes_plain_pooling_of_the_same_numbers_where_windows_are_even(
    size, out
):
    build = Builder(2, *size)
    build.add("pool", AdaptiveAvgPool(out))
    graph = build.graph()
    result = canonicalise(graph)
    verify(result)
    x = torch_reference.image(graph)
    np.testing.assert_allclose(
        torch_reference.run(result, WEIGHTS, x)["logits"],
        torch_reference.run(graph, WEIGHTS, x)["logits"],
        atol=1e-6,
    )
    divides = size[0] % out[0] == 0 and size[1] % out[1] == 0
    if divides and out not in (size, (1, 1)):
        assert isinstance(result.nodes[0].op, AvgPool)


def test_even_windows_are_found_where_the_count_does_not_divide_the_size():
    assert even_windows(7, 3) == (3, 2)
    assert even_windows(8, 4) == (2, 2)
    assert even_windows(8, 6) is None
    assert even_windows(2, 4) is None


def test_with_an_unknown_size_pooling_to_a_size_stays():
    for op in (AdaptiveAvgPool((8, 6)), AdaptiveAvgPool((4, 3))):
        graph = around(op)
        assert canonicalise(graph, fixed_size=False) == graph
    build = Builder(3, 1)
    build.add("pool", AdaptiveAvgPool((1, 1)))
    assert canonicalise(build.graph(), fixed_size=False).nodes == ()
