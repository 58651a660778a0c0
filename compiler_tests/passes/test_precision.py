"""Half precision around codes and around what has to stay wide."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from compiler_tests import torch_reference
from compiler_tests.graphs import RELU, Builder, conv, residual_net
from compiler_tests.onnx_runs import run, to_model
from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import Cast, Dequantize, Quantize
from resnet_dsl.ir.verify import verify
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.placement import plan
from resnet_dsl.passes.precision import precision, rounded
from resnet_dsl.passes.quantize import quantize

WEIGHTS = torch_reference.RandomWeights()


def chain() -> Graph:
    """Three convolutions, of which the middle one reads and makes what its ReLUs leave."""
    build = Builder(2, 6)
    for number in range(3):
        build.add(f"conv{number}", conv(2 if number == 0 else 3, 3))
        build.add(f"relu{number}", RELU)
    return build.graph()


def named(graph: Graph) -> dict[str, Node]:
    return {node.name: node for node in graph.nodes}


def scales(graph: Graph) -> dict[str, float]:
    """The scale of each end of a pair."""
    return {
        node.name: node.op.scale
        for node in graph.nodes
        if isinstance(node.op, Quantize | Dequantize)
    }


def test_codes_of_what_does_not_fit_into_half_precision_stand_for_float32():
    graph = chain()
    found = plan(graph, "int8", "tensorrt")
    ranges = dict.fromkeys(found.ranges, 4.0) | {"relu0": 1e6}
    wide = frozenset({"conv0", "relu0", "conv1"})
    result = precision(quantize(graph, found, ranges), "float16", wide)
    verify(result)
    nodes = named(result)
    assert nodes["relu0.dequantized"].dtype == "float32"
    assert nodes["relu1.dequantized"].dtype == "float16"
    assert not any(isinstance(node.op, Cast) and "relu0" in node.name for node in result.nodes)
    # The pair's scale is above what float16 could hold over 127, and stays exact.
    assert scales(result)["relu0.quantized"] == pytest.approx(1e6 / 127, rel=1e-6)
    model = to_model(result, WEIGHTS)
    x = 1000 * torch_reference.image(graph)
    assert np.isfinite(run(model.SerializeToString(), x, codes=False)["logits"]).all()


def test_the_image_is_quantised_as_it_comes():
    graph = fold_batchnorm(residual_net())
    found = plan(graph, "int8", "tensorrt")
    result = precision(quantize(graph, found, dict.fromkeys(found.ranges, 4.0)), "float16")
    assert "input.cast" not in named(result)
    assert named(result)["input.quantized"].inputs == (0,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_both_ends_of_a_pair_have_the_scale_that_the_half_type_can_hold(dtype):
    graph = chain()
    found = plan(graph, "int8", "tensorrt")
    result = precision(quantize(graph, found, dict.fromkeys(found.ranges, 0.3)), dtype)
    (scale,) = set(scales(result).values())
    assert rounded(scale, dtype) == scale
    assert scale != 0.3 / 127
    assert scale == pytest.approx(0.3 / 127, rel=2**-8)


def test_scales_are_rounded_to_even_and_are_never_zero_or_infinite():
    assert rounded(1e-12, "float16") == 2.0**-24
    assert rounded(1e9, "float16") == 65504.0
    assert rounded(1 + 2**-8, "bfloat16") == 1.0
    assert rounded(1 + 3 * 2**-8, "bfloat16") == 1 + 2**-6
    for number in np.random.default_rng(0).uniform(1e-4, 1e3, 100):
        (half,) = struct.unpack("<e", struct.pack("<e", number))
        assert rounded(float(number), "float16") == half == float(np.float16(number))


def test_names_that_layers_have_already_are_not_given_twice():
    build = Builder(2, 6)
    build.add("input", conv(2, 3))
    build.add("input.quantized", RELU)
    build.add("input.cast", conv(3, 3))
    build.add("logits", RELU)
    build.add("output.cast", conv(3, 3))
    graph = build.graph()
    found = plan(graph, "int8", "tensorrt")
    assert found.ranges == ("input", "input.quantized", "logits_")
    largest = {"input": 1.0, "input.quantized": 2.0, "logits_": 3.0}
    result = quantize(graph, found, largest)
    verify(result)
    half = precision(result, "float16")
    verify(half)
    found_scales = [127 * scale for scale in scales(result).values()]
    assert found_scales == pytest.approx([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    verify(precision(graph, "float16"))
    to_model(half, WEIGHTS)
