"""Every bundled network in every precision: ONNX Runtime runs it, and it stays as near to fp32 as its type allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler_tests import torch_reference
from compiler_tests.emitted import all_specs
from compiler_tests.onnx_runs import run, to_bytes
from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.analysis.parameters import total_parameters
from resnet_dsl.compiler import compile_spec
from resnet_dsl.passes.manager import run as apply
from resnet_dsl.passes.numbers import Numbers

WEIGHTS = torch_reference.RandomWeights()
LARGE = 62_000_000
"""Parameters from which a network is left out: encoding them is what takes the time."""
HEAVY = 200_000_000
"""Multiply-adds from which a network's test is a slow one."""

# How far the logits may move, as a part of theirs: root mean square.
CASES = (
    (Numbers("fp16"), 0.002),
    (Numbers("int8", "fp32", "onnxruntime"), 0.08),
    (Numbers("int8", "fp32", "tensorrt"), 0.08),
    (Numbers("int8", "fp16", "tensorrt"), 0.08),
    (Numbers("fp8", "fp32", "tensorrt"), 0.2),
)


def _cases() -> list[object]:
    cases: list[object] = []
    for path in all_specs():
        graph = compile_spec(path, _small(path)).graph
        if len(graph.nodes) > 3000 or total_parameters(graph).trainable > LARGE:
            continue  # rounding errors grow in hundreds of random blocks; others are like smaller ones, and take long
        marks = [pytest.mark.slow] if total_macs(graph) > HEAVY else []
        cases.append(pytest.param(path, id=path.stem, marks=marks))
    return cases


def _small(path: Path) -> list[str]:
    """ImageNet's networks on images of 64 pixels."""
    return ["input.size=64"] if compile_spec(path).program.input[1] > 100 else []


@pytest.mark.parametrize("path", _cases())
def test_a_network_stays_near_to_itself_in_every_precision(path: Path) -> None:
    graph = compile_spec(path, _small(path)).inference_graph()
    x = torch_reference.image(graph)
    values = torch_reference.all_values(graph, WEIGHTS, x)
    exact = values[graph.output].numpy()
    largest = {node.name: values[i] for i, node in enumerate(graph.nodes, 1)} | {"input": values[0]}
    for numbers, bound in CASES:
        plan = numbers.plan(graph)
        if plan is not None:
            ranges = {name: float(largest[name].abs().max()) for name in plan.ranges}
            numbers = replace(numbers, ranges=ranges)
        fused = numbers.precision == "int8" and numbers.rest == "fp32"
        narrow = apply(graph, numbers.passes())
        found = run(to_bytes(narrow, WEIGHTS), x, codes=fused)["logits"]
        distance = np.sqrt(np.square(found - exact).mean() / np.square(exact).mean())
        assert 0 < distance < bound, numbers.precision
