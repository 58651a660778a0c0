"""Layer responses: which layers and modules, and the deviations that are measured at them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compiler_tests.commands.running import call
from compiler_tests.studies.fakes import STUDY, finish, runs, write
from resnet_dsl.catalogue import find_spec
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import BatchNorm
from resnet_dsl.studies.folder import RunFolder
from resnet_dsl.studies.outcomes import rows
from resnet_dsl.studies.plan import Run
from resnet_dsl.studies.responses import deviations, layers, measured

DIGITS = STUDY.replace("[6, 10]", "[6]").replace("seeds: [0, 1]", "seeds: [0]")


def graph_of(spec: str, *overrides: str) -> Graph:
    return compile_spec(find_spec(spec), overrides).graph


@pytest.mark.parametrize(("spec", "count"), [("plain20", 19), ("resnet20", 19), ("resnet110", 109)])
def test_each_3x3_layer_responds_at_its_normalisation(spec: str, count: int) -> None:
    graph = graph_of(spec)
    found = layers(graph)
    assert len(found) == count
    norms = [node.name for node in graph.nodes if isinstance(node.op, BatchNorm)]
    assert [*found.values()] == norms
    assert found["layer2.0.conv2"] == "layer2.0.bn2"


def test_projections_and_1x1_convolutions_are_no_layers() -> None:
    found = layers(graph_of("resnet50"))
    assert [name.rsplit(".", 1)[-1] for name in found] == ["conv2"] * 16


def test_what_opens_a_gate_is_no_layer() -> None:
    plain = layers(graph_of("resnet20", "shortcut=none"))
    assert layers(graph_of("resnet20", "shortcut=gate")) == plain


def test_where_no_normalisation_follows_the_convolution_itself_responds() -> None:
    found = layers(graph_of("resnet110_preact"))
    assert found["layer1.0.conv2"] == "layer1.0.conv2"
    assert found["layer1.0.conv1"] == "layer1.0.bn2"
    found = layers(graph_of("resnet20", "norm=none"))
    assert [*found.keys()] == [*found.values()]


def test_deviations_are_over_all_numbers_of_all_batches_before_the_nonlinearity() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(inplace=True),
        torch.nn.Conv2d(4, 4, 3),
    )
    images = torch.randn(7, 1, 9, 9)
    network.eval()
    with torch.inference_mode():
        first = network[1](network[0](images))
        second = network[3](first.relu())
    found = deviations(network, ["1", "3"], torch.split(images, 3))
    expected = [float(one.std(correction=0)) for one in (first, second)]
    assert found == pytest.approx(expected, rel=1e-6)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.fixture
def finished(tmp_path: Path) -> list[Run]:
    """A plain and a residual run with the weights that they begin with."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    planned = runs(write(tmp_path, DIGITS))
    for run in planned:
        finish(tmp_path / "out", run, mean=[0.5], std=[0.25])
        folder = RunFolder(tmp_path / "out" / "runs", run)
        built = call("build", folder.spec, "--out", tmp_path / run.id, "--write-weights")
        assert built.exit_code == 0, built.output
        shutil.copy(tmp_path / run.id / "small.safetensors", folder.output / "last.safetensors")
    return planned


def test_responses_are_measured_once_on_the_standardised_test_images(
    tmp_path: Path, finished: list[Run]
) -> None:
    import torch
    from safetensors.torch import load_file

    from resnet_dsl.runtime.data import load_digits_images
    from resnet_dsl.verify.emitted import import_emitted

    said: list[str] = []
    found = measured(rows(tmp_path / "out", finished), said.append)
    assert [line.partition(":")[0] for line in said] == [run.label for run in finished]
    for run in finished:
        network = import_emitted(tmp_path / run.id / "small.py").small().eval()
        network.load_state_dict(load_file(tmp_path / run.id / "small.safetensors"))
        images = (load_digits_images("test").images - 0.5) / 0.25
        with torch.inference_mode():
            stem = network.bn1(network.conv1(images))
            block = network.layer1[0]
            second = block.bn1(block.conv1(stem.relu()))
        assert [layer.name for layer in found[run.id]] == [
            "conv1",
            "layer1.0.conv1",
            "layer1.0.conv2",
            "layer2.0.conv1",
            "layer2.0.conv2",
        ]
        expected = [float(one.std(correction=0)) for one in (stem, second)]
        assert [layer.deviation for layer in found[run.id][:2]] == pytest.approx(expected, rel=1e-4)
    said.clear()
    assert measured(rows(tmp_path / "out", finished), said.append) == found
    assert said == []


def test_other_weights_are_measured_anew(tmp_path: Path, finished: list[Run]) -> None:
    run, other = finished
    first = measured(rows(tmp_path / "out", [run]), print)
    folder = RunFolder(tmp_path / "out" / "runs", run)
    kept = folder.path / "responses.json"
    kept.write_text(kept.read_text().replace("sha256", "sha"))
    said: list[str] = []
    assert measured(rows(tmp_path / "out", [run]), said.append) == first
    assert len(said) == 1
    assert json.loads(kept.read_text())["weights_sha256"]
    weights = (RunFolder(tmp_path / "out" / "runs", other).output / "last.safetensors").read_bytes()
    (folder.output / "last.safetensors").write_bytes(weights[:-4])
    with pytest.raises(CompileError):
        measured(rows(tmp_path / "out", [run]), print)
    (folder.output / "last.safetensors").unlink()
    with pytest.raises(CompileError, match="weights of a finished run cannot be read"):
        measured(rows(tmp_path / "out", [run]), print)
