"""Settings of the emitted script do what they are for: seen in the weights and numbers that runs come to."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.trainer.conftest import lines, said, same
from compiler_tests.backends.trainer.test_resume import FAKE, FILES, images_in

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

pytestmark = pytest.mark.slow

PLAIN = {"norm": "nn.Identity", "dropout": 0.0}


def weights(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(run / "last.safetensors")
    return found


def near(one: Path, other: Path, most: float) -> bool:
    """Whether all weights of two runs differ by no more than that."""
    first, second = weights(one), weights(other)
    return max(float((first[name] - second[name]).abs().max()) for name in first) <= most


def test_a_batch_in_parts_learns_as_the_whole_does(script, tmp_path):
    changes = {**FAKE, **PLAIN, "momentum": 0.9, "label_smoothing": 0.0, "flip": "random"}
    whole = script(tmp_path / "one", **changes).good("run")
    parts = script(tmp_path / "two", **changes, accumulate=4).good("run")
    assert near(whole, parts, 1e-6)
    for one, two in zip(lines(whole), lines(parts), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-6)
        assert one["train_error"] == two["train_error"]


def test_a_stage_that_is_computed_again_learns_the_same_bits(script, tmp_path):
    whole = script(tmp_path / "one", **FAKE).good("run")
    again = script(tmp_path / "two", **FAKE, recompute=("layer1",)).good("run")
    assert same(whole, again)


def test_frozen_parts_stay_as_they_are(script, tmp_path):
    base = script(tmp_path, **FAKE).good("base") / "last.safetensors"
    run = script(tmp_path, **FAKE, freeze=("stem", "layer1")).good("run", "--weights", str(base))
    begun, now = load_file(base), weights(run)
    moved = {name for name in now if not torch.equal(now[name], begun[name])}
    assert moved == {"fc.weight", "fc.bias"}  # nor have statistics moved


def test_the_average_is_what_is_kept_and_tested(script, tmp_path):
    changes = {**FAKE, "epochs": 1, "dropout": 0.0, "lr": 0.5}
    plain = script(tmp_path / "one", **changes).good("run")
    average = script(tmp_path / "two", **changes, ema=0.75, ema_every=2).good("run")
    assert not near(plain, average, 1e-3)
    assert lines(plain)[0]["loss"] == lines(average)[0]["loss"]  # it is not what learns
    assert lines(plain)[0]["test_loss"] != lines(average)[0]["test_loss"]
    # Of four steps the first and the third are averaged.
    steps = []
    for number in (1, 3):
        made = script(
            tmp_path / f"{number}",
            **{**changes, "schedule": "constant", "epochs": None},
            iterations=number,
        )
        steps.append(weights(made.good("run")))
    constant = script(
        tmp_path / "all", **{**changes, "schedule": "constant"}, ema=0.75, ema_every=2
    )
    found = weights(constant.good("run"))
    for name in ("conv1.weight", "fc.bias", "bn1.running_mean"):
        assert torch.allclose(found[name], 0.75 * steps[0][name] + 0.25 * steps[1][name], atol=1e-6)


def test_gradients_are_clipped_to_a_norm(script, tmp_path):
    changes = {**FAKE, "epochs": None, "iterations": 1, "momentum": 0.0, "nesterov": False}
    changes |= {
        "schedule": "constant",
        "weight_decay": 0.0,
        "decay_norms": True,
        "normalise": "none",
    }
    begun = weights(script(tmp_path / "one", **changes, lr=1e-30).good("run"))
    found = weights(script(tmp_path / "two", **changes, lr=1.0, clip=0.01).good("run"))
    learned = [name for name in found if "running" not in name and "tracked" not in name]
    norm = torch.cat([(found[name] - begun[name]).flatten() for name in learned]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_the_mirror_of_an_image_is_tested_too(script, tmp_path):
    one = script(tmp_path / "one", **FAKE).good("run")
    two = script(tmp_path / "two", **FAKE, test_flip=True).good("run")
    assert weights(one).keys() == weights(two).keys()
    assert near(one, two, 0)
    for plain, mirrored in zip(lines(one), lines(two), strict=True):
        assert plain["loss"] == mirrored["loss"]
        assert plain["test_loss"] != mirrored["test_loss"]


def test_bfloat16_learns_nearly_the_same(script, tmp_path):
    one = script(tmp_path / "one", **FAKE).good("run")
    two = script(tmp_path / "two", **FAKE, precision="bf16").good("run")
    assert not near(one, two, 0)
    assert lines(one)[-1]["loss"] == pytest.approx(lines(two)[-1]["loss"], abs=0.1)
    assert {value.dtype for value in weights(two).values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("normalise", ["channel", "pixel", "none"])
def test_images_are_standardised_and_the_outcome_says_by_what(script, tmp_path, normalise):
    made = script(tmp_path, **{**FAKE, "epochs": 1}, normalise=normalise)
    run, result = made.good("run"), said(tmp_path / "run")
    assert result["normalise"] == normalise
    if normalise == "pixel":
        assert result["mean_image"] == "mean_image.safetensors"
        assert "mean" not in result
        (mean,) = load_file(run / result["mean_image"]).values()
        assert (mean.shape, mean.dtype) == ((3, 12, 12), torch.float32)
        assert float(mean.mean()) == pytest.approx(0.5, abs=0.01)
    elif normalise == "channel":
        assert result["mean"] == pytest.approx([0.5] * 3, abs=0.02)
        assert result["std"] == pytest.approx([0.29] * 3, abs=0.01)
    else:
        assert (result["mean"], result["std"]) == ([0.0], [1.0])


def test_given_statistics_are_taken_and_told_where_they_are_others(script, tmp_path):
    given = {"mean": (0.25, 0.5, 0.75), "std": (0.125, 0.25, 0.5)}
    made = script(tmp_path, **{**FAKE, "epochs": 1}, **given)
    done = made.run("--out", "run")
    assert done.status == 0
    assert "`mean` and `std` are not those of the training images" in done.stderr
    result = said(tmp_path / "run")
    assert {name: tuple(result[name]) for name in given} == given


def test_images_that_are_held_out_choose_the_best_epoch(script, tmp_path):
    changes = {"epochs": 4, "warmup": 0, "validation": 137, "batch_size": 100}
    run = script(tmp_path, **changes).good("run")
    metrics, result = lines(run), said(run)
    assert [line["iteration"] for line in metrics] == [13, 26, 39, 52]
    errors = [line["validation_error"] for line in metrics]
    assert result["selected_on"] == "validation"
    assert result["best_epoch"] == 1 + errors.index(min(errors))
    assert all(error * 137 / 100 == pytest.approx(round(error * 137 / 100)) for error in errors)


def test_images_are_read_alike_by_any_number_of_processes(script, tmp_path):
    images_in(tmp_path)
    runs = []
    for workers in (0, 2):
        folder = tmp_path / f"{workers}"
        changes = {**FILES, "path": "../images", "auto_augment": "rand", "rand_std": 0.5}
        runs.append(script(folder, **changes, workers=workers, mixup=0.2).good("run"))
    assert same(*runs)
    result = said(runs[0])
    assert (result["classes"], result["path"], result["resize"]) == (
        ["cat", "dog"],
        "../images",
        14,
    )


def test_images_of_a_folder_are_held_too_and_archives_are_the_same(script, tmp_path):
    images_in(tmp_path)
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "images", "images")
    changes = {**FILES, "memory": True, "crop": "none", "pad": 2, "resize": 14}
    made = script(tmp_path, **changes)
    run = made.good("run")
    assert same(run, made.good("packed", "--data", "images.tar.gz"))
    assert said(tmp_path / "packed")["path"] == "images.tar.gz"


def test_small_images_are_made_as_large_as_the_network_wants_them(script, tmp_path):
    made = script(tmp_path, epochs=1, warmup=0, input=(1, 12, 12), resize=12)
    assert said(made.good("run"))["test_accuracy"] > 0


@pytest.mark.parametrize("broken", ["no data", "an image is damaged", "another number of classes"])
def test_what_is_wrong_with_images_is_said_in_a_sentence(script, tmp_path, broken):
    images_in(tmp_path)
    message = {
        "no data": "images",
        "an image is damaged": "images: train/cat/7.jpg is damaged",
        "another number of classes": "the data have 3 classes (bird, cat, dog)",
    }[broken]
    if broken == "no data":
        shutil.rmtree(tmp_path / "images")
    elif broken == "an image is damaged":
        file = tmp_path / "images/train/cat/7.jpg"
        file.write_bytes(file.read_bytes()[:300])
    else:
        for split in ("train", "test"):
            shutil.copytree(tmp_path / f"images/{split}/cat", tmp_path / f"images/{split}/bird")
    done = script(tmp_path, **FILES, workers=1).run("--out", "run")
    assert done.status == 2, done.stderr
    assert done.stderr.startswith("train.py: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_cifar_is_read_from_its_own_files_only(script, tmp_path):
    changes = {"data": "cifar10", "path": "data", "input": (3, 32, 32), "epochs": 1, "warmup": 0}
    made = script(tmp_path, **changes)
    done = made.run("--out", "run")
    assert done.status == 2
    assert "data holds neither the folder cifar-10-batches-py nor the archive" in done.stderr
    batches = tmp_path / "elsewhere/cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in ("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        (batches / name).write_bytes(b"\x80\x04N.")
    done = made.run("--out", "run", "--data", "elsewhere")
    assert done.status == 2
    assert "is not the published file" in done.stderr


def test_a_run_begins_from_weights_and_has_a_new_head_for_other_classes(script, tmp_path):
    base = script(tmp_path, **{**FAKE, "classes": 5}).good("base") / "last.safetensors"
    made = script(tmp_path / "fine", **FAKE, freeze=("stem", "layer1"))
    done = made.run("--out", "run", "--weights", str(base))
    assert done.status == 0, done.stderr
    assert "`fc` is new, since that of the file is for 5 classes" in done.stdout
    begun, now = load_file(base), weights(tmp_path / "fine/run")
    assert torch.equal(begun["conv1.weight"], now["conv1.weight"])
    assert now["fc.bias"].shape == (10,)
    assert said(tmp_path / "fine/run", "manifest")["begun_from"] is not None


def test_threads_and_compilation_are_as_the_settings_say(script, tmp_path):
    run = script(tmp_path, **{**FAKE, "epochs": 1}, compile="cuda").good("run")
    other = script(tmp_path / "other", **{**FAKE, "epochs": 1, "threads": None}).good("run")
    assert same(run, other)  # on a CPU nothing is compiled, and there is one thread
