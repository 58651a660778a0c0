"""Two processes come to what one does with the same batch: in double to the last digits, in float32 within rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler_tests.backends.trainer.conftest import said, unclocked
from compiler_tests.backends.trainer.crew import Crew, crew
from compiler_tests.backends.trainer.scripts import written
from compiler_tests.emitted import construct
from compiler_tests.runtime.data_trees import encoded, photograph, write_tree

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from torch.nn import functional  # noqa: E402

from resnet_dsl.runtime.data import fake_images  # noqa: E402

pytestmark = pytest.mark.slow

GROUPS = "norm={group: {groups: 4}}"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
# Images in double, too.
EXACT = "train.normalise=none"


@pytest.fixture(scope="module")
def runs() -> Iterator[Crew]:
    with crew() as found:
        yield found


def worst(one: Path, other: Path, *, statistics: bool = True) -> float:
    """The largest difference between the weights of two runs, in parts of the largest of their tensor."""
    first, second = (load_file(run / "last.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    names = [name for name in first if statistics or not name.endswith(STATISTICS)]
    return max(
        float((first[name] - second[name]).abs().max() / first[name].abs().max().clamp(min=1e-30))
        for name in names
    )


def told_alike(one: Path, other: Path, tolerance: float) -> bool:
    """Whether two runs say the same of their epochs: counts to the last one, losses within a tolerance."""
    for first, second in zip(unclocked(one), unclocked(other), strict=True):
        assert first.keys() == second.keys()
        for key, value in first.items():
            close = pytest.approx(value, rel=tolerance) if "loss" in key else value
            if second[key] != close:
                return False
    return True


TECHNIQUES: dict[str, tuple[str, ...]] = {
    "batch norm": (
        "train.sync_batchnorm=true",
        "train.nesterov=true",
        "train.weight_decay=0.01",
        "train.label_smoothing=0.1",
        "train.clip=1.0",
        "train.ema=0.9",
        "train.ema_every=2",
        "train.pad=1",
        "train.flip=random",
        "train.cutout=2",
        "train.erasing=0.5",
    ),
    "mixed": ("train.sync_batchnorm=true", "train.mixup=0.2", "train.cutmix=1.0"),
    "lamb": (
        GROUPS,
        "train.mixup=0.2",
        "train.loss=bce",
        "train.optimiser=lamb",
        "train.accumulate=2",
        "train.flip=alternate",
        "train.test_flip=true",
    ),
    "fsdp": (
        "train.parallel=fsdp",
        "train.sync_batchnorm=true",
        "train.recompute=[layer1, layer2]",
        "train.optimiser=adamw",
        "train.lr=0.01",
        "train.clip=0.5",
        "train.ema=0.9",
        "train.accumulate=2",
        "train.pad=1",
    ),
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_two_processes_come_to_what_one_does(runs, tmp_path, name):
    folder = written(tmp_path, EXACT, *TECHNIQUES[name])
    two = runs.good(folder, "two", double=True)
    one = runs.good(folder, "one", double=True, world=1)
    assert worst(one, two) < 1e-12
    assert told_alike(one, two, 1e-6)  # scores are float32 where losses are taken
    assert said(two)["processes"] == 2


def test_in_float32_they_differ_by_rounding(runs, tmp_path):
    folder = written(tmp_path, "train.sync_batchnorm=true", "train.lr=0.01", "train.flip=random")
    two, one = runs.good(folder, "two"), runs.good(folder, "one", world=1)
    assert 0 < worst(one, two) < 1e-5  # eight steps; a unit in the last place is 1e-7
    assert told_alike(one, two, 1e-5)


def test_micro_batches_of_one_process_are_those_of_several(runs, tmp_path):
    """Batch norm takes them one by one, if it is not synchronised."""
    four = written(tmp_path / "four", EXACT, "train.accumulate=4")
    two = written(tmp_path / "two", EXACT, "train.accumulate=2")
    alone = runs.good(four, "run", double=True, world=1)
    together = runs.good(two, "run", double=True)
    assert worst(alone, together, statistics=False) < 1e-12
    # The running statistics are those of the first process, which has seen every other micro-batch.
    assert worst(alone, together) > 1e-3


def test_what_is_tested_is_what_is_saved(runs, tmp_path):
    """Where batch norm is not synchronised, with the statistics of the first process."""
    folder = written(tmp_path, "train.lr=0.5", "train.normalise=none")
    run = runs.good(folder, "run")
    network = construct(folder / "little.py", num_classes=4).eval()
    network.load_state_dict(load_file(run / "last.safetensors"))
    test = fake_images(16, (3, 8, 8), 4, seed=1)
    scores = network(test.images / 255).detach()
    assert unclocked(run)[-1]["test_loss"] == pytest.approx(
        float(functional.cross_entropy(scores, test.labels)), rel=1e-5
    )


def images(count: dict[str, int]) -> dict[str, bytes]:
    """Images of four classes: so many for each split, which no two processes can halve."""
    return {
        f"{split}/{'abcd'[number % 4]}/{number}.png": encoded(photograph(number + seed), "PNG")
        for seed, (split, many) in enumerate(count.items())
        for number in range(many)
    }


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("memory", ["true", "false"])
def test_each_image_counts_once_however_they_are_shared(runs, tmp_path, parallel, memory):
    files = write_tree(tmp_path / "images", images({"train": 57, "test": 33}))
    varied = ("auto_augment=trivial", "workers=1") if memory == "false" else ("pad=2",)
    folder = written(
        tmp_path,
        EXACT,
        GROUPS,
        "train.data=folder",
        f"train.path={files}",
        f"train.memory={memory}",
        "train.validation=7",
        f"train.parallel={parallel}",
        *(f"train.{setting}" for setting in varied),
    )
    two = runs.good(folder, "two", double=True)
    one = runs.good(folder, "one", double=True, world=1)
    assert worst(one, two) < 1e-12
    assert told_alike(one, two, 1e-6)
    errors = unclocked(two)[-1]
    assert errors["test_error"] * 33 / 100 == pytest.approx(round(errors["test_error"] * 33 / 100))
