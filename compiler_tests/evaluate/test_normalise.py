"""How images are standardised is read from where it is written down, and asked for where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from compiler_tests.evaluate.tiny import compiled
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.normalise import Standard, option, standard_of
from resnet_dsl.evaluate.request import DataChoice
from resnet_dsl.evaluate.runs import run_at
from resnet_dsl.evaluate.statistics import measured, tensors_of
from resnet_dsl.evaluate.subjects import Subject

GIVEN = Standard((0.5,), (0.25,), source="--mean and --std")


def run_in(folder: Path, **result: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def subject(folder: Path, **settings: object) -> Subject:
    file = folder / "best.safetensors"
    return Subject("tiny", file, compiled(folder.parent), run_at(folder), settings)


def test_what_the_training_has_written_down_comes_first(tmp_path):
    found = subject(run_in(tmp_path / "run", mean=[0.1, 0.2, 0.3], std=[1, 2, 3]), normalise="none")
    standard = standard_of(found, 3, (8, 8), GIVEN)
    assert (standard.mean, standard.std) == ((0.1, 0.2, 0.3), (1, 2, 3))
    assert str(standard).startswith("mean 0.1, 0.2, 0.3 and std 1, 2, 3, by ")
    assert str(standard).endswith("result.json")


def test_a_mean_image_is_read_from_its_file(tmp_path):
    run = run_in(tmp_path / "run", mean_image="mean_image.safetensors", normalise="pixel")
    image = torch.arange(3 * 8 * 8, dtype=torch.float32).reshape(3, 8, 8) / 256
    save_file({"mean": image}, run / "mean_image.safetensors")
    standard = standard_of(subject(run), 3, (8, 8), GIVEN)
    mean, std = tensors_of(standard, (3, 8, 8))
    assert torch.equal(mean, image)
    assert std.flatten().tolist() == [1.0]
    assert str(standard).startswith("mean of each pixel, by ")
    for content in (b"no safetensors", None):
        (run / "mean_image.safetensors").unlink()
        if content is not None:
            (run / "mean_image.safetensors").write_bytes(content)
        with pytest.raises(CompileError, match=r"mean_image\.safetensors` cannot be read") as found:
            standard_of(subject(run), 3, (8, 8), GIVEN)
        assert found.value.diagnostics[0].code == "RD671"


def test_then_the_options_and_then_the_spec(tmp_path):
    spec = subject(
        tmp_path / "none", mean=(0.4, 0.4, 0.4), std=(1.0, 1.0, 1.0), normalise="channel"
    )
    assert standard_of(spec, 3, (8, 8), GIVEN) is GIVEN
    assert standard_of(spec, 3, (8, 8), None).mean == (0.4, 0.4, 0.4)
    plain = subject(tmp_path / "none", normalise="none")
    assert (
        str(standard_of(plain, 3, (8, 8), None)) == "not standardised, by the spec's train section"
    )
    counted = subject(tmp_path / "none", normalise="pixel", mean=None, std=None)
    assert standard_of(counted, 3, (8, 8), None).measured == "pixel"


def test_where_nothing_says_it_it_is_asked_for(tmp_path):
    with pytest.raises(CompileError, match="it is not known how the images for") as found:
        standard_of(subject(tmp_path / "none"), 3, (8, 8), None)
    (item,) = found.value.diagnostics
    assert item.code == "RD671"
    assert "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in str(item.hint)


@pytest.mark.parametrize("count", [2, 4, 191, 193])
def test_numbers_for_other_channels_are_refused(tmp_path, count):
    found = subject(run_in(tmp_path / "run", mean=[0.1] * count, std=[1.0]))
    with pytest.raises(CompileError, match=f"the mean has {count} numbers, and .* 3 channels"):
        standard_of(found, 3, (8, 8), None)


@pytest.mark.parametrize("place", ["", "run"])
def test_the_result_of_a_graph_s_training_is_found_beside_it(tmp_path, place):
    run_in(tmp_path / place, mean=[0.1], std=[0.2], spec="abc")
    graph = Subject("g", tmp_path / "g.onnx")
    assert standard_of(graph, 3, None, None, "abc").mean == (0.1,)
    assert standard_of(graph, 3, None, None).mean == (0.1,)
    with pytest.raises(CompileError, match="it is not known"):  # another network's result
        standard_of(graph, 3, None, None, "def")


@pytest.mark.parametrize(
    "result",
    [
        "",
        "[1, 2]",
        '{"mean": "x", "std": [1]}',
        '{"mean": [], "std": []}',
        '{"mean": [NaN], "std": [1]}',
    ],
)
def test_a_result_that_does_not_say_it_is_as_none(tmp_path, result):
    run_in(tmp_path / "run")
    (tmp_path / "run/result.json").write_text(result)
    assert standard_of(subject(tmp_path / "run"), 3, (8, 8), GIVEN) is GIVEN


def test_options_are_numbers_with_commas():
    assert option("--mean", "0.485, .456,1e-1,-0.5,0") == (0.485, 0.456, 0.1, -0.5, 0)
    assert option("--std", "0.25") == (0.25,)
    for name, text in (
        ("--mean", ""),
        ("--mean", "0.5,"),
        ("--mean", "nan"),
        ("--mean", "inf"),
        ("--mean", "1e999"),
        ("--mean", "٣"),
        ("--mean", "0.4;0.5"),
        ("--std", "0"),
        ("--std", "-1"),
        ("--std", "0.2,0"),
    ):
        with pytest.raises(CompileError, match=f"is no {name}") as found:
            option(name, text)
        assert found.value.diagnostics[0].code == "RD671"


def test_tensors_are_for_channels_pixels_or_all():
    mean, std = tensors_of(Standard((0.1, 0.2), (0.3, 0.4)), (2, 5, 4))
    assert (mean.shape, std.shape) == ((2, 1, 1), (2, 1, 1))
    mean, std = tensors_of(Standard(tuple(range(40)), (1.0,)), (2, 5, 4))
    assert torch.equal(mean, torch.arange(40.0).reshape(2, 5, 4))
    assert std.shape == (1, 1, 1)
    mean, std = tensors_of(Standard(), None)
    assert (mean.item(), std.item()) == (0, 1)


def test_what_is_not_written_down_is_measured_as_the_training_does():
    from resnet_dsl.runtime.data import hold_out, load_digits_images

    images = load_digits_images("train").images
    digits = DataChoice("digits", None)
    mean, std = measured(Standard(measured="channel"), digits, (1, 8, 8), 10, {})
    assert mean.item() == pytest.approx(images.mean().item(), abs=1e-6)
    assert std.item() == pytest.approx(images.std(correction=0).item(), abs=1e-6)
    rest, _ = hold_out(load_digits_images("train"), 300, seed=0)
    mean, _ = measured(Standard(measured="pixel"), digits, (1, 8, 8), 10, {"validation": 300})
    torch.testing.assert_close(mean, rest.images.mean(0))


def test_what_would_take_reading_all_files_is_asked_for(tmp_path):
    with pytest.raises(CompileError) as found:
        measured(Standard(measured="channel"), DataChoice("folder", tmp_path), (3, 8, 8), 2, {})
    assert found.value.diagnostics[0].code == "RD671"
