"""Well-known networks that are not in specs/, each with blocks of its own: what a user of the language would write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compiler_tests import agreement, onnx_runs
from compiler_tests.emitted import is_clean, is_typed
from resnet_dsl.analysis.parameters import total_parameters
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.compiler import Compilation, compile_spec, torch_source
from resnet_dsl.ir.ops import Add, Concat, Conv, Multiply
from resnet_dsl.weights.store import LoadedWeights

SPECS = sorted((Path(__file__).parent / "specs").glob("*.yaml"))
ANY_SIZE = ("dilated_resnet", "fully_convolutional", "mobilenet_v2", "densenet_stages", "repvgg")


def compiled(name: str) -> Compilation:
    return compile_spec(Path(__file__).parent / "specs" / f"{name}.yaml")


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
@pytest.mark.parametrize(("opset", "fold"), [(13, False), (18, True), (25, True)])
def test_the_network_is_the_same_on_every_target(
    path: Path, opset: int, fold: bool, tmp_path: Path
) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    assert agreement.assert_sound(copy, OnnxOptions(opset), fold=fold, seed=opset)


def test_the_sources_are_clean(tmp_path: Path) -> None:
    files = [tmp_path / f"{path.stem}.py" for path in SPECS]
    for path, file in zip(SPECS, files, strict=True):
        compilation = compile_spec(path)
        file.write_text(torch_source(compilation), encoding="utf-8")
    is_clean(tmp_path)
    is_typed(*files)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_a_graph_of_any_size_reads_images_of_another_size(name: str, tmp_path: Path) -> None:
    compilation = compiled(name)
    emitted = agreement.Emitted(compilation, tmp_path)
    arrays = agreement.trained_state(compilation.graph, 1)
    model = emitted.model().eval()
    agreement.load(model, compilation.graph, arrays)
    graph = compilation.inference_graph(fixed_size=False)
    channels, height, width = compilation.program.input
    x = torch.randn(3, channels, height + 13, width + 6)
    options = OnnxOptions(dynamic_size=True)
    found = onnx_runs.run(onnx_runs.to_bytes(graph, LoadedWeights(arrays), options), x.numpy())
    with torch.no_grad():
        expected = model(x).numpy()
    (result,) = found.values()
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())


def test_a_dense_block_by_repetition_is_the_one_by_stages() -> None:
    counts = [
        total_parameters(compiled(name).graph).trainable for name in ("densenet", "densenet_stages")
    ]
    assert counts[0] == counts[1] == 153_874


def test_pyramid_widths_grow_by_the_same_number_in_every_block() -> None:
    widths = [
        node.op.out_channels
        for node in compiled("pyramidnet").graph.nodes
        if isinstance(node.op, Conv) and node.name.endswith("conv2")
    ]
    assert widths == [16 + 48 * number // 9 for number in range(1, 10)]


def test_a_dilated_network_keeps_its_size_from_the_third_stage_on() -> None:
    features = compiled("dilated_resnet").program.features
    assert [(item.stride, item.height, item.width) for item in features] == [
        (4, 13, 17),
        (8, 7, 9),
        (8, 7, 9),
        (8, 7, 9),
    ]


def test_inverted_residuals_are_added_where_shapes_agree() -> None:
    graph = compiled("mobilenet_v2").graph
    added = sum(isinstance(node.op, Add) for node in graph.nodes)
    blocks = {node.block for node in graph.nodes if node.block}
    assert len(blocks) == 17
    assert added == 11  # every block but one with a stride, and three whose widths change


def test_depthwise_convolutions_have_a_group_a_channel() -> None:
    depthwise = [
        node.op
        for node in compiled("convnext").graph.nodes
        if isinstance(node.op, Conv) and node.op.kernel == (7, 7)
    ]
    assert len(depthwise) == 7
    assert all(op.groups == op.in_channels == op.out_channels for op in depthwise)


def test_branches_and_joins_are_those_of_the_figures() -> None:
    joins = {
        name: [type(node.op) for node in compiled(name).graph.nodes if len(node.inputs) > 1]
        for name in ("inception", "repvgg", "se_resnext")
    }
    assert joins["inception"] == [Concat] * 3
    assert joins["repvgg"] == [Add] * 6 + [Add] * 3
    assert joins["se_resnext"] == [Multiply, Add] * 4


def test_signals_keep_their_height_and_have_the_strides_of_their_samples() -> None:
    features = compiled("signals").program.features
    assert [(item.stride, item.height, item.width) for item in features] == [
        (4, 1, 256),
        (16, 1, 64),
        (64, 1, 16),
    ]
