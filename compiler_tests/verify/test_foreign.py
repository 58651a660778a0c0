"""Files of other exporters: what they compute is compared, whatever their values are called, and departures named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from compiler_tests.verify import nets
from resnet_dsl.errors import CompileError
from resnet_dsl.verify.findings import Compared, Proof
from resnet_dsl.verify.foreign import ForeignTarget, _inner, open_foreign, prove_foreign
from resnet_dsl.verify.onnx_file import read
from resnet_dsl.verify.torch_target import TorchTarget

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own

SHAPE = (3, 16, 16)


def module(spec: str) -> nn.Module:
    """A network as its user has it, to do with as one likes."""
    target = TorchTarget(nets.compiled(spec), nets.weights(spec))
    return copy.deepcopy(target.module)


def exported(
    network: nn.Module, shape: tuple[int, ...] = SHAPE, *, fold: bool = True, half: bool = False
) -> Path:
    """A file of torch's exporter."""
    path = nets.folder() / "foreign.onnx"
    mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    image = torch.zeros(1, *shape)
    torch.onnx.export(
        network.eval().half() if half else network.eval(),
        (image.half() if half else image,),
        path,
        dynamo=False,
        do_constant_folding=fold,
        training=mode,
        input_names=["pixels"],
        dynamic_axes={"pixels": {0: "n"}},
    )
    return path


def opened(spec: str, path: Path) -> ForeignTarget:
    return open_foreign(read(path), nets.reference(spec))


def proved(spec: str, path: Path) -> Proof:
    return prove_foreign(opened(spec, path), nets.reference(spec))


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("name", ["option A", "option B", "bottleneck", "pre-activation", "gelu"])
def test_an_export_of_the_same_network_holds(name: str, fold: bool) -> None:
    spec = nets.SPECS[name]
    proof = proved(spec, exported(module(spec), fold=fold))
    assert proof.findings == []
    ends = [end for end in nets.reference(spec).ends if end != nets.reference(spec).final]
    assert [item.name for item in proof.compared[:-1]] == ends
    assert all(item.ratio <= 1 for item in proof.compared)
    assert proof.compared[-1].ratio > 1e-4


def test_an_export_in_half_precision_holds_by_its_own_bounds() -> None:
    proof = proved(nets.PLAIN, exported(module(nets.PLAIN), half=True))
    assert proof.about.precision == "fp16"
    assert proof.findings == []
    assert proof.compared[-1].rms > 1e-5


def test_a_softmax_at_the_end_is_seen_and_told() -> None:
    path = exported(nn.Sequential(module(nets.PLAIN), nn.Softmax(1)))
    target = opened(nets.PLAIN, path)
    assert target.softmax
    assert "softmax" in target.notes[0]
    assert proved(nets.PLAIN, path).findings == []


class Two(nn.Module):
    """A network that gives its features too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :1] + 1, self.network(x)


def test_of_several_outputs_the_scores_are_compared() -> None:
    path = exported(Two(module(nets.PLAIN)))
    target = opened(nets.PLAIN, path)
    assert "2 outputs" in target.notes[0]
    assert proved(nets.PLAIN, path).findings == []


def epsilon(network: nn.Module) -> None:
    for part in network.get_submodule("layer2").modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-3


def no_activation(network: nn.Module) -> None:
    network.get_submodule("layer1.1").relu = nn.Identity()


def one_weight(network: nn.Module) -> None:
    with torch.no_grad():
        network.get_parameter("layer2.1.conv1.weight")[3, 2, 1, 1] += 0.1


def other_weights(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1)


def a_block_of_other_weights(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.get_submodule("layer1.1").parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1)


def exchanged(network: nn.Module) -> None:
    stage = network.get_submodule("layer1")
    assert isinstance(stage, nn.Sequential)
    stage[0], stage[1] = stage[1], stage[0]


def no_shortcut(network: nn.Module) -> None:
    block: Any = network.get_submodule("layer2.1")

    def forward(x: Tensor) -> Tensor:
        inner = block.relu(block.bn1(block.conv1(x)))
        found: Tensor = block.relu(block.bn2(block.conv2(inner)))
        return found

    block.forward = forward


DEPARTURES: list[tuple[Callable[[nn.Module], None], bool, str, str]] = [
    (epsilon, False, "layer2.0", "epsilon 1e-05, and the file has ones with 0.001"),
    (epsilon, True, "layer2.0", "as with another epsilon"),
    (no_activation, True, "layer1.1", "it is its operations that differ"),
    (one_weight, True, "layer2.1", "`layer2.1.conv1.weight` is in the file, with 1 of 5,184"),
    (one_weight, False, "layer2.1", "`layer2.1.conv1.weight` is in the file, with 1 of 5,184"),
    (other_weights, True, "stem", "it holds those of another training"),
    (a_block_of_other_weights, True, "layer1.1", "is not in the file"),
    (exchanged, True, "layer1.0", "it is its operations that differ"),
    (no_shortcut, True, "layer2.1", "it is its operations that differ"),
]


@pytest.mark.parametrize(
    ("change", "fold", "block", "said"),
    DEPARTURES,
    ids=[f"{item[0].__name__}-{'folded' if item[1] else 'unfolded'}" for item in DEPARTURES],
)
def test_what_departs_is_named(
    change: Callable[[nn.Module], None], fold: bool, block: str, said: str
) -> None:
    network = module(nets.PLAIN)
    change(network)
    (found,) = proved(nets.PLAIN, exported(network, fold=fold)).findings
    assert found.block == block
    assert said in found.message


def test_a_departure_that_the_output_hides_is_found_in_its_block() -> None:
    target, reference = opened(nets.PLAIN, exported(module(nets.PLAIN))), nets.reference(nets.PLAIN)
    proof = Proof(target.about)
    far = Compared("layer1.0.relu2", "layer1.0", 1.0, 5.0, 1e-5, 0.9, 1e-5)
    near = Compared("layer1.1.relu2", "layer1.1", 1.0, 0.02, 1e-5, 1e-3, 1e-5)
    result = Compared("fc", "head", 1.0, 1e-6, 1e-5, 1e-6, 1e-5, deployed=True)
    proof.compared.extend([far, near, result])
    _inner(target, reference, proof)
    assert proof.compared == [near, result]  # of the first the file has no value
    (found,) = proof.findings
    assert found.block == "layer1.1"
    assert "though the output hides it" in found.message


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "unfolded"])
def test_a_stride_in_another_convolution_is_named(fold: bool) -> None:
    network = module(nets.BOTTLENECK)
    block: Any = network.get_submodule("layer2.0")
    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    (found,) = proved(nets.BOTTLENECK, exported(network, fold=fold)).findings
    assert found.block == "layer2.0"
    assert "`layer2.0.conv1` has strides 1×1, and the file's" in found.message
    assert found.message.endswith("2×2")


def refused(path: Path) -> CompileError:
    with pytest.raises(CompileError) as raised:
        opened(nets.PLAIN, path)
    return raised.value


def test_images_of_another_size_are_refused() -> None:
    (found,) = refused(exported(module(nets.PLAIN), (3, 24, 24))).diagnostics
    assert found.code == "RD691"
    assert "3×24×24" in found.message
    assert found.why == "the network takes 3×16×16"


class ChannelsLast(nn.Module):
    """As TensorFlow has images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x.permute(0, 3, 1, 2))
        return found


def test_channels_last_are_refused_and_told_so() -> None:
    (found,) = refused(exported(ChannelsLast(module(nets.PLAIN)), (16, 16, 3))).diagnostics
    assert found.code == "RD691"
    assert found.why is not None
    assert "channels last" in found.why


def test_a_network_without_a_head_is_refused() -> None:
    network = module(nets.PLAIN)
    network.fc = nn.Identity()
    (found,) = refused(exported(network)).diagnostics
    assert found.code == "RD691"
    assert "no scores of 5 classes" in found.message
    assert found.why is not None
    assert "(1, 24)" in found.why


def test_codes_of_another_tool_are_refused() -> None:
    path = exported(module(nets.PLAIN))
    model = onnx.load(path)
    first = model.graph.node[0]
    scale = onnx.numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    zero = onnx.numpy_helper.from_array(np.array(0, np.int8), "zero")
    model.graph.initializer.extend([scale, zero])
    codes = helper.make_node("QuantizeLinear", [first.input[0], "scale", "zero"], ["codes"])
    back = helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["back"])
    first.input[0] = "back"
    model.graph.node.insert(0, back)
    model.graph.node.insert(0, codes)
    onnx.save(model, path)
    (found,) = refused(path).diagnostics
    assert found.code == "RD691"
    assert "quantised by another tool" in found.message


def test_two_inputs_are_refused() -> None:
    path = nets.folder() / "two.onnx"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *SHAPE])
        for name in ("left", "right", "sum")
    ]
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["sum"])], "two", ends[:2], ends[2:]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    (found,) = refused(path).diagnostics
    assert found.code == "RD681"


@pytest.mark.parametrize(
    "content", [b"", b"no protobuf, this", b"\x08\x08\x12\xff\xff\xff\xff\x0f"]
)
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    (found,) = refused(path).diagnostics
    assert found.code in ("RD681", "RD691")
    assert found.hint


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    (found,) = refused(tmp_path / "none.onnx").diagnostics
    assert found.code == "RD691"
    assert found.message.startswith("there is no file")
