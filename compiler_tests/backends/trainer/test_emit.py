import ast
import itertools
from typing import Any

import pytest

from compiler_tests.emitted import is_clean, is_typed
from resnet_dsl.backends.trainer.emit import emit

ADAMW = {
    "optimiser": "adamw",
    "nesterov": False,
    "lr": 1e-3,
    "decay_norms": True,
    "schedule": "constant",
}
MILESTONES = {"schedule": "milestones", "milestones": (20, 30), "warmup": 0}
FAKE = {"data": "fake", "memory": True, "input": (3, 32, 32), "classes": 20}
FOLDER = {"data": "folder", "path": "photos", "memory": False, "pad": 0, "input": (3, 224, 160)}
VARIANTS: dict[str, dict[str, Any]] = {
    "digits": {},
    "milestones": MILESTONES,
    "many_milestones": {**MILESTONES, "milestones": tuple(range(3, 40)), "pad": 0},
    "adamw": {**ADAMW, "warmup": 0, "threads": None},
    "adamw_warm": ADAMW,
    "plain_sgd": {"momentum": 0.0, "nesterov": False, "decay_norms": True, "warmup": 0},
    "half": {**FAKE, "precision": "bf16", "compile": "cuda", "seed": 7},
    "auto": {**FAKE, "precision": "auto", "compile": "always", "test_flip": True},
    "channels": {**FAKE, "input": (12, 32, 32), "mean": (0.123456789,) * 12, "std": (1 / 3,) * 12},
    "path": {"spec": "it's \"my\" net's/é.yaml", "spec_hash": "", "overrides": ("a=1", "b='2'")},
    "iterations": {"epochs": None, "iterations": 900, "schedule": "linear", "warmup": 10},
    "warmed": {**MILESTONES, "warmup_error": 80.0, "warmup_lr": 0.01, "normalise": "pixel"},
    "plateau": {"schedule": "plateau", "warmup": 0, "patience": 3, "validation": 100},
    "cifar": {
        **FAKE,
        "data": "cifar10",
        "path": "data",
        "download": True,
        "classes": 10,
        "pad": 4,
        "pad_mode": "reflect",
        "flip": "alternate",
        "cutout": 8,
        "ema": 0.99,
        "ema_every": 5,
    },
    "mixed": {**FAKE, "flip": "random", "mixup": 0.2, "cutmix": 1.0, "erasing": 0.1, "clip": 1.0},
    "lamb": {**FAKE, "optimiser": "lamb", "nesterov": False, "loss": "bce", "mixup": 0.1},
    "frozen": {"freeze": ("stem",), "normalise": "none", "save_minutes": 0.5, "loss_limit": 30.0},
    "scale": {
        **FOLDER,
        "crop": "scale",
        "scale_range": (256, 480),
        "resize": 256,
        "colour_pca": 0.1,
        "normalise": "pixel",
        "validation": 10,
    },
    "area": {
        **FOLDER,
        "crop": "area",
        "resize": 232,
        "auto_augment": "trivial",
        "repeats": 4,
        "workers": 2,
        "train_size": 176,
    },
    "rand": {**FOLDER, "crop": "area", "resize": 236, "auto_augment": "rand", "rand_std": 0.5},
    "held_folder": {**FOLDER, "memory": True, "resize": 230, "pad": 8},
    "spread": {
        **FOLDER,
        "crop": "area",
        "resize": 232,
        "parallel": "fsdp",
        "accumulate": 4,
        "ema": 0.9,
        "sync_batchnorm": True,
    },
    "shards": {**FOLDER, "data": "shards", "crop": "area", "resize": 232, "accumulate": 2},
}


@pytest.mark.parametrize("variant", ["digits", "half"])
def test_the_script_is_the_golden_one(settings, golden, variant):
    golden(f"trainer/{variant}.py.txt", emit(settings(**VARIANTS[variant])))


def test_the_same_settings_give_the_same_text(settings):
    assert emit(settings()) == emit(settings())


@pytest.fixture(scope="module")
def emitted(script, tmp_path_factory):
    """A folder with every variant, each as a module of its own name."""
    folder = tmp_path_factory.mktemp("emitted")
    for name, changes in VARIANTS.items():
        (script(folder, **changes).folder / "train.py").rename(folder / f"train_{name}.py")
    return folder


def test_every_variant_is_formatted_and_lint_clean(emitted):
    is_clean(".", cwd=emitted)


def test_every_combination_of_choices_is_formatted_and_lint_clean(settings, tmp_path):
    choices: dict[str, tuple[Any, ...]] = {
        "optimiser": ("sgd", "adamw"),
        "decay_norms": (False, True),
        "schedule": ("cosine", "milestones", "constant"),
        "warmup": (0, 2),
        "pad": (0, 1),
        "accumulate": (1, 2),
    }
    for number, values in enumerate(itertools.product(*choices.values())):
        changes = {"nesterov": False, **dict(zip(choices, values, strict=True))}
        if changes["schedule"] == "milestones":
            changes["milestones"] = (20, 30)
        (tmp_path / f"train_{number}.py").write_text(emit(settings(**changes)), encoding="utf-8")
    is_clean(".", cwd=tmp_path)


@pytest.mark.slow
def test_every_variant_passes_the_strict_type_check(emitted):
    is_typed(*sorted(path.name for path in emitted.glob("*.py")), cwd=emitted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_line_fits_and_every_setting_is_read(settings, variant):
    text = emit(settings(**VARIANTS[variant]))
    assert max(map(len, text.splitlines())) <= 120  # prose; code is wrapped at 100
    tree = ast.parse(text)
    constants = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert constants <= read
    assert {"BATCH_SIZE", "LR", "SEED", "WEIGHT_DECAY"} <= constants
    assert ("EPOCHS" in constants) != ("ITERATIONS" in constants)


@pytest.mark.parametrize(
    ("changes", "epoch", "rate"),
    [
        ({}, 1.0, 0.05),  # half way up the warm-up
        ({}, 2.0, 0.1),
        ({}, 21.0, 0.05),  # half of 38 epochs after it
        ({}, 40.0, 0.0),
        ({"warmup": 0}, 20.0, 0.05),
        ({"warmup_lr": 0.02}, 1.0, 0.06),
        ({"schedule": "linear"}, 21.0, 0.05),
        (VARIANTS["milestones"], 19.99, 0.1),
        (VARIANTS["milestones"], 20.01, 0.01),
        (VARIANTS["milestones"], 30.01, 0.001),
        (ADAMW, 1.0, 5e-4),
        (ADAMW, 39.0, 1e-3),
        ({"batch_size": 128, "lr_batch": 64}, 2.0, 0.2),
    ],
)
def test_the_learning_rate_follows_the_schedule(settings, changes, epoch, rate):
    """The emitted functions themselves, compiled out of the script with its constants."""
    tree = ast.parse(emit(settings(**changes)))
    used = {"learning_rate", "climb", "cosine", "linear", "stepped"}
    wanted = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name in used)
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple))
    ]
    names: dict[str, object] = {}
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    module = ast.Module([future, ast.Import([ast.alias("math")]), *wanted], [])
    exec(compile(ast.fix_missing_locations(module), "train.py", "exec"), names)
    learning_rate = names["learning_rate"]
    assert callable(learning_rate)
    assert learning_rate(epoch, 40) == pytest.approx(rate, abs=1e-12)
