"""The main job on real input: train on digits, the ONNX graph of the trained net, engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands.running import call


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("demo")
    return folder, call("demo", "--out", folder)


@pytest.mark.slow
def test_training_on_digits_reaches_97_percent_and_onnx_runtime_agrees(
    demo: tuple[Path, Result],
) -> None:
    folder, result = demo
    assert result.exit_code == 0, result.output
    trained = json.loads((folder / "digits/run/result.json").read_text())
    assert trained["test_accuracy"] >= 97
    assert f"ONNX Runtime  {trained['test_accuracy']:.2f} % right" in result.stdout


@pytest.mark.slow
def test_the_demo_writes_every_target_and_names_each_file(demo: tuple[Path, Result]) -> None:
    folder, result = demo
    for name in (
        "resnet152/resnet152.py",
        "digits/digits.py",
        "digits/train.py",
        "digits/digits.onnx",
        "digits/digits.fp16.engine",
        "digits/digits.fp16.engine.json",
    ):
        assert (folder / name).stat().st_size > 0
        assert name in result.stdout
    assert "not executed here" in result.stdout


@pytest.mark.slow
def test_where_there_is_no_tensorrt_the_demo_does_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("resnet_dsl.commands.demo.available", lambda: ())
    result = call("demo", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "engine        none: no TensorRT is installed" in result.stdout
    assert (tmp_path / "digits/digits.onnx").is_file()
    assert not list(tmp_path.rglob("*.engine*"))


@pytest.mark.slow
def test_a_trained_checkpoint_goes_into_the_onnx_graph(demo: tuple[Path, Result]) -> None:
    folder, _ = demo
    weights = folder / "digits/run/last.safetensors"
    result = call("build", "digits", "-t", "onnx", "--weights", weights, "--out", folder / "again")
    assert result.exit_code == 0
    assert "by name" in result.stdout
    again = (folder / "again/digits.onnx").read_bytes()
    assert again == (folder / "digits/digits.onnx").read_bytes()


@pytest.mark.slow
def test_resnet152_compiles_to_an_fp16_engine_without_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    result = call("compile", "resnet152", "--target", "tensorrt", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["engine"]
    assert data["precision"] == "fp16"
    assert data["targets"] == ["sm86", "sm89", "sm120"]
    assert (tmp_path / "resnet152.fp16.engine").stat().st_size == data["bytes"]
    assert (tmp_path / "resnet152.fp16.engine").read_bytes()[:4] == b"vtrt"
    manifest = json.loads((tmp_path / "resnet152.fp16.engine.json").read_text())
    assert manifest["engine"]["sha256"] == data["sha256"]
    assert manifest["engine"]["executed"] is False


def test_training_without_a_train_section_says_what_to_add(tmp_path: Path) -> None:
    result = call("train", "highway19", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "`train` is missing" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_spec_that_does_not_fit_its_data_is_refused_before_training(tmp_path: Path) -> None:
    result = call("train", "digits", "--set", "classes=7", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "RD651" in result.stderr
    assert not (tmp_path / "out").exists()


def test_overrides_reach_the_training_script(tmp_path: Path) -> None:
    result = call("build", "digits", "-t", "train", "--set", "train.lr=0.07", "--out", tmp_path)
    assert result.exit_code == 0
    assert "LR = 0.07" in (tmp_path / "train.py").read_text()
