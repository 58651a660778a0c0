"""`--precision` of `build` and `compile`: calibrated codes, what fp16 cannot hold, and the mix within a budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.onnx_runs import run
from resnet_dsl.backends.tensorrt.products import available

IMAGES = np.random.default_rng(0).standard_normal((40, 1, 8, 8)).astype(np.float32)
rtx = pytest.mark.skipif(not available(), reason="no TensorRT is installed")


@pytest.fixture
def call(spec: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line beside small.yaml, its weights in small.safetensors and images in images.npy."""
    monkeypatch.chdir(spec.parent)
    np.save(spec.parent / "images.npy", IMAGES)
    done = running.call(*["build", "small.yaml", "--write-weights", "--seed", "1", "--out", "."])
    assert done.exit_code == 0
    return lambda text: running.call(*text.split())


def good(done: Result) -> dict[str, Any]:
    """The outcome of a command that was called with --json."""
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(done: Result) -> dict[str, Any]:
    """The one finding of a command that was called with --json."""
    assert done.exit_code == 2, done.output
    (found,) = json.loads(done.stdout)["errors"]
    return dict(found)


def logits(path: Path) -> np.ndarray:
    return run(path, IMAGES)["logits"]


INT8 = "build small.yaml -t onnx --precision int8 --calibration images.npy --weights small.safetensors --json"


def test_an_int8_graph_is_near_the_fp32_one_and_smaller(call, tmp_path):
    good(call("build small.yaml -t onnx --weights small.safetensors --out a --json"))
    found = good(call(f"{INT8} --out a"))
    exact, narrow = logits(tmp_path / "a/small.onnx"), logits(tmp_path / "a/small.int8.onnx")
    assert 0 < np.abs(exact - narrow).max() < 0.1 * np.abs(exact).max()
    model = onnx.load(tmp_path / "a/small.int8.onnx")
    kinds = {numpy_helper.to_array(item).dtype.name for item in model.graph.initializer}
    assert "int8" in kinds
    assert found["onnx"]["numbers"]["calibration"]["count"] == 40


def test_a_calibration_is_stored_and_read_again_and_another_is_made_for_other_images(
    call, tmp_path
):
    first = call(f"{INT8} --out a".replace("--json", "")).output
    assert "ranges of 40" in first
    before = (tmp_path / "a/small.int8.onnx").read_bytes()
    assert (
        "; seen before, and read from a file"
        in call(f"{INT8} --out a".replace("--json", "")).output
    )
    assert (tmp_path / "a/small.int8.onnx").read_bytes() == before
    np.save(tmp_path / "images.npy", IMAGES * 2)
    assert "ranges of 40" in call(f"{INT8} --out a".replace("--json", "")).output
    assert (tmp_path / "a/small.int8.onnx").read_bytes() != before
    assert len(list((tmp_path / "a").glob("calibration.*"))) == 2


def scales(path: Path) -> list[float]:
    """The scales of values, in their order."""
    model = onnx.load(path)
    tensors = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    nodes = (node for node in model.graph.node if node.op_type == "QuantizeLinear")
    return [float(tensors[node.input[1]]) for node in nodes]


def test_every_method_gives_other_ranges_and_none_a_larger_one_than_what_was_seen(call, tmp_path):
    found = {}
    for method in ("max", "percentile", "entropy", "mse"):
        good(call(f"{INT8} --calibration-method {method} --out {method}"))
        found[method] = scales(tmp_path / method / "small.int8.onnx")
    assert all(a >= b for method in found for a, b in zip(found["max"], found[method], strict=True))
    assert len({tuple(item) for item in found.values()}) == 4
    good(call(f"{INT8} --calibration-method percentile --percentile 100 --out all"))
    assert scales(tmp_path / "all/small.int8.onnx") == found["max"]


def test_what_is_kept_is_not_quantised(call, tmp_path):
    good(call(f"{INT8} --keep layer1 --out kept"))
    model = onnx.load(tmp_path / "kept/small.int8.onnx")
    codes = {node.name for node in model.graph.node if "Linear" in node.op_type}
    assert not any(name.startswith("layer1.0.conv") for name in codes)
    assert "conv1.weight.dequantized" in codes


def test_a_part_that_there_is_not_is_refused_with_the_nearest(call, tmp_path):
    found = refused(call(f"{INT8} --keep layr1 --out nothing"))
    assert found["code"] == "RD685"
    assert "layer1" in found["hint"]
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("precision", ["int8", "auto", "fp8"])
def test_codes_need_images(call, tmp_path, precision):
    found = refused(call(f"build small.yaml -t onnx --precision {precision} --out x --json"))
    assert found["code"] == "RD686"
    assert "--weights" in found["hint"]
    assert ("--calibration fake" in found["hint"]) == (precision != "auto")
    assert not (tmp_path / "x").exists()


def test_accuracies_need_labels(call):
    found = refused(call(INT8.replace("int8", "auto") + " --out x"))
    assert found["code"] == "RD686"
    assert "labels" in found["message"]


def test_noise_has_no_right_answers(call):
    found = refused(
        call("build small.yaml -t onnx --precision auto --calibration fake --json --out x")
    )
    assert found["code"] == "RD686"
    assert "noise" in found["message"]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--precision fp16 --rest fp16", "--rest"),
        ("--precision fp16 --for tensorrt", "--for"),
        ("--precision fp32 --calibration digits", "--calibration"),
        ("--precision bf16 --calibration digits", "--calibration"),
        ("--precision fp32 --keep layer1", "--keep"),
        ("--precision int8 --percentile 99", "--percentile"),
        ("--precision int8 --accuracy-budget 1", "--accuracy-budget"),
        ("--precision fp16 --accuracy-images 10", "--accuracy-images"),
        ("--precision fp16 --calibration-method max", "--calibration-method"),
    ],
)
def test_an_option_without_an_effect_is_refused(call, arguments, option):
    found = refused(call(f"build small.yaml -t onnx {arguments} --json"))
    assert found["code"] == "RD702"
    assert found["message"].startswith(option)


def test_what_fp16_cannot_hold_is_kept_in_fp32_and_named(call, tmp_path):
    state = load_file(tmp_path / "small.safetensors")
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"] * 60000
    state["layer1.0.bn1.running_var"] = np.ones_like(state["layer1.0.bn1.running_var"])
    state["layer1.0.conv2.weight"] = state["layer1.0.conv2.weight"] / 60000
    save_file(state, tmp_path / "large.safetensors")
    order = "build small.yaml -t onnx --weights large.safetensors --json"
    good(call(f"{order} --out a"))
    found = good(call(f"{order} --precision fp16 --calibration images.npy --out a"))
    wide = found["onnx"]["numbers"]["overflow"]
    assert {"layer1.0.conv1", "layer1.0.relu1", "layer1.0.conv2"} <= set(wide)
    assert max(wide.values()) > 65504
    assert not any(name.startswith(("conv1", "fc")) for name in wide)
    exact, half = logits(tmp_path / "a/small.onnx"), logits(tmp_path / "a/small.fp16.onnx")
    assert np.abs(exact - half).max() < 0.02 * np.abs(exact).max()
    good(call(f"{order} --precision bf16 --out a"))


def test_fp16_that_was_not_checked_says_so(call):
    done = call("build small.yaml -t onnx --precision fp16 --out a")
    assert "was not checked: the weights are untrained" in done.output


def test_fp16_is_checked_with_what_the_network_was_trained_on(call):
    done = call("build small.yaml -t onnx --precision fp16 --weights small.safetensors --out a")
    assert "digits" in done.output
    assert "overflow" not in done.output


AUTO = "--precision auto --calibration digits --weights small.safetensors --json"


def test_within_a_wide_budget_all_is_narrow_and_without_one_accuracy_is_kept(call):
    free = good(call(f"build small.yaml -t onnx {AUTO} --accuracy-budget 100 --out a"))
    assert free["onnx"]["numbers"]["mix"]["wide"] == []
    bound = good(call(f"build small.yaml -t onnx {AUTO} --accuracy-budget 0 --out b"))
    mix = bound["onnx"]["numbers"]["mix"]
    assert mix["accuracy"] >= mix["accuracy_fp32"]
    assert mix["images"] == 360
    assert set(mix["sensitivity"]) <= {"stem", "layer1.0", "head"}


def test_a_graph_for_tensorrt_leaves_the_branch_of_an_addition_in_floating_point(call, tmp_path):
    good(call(f"{INT8} --for tensorrt --out a"))
    model = onnx.load(tmp_path / "a/small.int8.onnx")
    (addition,) = [node for node in model.graph.node if node.op_type == "Add"]
    assert sum(name.endswith(".dequantized") for name in addition.input) == 1


COMPILE = "compile small.yaml --weights small.safetensors --gpus sm89 --batch 1/2/4 --json --out e"


@rtx
@pytest.mark.parametrize(
    ("precision", "rest", "kept"),
    [("int8", "fp16", "Int8"), ("fp8", "fp16", "FP8"), ("auto", "fp16", "Int8")],
)
def test_an_engine_of_codes_has_a_manifest_that_says_what_they_were_made_of(
    call, tmp_path, precision, rest, kept
):
    found = good(call(f"{COMPILE} --precision {precision} --calibration digits"))
    manifest = json.loads((tmp_path / f"e/small.{precision}.engine.json").read_text())
    assert manifest["engine"]["rest"] == rest
    assert manifest["engine"]["precision"] == ("int8" if precision == "auto" else precision)
    assert "digits" in manifest["calibration"]["about"]
    assert manifest["preprocessing"]["crop"] == [8, 8]
    assert manifest["class_names"] == [str(digit) for digit in range(10)]
    types = {
        tensor["data_type"]
        for kernel in found["kernels"][0]["kernels"]
        for tensor in kernel["outputs"]
    }
    assert kept in types


@rtx
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_an_engine_of_each_floating_precision(call, tmp_path, precision):
    found = good(call(f"{COMPILE} --precision {precision}"))
    assert found["engine"]["precision"] == precision
    assert (tmp_path / f"e/small.{precision}.onnx").is_file()
    fused = [item["fused"] for item in found["kernels"][0]["joins"]]
    assert fused == [True]


@rtx
def test_a_build_that_fails_leaves_no_file(call, tmp_path, monkeypatch):
    from resnet_dsl.commands import engine

    def fails(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "build_engines", fails)
    assert call(COMPILE).exit_code == 130
    assert all(file.name.startswith("calibration.") for file in (tmp_path / "e").iterdir())


@rtx
def test_targets_that_cannot_share_an_engine_get_one_each(call, tmp_path):
    found = good(call(COMPILE.replace("sm89", "rtx2080,rtx4090")))
    assert [item["targets"] for item in found["engines"]] == [["sm89"], ["sm75"]]
    for name in ("small.fp16.engine", "small.fp16.sm75.engine"):
        assert (tmp_path / "e" / name).stat().st_size == next(
            item["bytes"] for item in found["engines"] if item["engine"].endswith(f"/{name}")
        )
        assert (tmp_path / "e" / f"{name}.json").is_file()


@rtx
def test_profiles_may_be_several_and_of_any_size(call):
    profiles = "--profile batch=1,size=8 --profile batch=1/4/16,size=8/16/32"
    found = good(call(COMPILE.replace("--batch 1/2/4", profiles)))
    (first, second) = found["engine"]["profiles"]
    assert first["batch"] == {"min": 1, "opt": 1, "max": 1}
    assert second["height"] == {"min": 8, "opt": 16, "max": 32}
    assert found["engine"]["inputs"][0]["shape"] == [-1, 1, -1, -1]


@rtx
def test_an_input_size_is_the_networks(call):
    found = good(call(f"{COMPILE} --input-size 16x24"))
    assert found["engine"]["inputs"][0]["shape"] == [-1, 1, 16, 24]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ("--profile batch=1/4/2", "RD625", "batch"),
        ("--profile height=8/8/8", "RD625", "width"),
        ("--input-size big", "RD625", "big"),
        ("--gpus sm75,sm89 --precision bf16", "RD624", "sm75"),
        ("--gpus sm86 --precision fp8 --calibration fake", "RD624", "sm86"),
        ("--gpus h200", "RD623", "h200"),
        ("--batch 1 --profile batch=1", "RD702", "--batch"),
        ("--refit", "RD638", "refit"),
        ("--timing-cache c", "RD638", "timing"),
        ("--precision fp16 --rest fp32", "RD702", "--rest"),
    ],
)
@rtx
def test_what_cannot_be_built_is_refused_before_anything_is_written(
    call, tmp_path, arguments, code, word
):
    order = "compile small.yaml --weights small.safetensors --json --out e"
    found = refused(call(f"{order} {arguments}"))
    assert found["code"] == code
    assert word in json.dumps(found)
    assert found["hint"]
    assert not (tmp_path / "e").exists()
