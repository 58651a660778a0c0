"""Correct targets of every kind hold, by bounds that say something; wrong ones are found, and the block that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from compiler_tests.verify import nets
from compiler_tests.verify.devices import SequentialDevice
from resnet_dsl.ir.ops import Add, Conv
from resnet_dsl.passes.numbers import Numbers, Precision
from resnet_dsl.verify.certificate import first_finding
from resnet_dsl.verify.findings import Finding, Proof
from resnet_dsl.verify.proof import prove
from resnet_dsl.verify.torch_target import TorchTarget
from resnet_dsl.weights.store import LoadedWeights

Change = Callable[[onnx.ModelProto], None]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


EVERY = pytest.mark.parametrize("spec", nets.SPECS.values(), ids=nets.SPECS.keys())


def assert_sharp(proof: Proof, target_graph_adds: set[str]) -> None:
    """The bounds of sums are within a few hundred times of what is there, and those of results within a thousand: they
    could be exceeded."""
    sums = [
        step
        for step in proof.steps
        if step.rms > 0 and step.name not in target_graph_adds and step.elements > 100
    ]
    assert np.median([step.of_rms for step in sums]) > 1 / 300
    result = proof.compared[-1]
    assert result.rms_bound < 1000 * result.rms
    assert result.deployed


@EVERY
@pytest.mark.parametrize("numbers", [Numbers(), Numbers("fp16")], ids=lambda item: item.precision)
def test_a_correct_onnx_graph_holds(spec: str, numbers: Numbers) -> None:
    target = nets.target(spec, numbers)
    proof = prove(target, nets.reference(spec))
    assert proof.findings == []
    assert len(proof.steps) == len(target.graph.nodes)
    adds = {node.name for node in target.graph.nodes if isinstance(node.op, Add)}
    assert_sharp(proof, adds)


@EVERY
def test_a_correct_torch_module_holds(spec: str) -> None:
    reference = nets.reference(spec)
    proof = prove(TorchTarget(reference.compilation, nets.weights(spec)), reference)
    assert proof.findings == []
    weighted = [node.name for node in reference.graph.nodes if node.constants]
    assert {step.name for step in proof.steps} >= set(weighted)
    assert {item.block for item in proof.compared} == set(reference.ends.values())


SEQUENCE = """\
name: net
input: {channels: 3, size: 8}
classes: 5
stem: cifar
trunk: features
blocks:
  pooled:
    body:
      - avg_pool: {kernel: stride, ceil: true}
      - conv: {kernel: 1, out: out}
    after:
      - act
stages:
  - {block: pooled, depth: 1, width: 8}
  - {block: pooled, depth: 1, width: 8, stride: 2}
head: classifier
"""


def test_a_block_that_is_no_module_is_not_taken_for_its_first_operation() -> None:
    """In a sequence a block is called as its first operation is, here a pooling that does nothing."""
    reference = nets.reference(SEQUENCE)
    assert "features.3" in {node.block for node in reference.graph.nodes}
    proof = prove(TorchTarget(reference.compilation, nets.weights(SEQUENCE)), reference)
    assert proof.findings == []


@pytest.mark.parametrize("fold", [True, False])
def test_whether_normalisations_are_folded_makes_no_difference(fold: bool) -> None:
    proof = prove(nets.target(nets.PLAIN, fold=fold), nets.reference(nets.PLAIN))
    assert proof.findings == []


def wrong(spec: str, change: Change | None, origin: LoadedWeights | None = None) -> Finding:
    """What is found first about a file that is wrong."""
    proof = prove(nets.target(spec, change=change, origin=origin), nets.reference(spec))
    found = first_finding(proof)
    assert found is not None
    return found


def times(factor: float) -> Callable[[np.ndarray], None]:
    """All numbers of a tensor, changed by a factor."""

    def edit(numbers: np.ndarray) -> None:
        numbers *= np.float32(factor)

    return edit


def one_bit(numbers: np.ndarray) -> None:
    """The last bit of one number."""
    numbers.reshape(-1).view(np.uint32)[7] ^= 1


def test_one_bit_of_one_weight_is_found() -> None:
    found = wrong(nets.PLAIN, nets.constant("layer2.0.conv1.weight", one_bit))
    assert (found.question, found.block) == ("weights", "layer2.0")
    assert "1 of 3,456 numbers of `layer2.0.conv1.weight`" in found.message


def findings(proof: Proof, question: str) -> list[Finding]:
    return [item for item in proof.findings if item.question == question]


@pytest.mark.parametrize("factor", [1 + 1e-3, 1 + 3e-5])
def test_weights_that_are_a_little_off_show_in_the_values(factor: float) -> None:
    target = nets.target(nets.PLAIN, change=nets.constant("layer1.1.conv2.weight", times(factor)))
    found = findings(prove(target, nets.reference(nets.PLAIN)), "arithmetic")
    assert [item.name for item in found] == ["layer1.1.conv2"]
    assert found[0].block == "layer1.1"


def identity(item: onnx.NodeProto) -> None:
    item.op_type = "Identity"


def test_a_missing_activation_is_found() -> None:
    found = wrong(nets.PLAIN, nets.node("layer1.1.relu1", identity))
    assert (found.question, found.block, found.name) == (
        "arithmetic",
        "layer1.1",
        "layer1.1.relu1",
    )


def swap(model: onnx.ModelProto) -> None:
    """The weights of two blocks, exchanged."""
    named = {item.name: item for item in model.graph.initializer}
    for part in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        one, other = named[f"layer1.0.{part}"], named[f"layer1.1.{part}"]
        kept = one.raw_data
        one.raw_data = other.raw_data
        other.raw_data = kept


def test_exchanged_blocks_are_found_at_the_first() -> None:
    proof = prove(nets.target(nets.PLAIN, change=swap), nets.reference(nets.PLAIN))
    assert {item.block for item in proof.findings if item.question == "weights"} == {
        "layer1.0",
        "layer1.1",
    }
    values = findings(proof, "values")
    assert [item.block for item in values] == ["layer1.0"]


def another_epsilon(spec: str, eps: str) -> LoadedWeights:
    """Weights that make of the right epsilon the wrong one: a variance is larger by the difference."""
    changed = {
        key: tensor + np.float32(eps) - np.float32(1e-5) if key.endswith("running_var") else tensor
        for key, tensor in nets.weights(spec).tensors.items()
    }
    return LoadedWeights(changed)


def test_another_epsilon_is_found_in_the_arithmetic_too() -> None:
    origin = another_epsilon(nets.PLAIN, "1e-3")
    target = nets.target(nets.PLAIN, origin=origin)
    proof = prove(target, nets.reference(nets.PLAIN))
    found = findings(proof, "arithmetic")
    assert {"conv1", "layer1.0.conv1", "layer2.1.conv2"} <= {item.name for item in found}
    first = first_finding(proof)
    assert first is not None
    assert first.block == "stem"


def strides(name: str, *numbers: int) -> Change:
    def edit(item: onnx.NodeProto) -> None:
        for attribute in item.attribute:
            if attribute.name == "strides":
                del attribute.ints[:]
                attribute.ints.extend(numbers)

    return nets.node(name, edit)


def test_a_stride_in_the_other_convolution_is_found() -> None:
    def version_1(model: onnx.ModelProto) -> None:
        strides("layer2.0.conv1", 2, 2)(model)
        strides("layer2.0.conv2", 1, 1)(model)

    found = wrong(nets.BOTTLENECK, version_1)
    assert (found.question, found.block, found.name) == (
        "arithmetic",
        "layer2.0",
        "layer2.0.conv1",
    )


def test_a_wrong_value_of_a_fold_is_found_without_running_anything() -> None:
    reference = nets.reference(nets.PLAIN)
    target = nets.target(nets.PLAIN)
    graph = target.graph
    # A pass that loses an activation: everything after it reads what was before.
    place = next(
        number for number, node in enumerate(graph.nodes, 1) if node.name == "layer1.0.relu1"
    )
    nodes = tuple(
        replace(node, inputs=tuple(place - 1 if value == place else value for value in node.inputs))
        for node in graph.nodes
    )
    target.graph = replace(graph, nodes=nodes)
    found = findings(prove(target, reference), "passes")
    assert [item.block for item in found] == ["layer1.0"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_sums_term_after_term_hold(precision: Precision) -> None:
    """The worst order of additions that there is, and within the bounds."""
    graph = nets.compiled(nets.PLAIN).inference_graph(numbers=Numbers(precision))
    device = SequentialDevice(graph, nets.weights(nets.PLAIN), torch.float32)
    assert prove(device, nets.reference(nets.PLAIN)).findings == []


@pytest.mark.parametrize("sums", [torch.float16, torch.bfloat16])
def test_sums_in_half_precision_are_none_in_single_precision(sums: torch.dtype) -> None:
    graph = nets.compiled(nets.PLAIN).inference_graph(numbers=Numbers("fp16"))
    device = SequentialDevice(graph, nets.weights(nets.PLAIN), sums)
    found = findings(prove(device, nets.reference(nets.PLAIN)), "arithmetic")
    convolutions = {node.name for node in graph.nodes if isinstance(node.op, Conv)}
    assert {item.name for item in found} == {*convolutions, "fc"}
    assert found[0].block == "stem"
