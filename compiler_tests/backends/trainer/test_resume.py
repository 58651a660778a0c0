"""A run that is interrupted, and goes on, comes to what it would have come to: the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

import pytest

from compiler_tests.backends.trainer.conftest import Script, lines, said, same, unclocked

pytestmark = pytest.mark.slow

FAKE = {"data": "fake", "input": (3, 12, 12), "batch_size": 16, "epochs": 3, "warmup": 0}
FILES = {
    **FAKE,
    "data": "folder",
    "path": "images",
    "memory": False,
    "classes": 2,
    "batch_size": 8,
    "pad": 0,
    "crop": "area",
    "resize": 14,
    "flip": "random",
}
# Settings, and after how many steps of how many the run is interrupted.
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "digits": ({"epochs": 3}, 31),
    "an average, mixed images, plateaus": (
        {
            "epochs": 5,
            "warmup": 0,
            "ema": 0.9,
            "ema_every": 2,
            "mixup": 0.2,
            "schedule": "plateau",
            "patience": 1,
            "gamma": 0.5,
            "validation": 100,
            "batch_size": 256,
            "lr": 0.5,
        },
        18,
    ),
    "iterations, and a warm-up by the error": (
        {
            **FAKE,
            "epochs": None,
            "iterations": 130,
            "schedule": "milestones",
            "milestones": (60, 120),
            "warmup_lr": 0.01,
            "warmup_error": 95.0,
            "normalise": "pixel",
            "pad_mode": "reflect",
            "flip": "alternate",
            "cutout": 4,
            "erasing": 0.5,
        },
        70,
    ),
    "micro-batches, bfloat16, frozen parts": (
        {
            **FAKE,
            "accumulate": 2,
            "precision": "bf16",
            "freeze": ("stem",),
            "test_flip": True,
            "schedule": "linear",
            "warmup": 1,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.3, 0.3, 0.3),
            "clip": 1.0,
        },
        6,
    ),
    "recomputed stages, LAMB, binary losses": (
        {
            **FAKE,
            "recompute": ("layer1",),
            "optimiser": "lamb",
            "nesterov": False,
            "loss": "bce",
            "cutmix": 1.0,
            "lr": 0.005,
        },
        7,
    ),
    "images read by workers, AdamW": (
        {
            **FILES,
            "workers": 2,
            "auto_augment": "trivial",
            "optimiser": "adamw",
            "nesterov": False,
            "lr": 0.002,
            "colour_pca": 0.1,
            "validation": 4,
        },
        10,
    ),
    "shards, mixed in two ways": (
        {**FILES, "data": "shards", "path": "shards", "mixup": 0.2, "cutmix": 1.0, "workers": 1},
        8,
    ),
    "held images one by one, repeated": (
        {
            **FAKE,
            "memory": False,
            "workers": 0,
            "pad": 0,
            "crop": "scale",
            "scale_range": (12, 16),
            "train_size": 10,
            "resize": 12,
            "repeats": 2,
            "auto_augment": "rand",
            "rand_std": 0.5,
            "erasing": 0.5,
            "cutout": 3,
        },
        6,
    ),
}


def images_in(folder: Path) -> None:
    """What the scripts that read files want: images of two classes in a folder, and in shards."""
    from compiler_tests.runtime.data_trees import encoded, photograph, write_archive, write_tree

    sizes = [(12, 12), (16, 13), (14, 20)]
    tree = {
        f"{split}/{kind}/{number}.jpg": encoded(photograph(number, sizes[number % 3]))
        for split, count in (("train", 20), ("test", 5))
        for kind in ("cat", "dog")
        for number in range(count)
    }
    write_tree(folder / "images", tree)
    (folder / "shards").mkdir()
    for split in ("train", "test"):
        chosen = [name for name in tree if name.startswith(split)]
        for number in range(3):
            samples: dict[str, bytes] = {}
            for index, name in enumerate(chosen[number::3]):
                samples[f"{index:03}.jpg"] = tree[name]
                samples[f"{index:03}.cls"] = str(int("dog" in name)).encode()
            write_archive(folder / "shards" / f"{split}-{number}.tar", samples)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_is_interrupted_and_goes_on_equals_one_that_is_not(script, tmp_path, variant):
    changes, step = VARIANTS[variant]
    if changes.get("path"):
        images_in(tmp_path)
    made = script(tmp_path, **changes)
    whole = made.good("whole")
    assert same(made.interrupted("parts", SIGTERM, step), whole)
    assert len(lines(whole)) == said(whole)["epochs"] > 1


@pytest.mark.parametrize("variant", [*VARIANTS][:3])
def test_a_run_that_is_killed_goes_on_from_what_was_saved_last(script, tmp_path, variant):
    changes, step = VARIANTS[variant]
    made = script(tmp_path, **changes)
    assert same(made.interrupted("killed", SIGKILL, step), made.good("whole"))


@pytest.fixture(scope="module")
def trained(script, tmp_path_factory):
    """A run of three epochs, of which others differ."""
    made = script(tmp_path_factory.mktemp("trained"), epochs=3)
    return made, made.good("whole")


def copied(made: Script, name: str) -> Path:
    """The whole run under another name, to go on from."""
    copy = made.folder / name
    shutil.copytree(made.folder / "whole", copy)
    return copy


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "gone"])
def test_where_the_state_is_damaged_the_one_before_is_taken(trained, damage):
    made, whole = trained
    run = copied(made, damage)
    state = run / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"truncated": bytes(content[: len(content) // 2]), "empty": b""}
    state.write_bytes(damaged.get(damage, bytes(content)))
    if damage == "gone":
        state.unlink()
    (run / "last.safetensors").unlink()
    done = made.run("--resume", "--out", run.name)
    assert done.status == 0, done.stderr
    assert f"going on from the state before it, {run.name}/state.previous.pt" in done.stdout
    assert same(run, whole)


def test_two_damaged_states_are_refused_in_a_sentence(trained):
    made, _ = trained
    run = copied(made, "both")
    for name in ("state.pt", "state.previous.pt"):
        (run / name).write_bytes((run / name).read_bytes()[:5000])
    done = made.run("--resume", "--out", "both")
    assert done.status == 2
    assert "both/state.pt is damaged" in done.stderr
    assert "both/state.previous.pt is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_run_that_is_resumed_stays_as_it_is(trained):
    made, whole = trained
    run = copied(made, "finished")
    before = said(run)
    made.good("finished", "--resume")
    assert same(run, whole)
    clock = ("seconds", "weights", "best_weights")
    assert {k: v for k, v in said(run).items() if k not in clock} == {
        k: v for k, v in before.items() if k not in clock
    }


def test_a_finished_run_can_go_on_for_longer(trained):
    made, whole = trained
    run = copied(made, "longer")
    made.good("longer", "--resume", "--epochs", "5")
    assert unclocked(run)[:3] == unclocked(whole)
    assert [line["epoch"] for line in lines(run)] == [1, 2, 3, 4, 5]
    assert said(run, "manifest")["end"] == 5


def test_a_run_in_an_old_folder_is_a_new_one_and_keeps_the_state(trained):
    made, whole = trained
    run = copied(made, "old")
    done = made.run("--out", "old", "--epochs", "1", "--seed", "1", stop=(SIGKILL, 3))
    assert done.status == 128 + SIGKILL
    assert "the state of the run before this one is kept as old/state.old.pt" in done.stdout
    assert (run / "state.old.pt").read_bytes() == (whole / "state.pt").read_bytes()
    assert not (run / "result.json").exists()  # it is not the outcome of this one
    assert lines(run) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "--out", "nothing"], "there is no nothing/state.pt"),
        (["--resume", "--out", "whole", "--seed", "7"], "that run has the seed 0"),
        (["--resume", "--out", "whole", "--weights", "x"], "--resume goes on with a run"),
    ],
)
def test_what_cannot_be_resumed_is_refused_in_a_sentence(trained, arguments, message):
    made, _ = trained
    done = made.run(*arguments)
    assert done.status == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (made.folder / "nothing").exists()


def test_the_state_of_another_spec_or_of_other_images_is_refused(trained, script, tmp_path):
    made, whole = trained
    other = script(tmp_path / "spec", epochs=3, spec_hash="f" * 64)
    done = other.run("--resume", "--out", str(whole))
    assert done.status == 2
    assert "is of another network or another recipe" in done.stderr
    images_in(tmp_path)
    changes, step = VARIANTS["images read by workers, AdamW"]
    made = script(tmp_path, **changes)
    assert made.run("--out", "run", stop=(SIGINT, step)).status == 130
    extra = tmp_path / "images/train/dog/20.jpg"
    shutil.copy(tmp_path / "images/train/dog/1.jpg", extra)
    done = made.run("--out", "run", "--resume")
    assert done.status == 2
    assert "the images are others than those that the run began with" in done.stderr
    extra.unlink()
    assert same(made.good("run", "--resume"), made.good("whole"))


def test_the_header_of_a_state_says_what_it_is_of(trained):
    _, whole = trained
    with (whole / "state.pt").open("rb") as file:
        header = json.loads(file.readline())
    assert header["spec"] == "0123456789abcdef" * 4
    assert header["iteration"] == said(whole)["iterations"] == 66
