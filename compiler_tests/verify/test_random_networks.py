"""Networks at random, of blocks at random: none of their targets is called wrong, and each is once it is made wrong."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from compiler_tests.agreement import trained_state
from compiler_tests.random_specs.specs import Spec, specs
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.numbers import Numbers, Precision
from resnet_dsl.verify.onnx_file import read
from resnet_dsl.verify.onnx_target import OnnxTarget
from resnet_dsl.verify.own_graph import own_graph
from resnet_dsl.verify.proof import prove
from resnet_dsl.verify.reference import Reference
from resnet_dsl.verify.settle import settled_on_noise
from resnet_dsl.verify.torch_target import TorchTarget
from resnet_dsl.verify.walk import run
from resnet_dsl.weights.store import LoadedWeights, Weights

OPSETS = [13, 14, 17, 18, 20, 21, 22, 25]


def compiled(spec: Spec, folder: Path) -> Compilation:
    text = yaml.safe_dump(spec, sort_keys=False)
    name = f"net_{sha256(text.encode()).hexdigest()[:12]}"
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("name: random_net", f"name: {name}", 1))
    return compile_spec(file)


def referred(compilation: Compilation, seed: int) -> Reference:
    """The network with weights as after some training; out of question where its values overflow nevertheless."""
    drawn = LoadedWeights(trained_state(compilation.graph, seed))
    weights = settled_on_noise(compilation.inference_graph(fold=False), drawn)
    images = torch.randn(
        2, *compilation.program.input, generator=torch.Generator().manual_seed(seed)
    )
    reference = Reference(compilation, weights, images)
    try:
        with torch.inference_mode():
            assume(all(float(end.exact.abs().max()) < 1e4 for end in reference.spreads.values()))
    except CompileError:
        assume(False)
    return reference


def written(graph: Graph, weights: Weights, opset: int, folder: Path) -> Path:
    path = folder / "net.onnx"
    with path.open("wb") as stream:
        write_model(graph, weights, stream, OnnxOptions(opset))
    return path


def ranged(graph: Graph, reference: Reference) -> Numbers:
    """int8 with the ranges that the reference's images have."""
    plan = Numbers("int8").plan(graph)
    assert plan is not None
    with torch.inference_mode():
        values = run(graph, reference.numbers, reference.images, lambda node: True)
    values["input"] = reference.images
    ranges = {name: float(values[name].abs().max()) for name in plan.ranges}
    return Numbers("int8", ranges=ranges)


def move(path: Path, name: str) -> None:
    """Change all numbers of a constant by a part in a hundred; of codes, by one."""
    model = onnx.load(path)
    tensor = next(item for item in model.graph.initializer if item.name == name)
    numbers = numpy_helper.to_array(tensor)
    moved = numbers ^ 1 if numbers.dtype.kind == "i" else (numbers * 1.01).astype(numbers.dtype)
    tensor.CopyFrom(numpy_helper.from_array(moved, name))
    onnx.save(model, path)


@pytest.mark.slow
def test_random_networks_hold_and_do_not_once_they_are_changed(tmp_path: Path) -> None:
    torch.set_num_threads(1)

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(
        spec=specs(),
        opset=st.sampled_from(OPSETS),
        fold=st.booleans(),
        precision=st.sampled_from(["fp32", "fp16", "int8"]),
        seed=st.integers(0, 100),
    )
    def hold(spec: Spec, opset: int, fold: bool, precision: Precision, seed: int) -> None:
        compilation = compiled(spec, tmp_path)
        reference = referred(compilation, seed)
        assert prove(TorchTarget(compilation, reference.weights), reference).findings == []
        numbers = Numbers(precision)
        if precision == "int8":
            numbers = ranged(compilation.inference_graph(fold=fold), reference)
        graph = compilation.inference_graph(fold=fold, numbers=numbers)
        path = written(graph, reference.weights, opset, tmp_path)
        file = read(path)
        assert own_graph(file, compilation) == (graph, precision)
        assert prove(OnnxTarget(file, graph, precision), reference).findings == []
        weighted = [node for node in graph.nodes if node.constants]
        node = weighted[seed % len(weighted)]
        move(path, node.constants[0].name)
        found = prove(OnnxTarget(read(path), graph, precision), reference).findings
        assert found
        assert found[0].block == (node.block or node.group)

    hold()
