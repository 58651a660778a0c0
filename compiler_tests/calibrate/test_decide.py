"""What is kept wide, and which ranges codes get, for networks that are not the usual ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler_tests.graphs import RELU, Builder, conv
from resnet_dsl.calibrate.decide import decide
from resnet_dsl.calibrate.decided import Decided
from resnet_dsl.calibrate.overflow import overflowing
from resnet_dsl.calibrate.search import Measured, Mix, Unit
from resnet_dsl.calibrate.wish import Wish
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.ops import Add, Init, Multiply
from resnet_dsl.weights.store import Array, SeededWeights

NAMES = """
name: names
input: {channels: 3, size: 8}
classes: 4
stems:
  entrance:
    body:
      - {conv: {kernel: 3, out: 8}, name: input}
      - norm
      - act
      - {conv: {kernel: 3, out: 8}, name: logits}
      - act
stem: entrance
stages: [{block: basic, depth: 1, width: 8}]
"""
Decide = Callable[..., Decided]


class Renamed(SeededWeights):
    """The weights of a seed, those of two layers by their other names."""

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        key = key.replace("first.", "input.").replace("second.", "logits.")
        return SeededWeights(3).get(key, shape, fill)


@pytest.fixture
def decided(tmp_path: Path) -> Decide:
    """What is decided of a spec's text with the seed's weights, on images that are 100 at most."""
    images = np.random.default_rng(0).uniform(-100, 100, (8, 3, 8, 8)).astype(np.float32)
    images[0, 0, 0, 0] = 100
    np.save(tmp_path / "images.npy", images)

    def of(text: str, wish: Wish) -> Decided:
        (tmp_path / "spec.yaml").write_text(text)
        compilation = compile_spec(tmp_path / "spec.yaml")
        return decide(compilation, Renamed(), wish, tmp_path)

    return of


def test_a_layer_that_is_called_as_the_image_or_the_logits_has_a_range_of_its_own(
    decided, tmp_path
):
    place = str(tmp_path / "images.npy")
    found = decided(NAMES, Wish("int8", placement="tensorrt", place=place, method="max"))
    plain = decided(
        NAMES.replace("name: input}", "name: first}").replace("name: logits}", "name: second}"),
        Wish("int8", placement="tensorrt", place=place, method="max"),
    )
    assert found.numbers.ranges["input"] == 100
    assert found.numbers.ranges == plain.numbers.ranges
    assert found.calibration is not None
    assert plain.calibration is not None
    for here, there in (("input_", "first"), ("logits_", "second")):
        assert found.calibration.largest(here) == plain.calibration.largest(there)


def test_what_fp16_cannot_hold_is_found_by_what_is_read_made_and_summed_on_the_way():
    build = Builder(3, 4)
    first = build.add("conv1", conv(3, 3))
    second = build.add("relu1", RELU, first)
    third = build.add("conv2", conv(3, 3), second)
    build.add("sum", Add(), first, second, third)
    build.add("product", Multiply(), first, second, third)
    build.add("relu2", RELU)
    graph = build.graph()
    quiet = {"input": 1.0, **{node.name: 1.0 for node in graph.nodes}}
    assert overflowing(graph, quiet) == {}
    assert overflowing(graph, {**quiet, "conv1": 32752.0}) == {"sum": 32753.0}
    assert overflowing(graph, {**quiet, "conv1": 32753.0}).keys() == {
        *("conv1", "relu1", "sum", "product")
    }
    # Two that fit, and whose sum does not, until the third takes some away.
    some = {**quiet, "conv1": 20000.0, "relu1": 20000.0}
    assert overflowing(graph, some) == {"sum": 40000.0, "product": 4e8}
    assert overflowing(graph, {**quiet, "input": 4e4}) == {"conv1": 4e4}


def test_values_beyond_float16_stay_wide_under_int8_and_their_codes_too(decided, tmp_path):
    images = np.load(tmp_path / "images.npy") * 1e4
    np.save(tmp_path / "large.npy", images)
    place = str(tmp_path / "large.npy")
    found = decided(NAMES, Wish("int8", rest="fp16", placement="tensorrt", place=place))
    assert {"input", "relu1", "logits"} <= found.numbers.wide
    assert found.overflow["input"] >= 1e6
    graph = compile_spec(tmp_path / "spec.yaml").inference_graph(numbers=found.numbers)
    types = {node.name: node.dtype for node in graph.nodes}
    assert types["input.dequantized"] == types["relu1.dequantized"] == "float32"


def test_a_part_that_is_none_is_refused(decided):
    with pytest.raises(CompileError) as caught:
        decided(NAMES, Wish("bf16", keep=("layer1", "layer7")))
    assert [item.code for item in caught.value.diagnostics] == ["RD685"]


def test_fp16_without_the_packages_that_run_networks_is_unchecked_and_says_so(
    decided, tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    place = str(tmp_path / "images.npy")
    with pytest.raises(CompileError, match="this needs onnx, onnxruntime"):
        decided(NAMES, Wish("fp16", place=place))


def test_that_codes_beside_bf16_are_none_in_an_engine_is_said(decided, tmp_path):
    place = str(tmp_path / "images.npy")
    said = decided(NAMES, Wish("int8", rest="bf16", placement="tensorrt", place=place, engine=True))
    assert any("convolutions compute in bf16" in note for note in said.notes)
    quiet = decided(NAMES, Wish("int8", placement="tensorrt", place=place, engine=True))
    assert quiet.notes == ()


@pytest.mark.parametrize("all_wide", [False, True])
def test_a_mix_of_which_nothing_is_narrow_has_no_codes_at_all(
    decided, tmp_path, monkeypatch, all_wide
):
    """Pooling is in no unit of its own, and would be in codes by itself."""

    def found(
        units: tuple[Unit, ...],
        _budget: float,
        measure: Callable[[frozenset[str]], Measured],
        wide: Measured,
    ) -> Mix:
        kept = units if all_wide else units[1:]
        return Mix(kept, wide, wide, measure(frozenset()), {}, 1)

    monkeypatch.setattr("resnet_dsl.calibrate.search.search", found)
    text = NAMES.replace("channels: 3", "channels: 1").replace("classes: 4", "classes: 10")
    text = text.replace("{block: basic", "{block: pooled, depth: 1, width: 8}, {block: basic")
    text += "blocks: {pooled: {body: [{max_pool: {kernel: 3, stride: stride}}]}}\n"
    text += "head: classifier\ntrain: {mean: [0.5], std: [0.2]}\n"
    mix = decided(text, Wish("auto", place="digits", images=16, accuracy_images=50))
    graph = compile_spec(tmp_path / "spec.yaml").inference_graph(numbers=mix.numbers)
    kinds = {type(node.op).__name__ for node in graph.nodes}
    assert ("Quantize" in kinds) != all_wide
    assert (mix.numbers.ranges == {}) == all_wide
