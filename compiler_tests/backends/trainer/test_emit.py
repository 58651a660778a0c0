"""The text of a training script: clean, typed, with all that the settings say, and nothing that is not used."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import Any

import pytest

from compiler_tests.backends.trainer.conftest import DEFAULTS
from compiler_tests.emitted import is_clean, is_typed
from resnet_dsl.backends.trainer import check_unused
from resnet_dsl.backends.trainer.check import problems
from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.settings import checked_settings
from resnet_dsl.compiler import compile_spec
from resnet_dsl.language.library import LIBRARY

# Every recipe of the library, on a spec that it is for.
RECIPES = {
    "digits": "digits",
    "cifar-2015": "cifar/resnet20",
    "cifar-2015-110": "cifar/resnet110",
    "fast-cifar": "cifar/resnet20",
    "imagenet-2015": "resnet18",
    "imagenet-2015-aspect": "resnet18",
    "rsb-a1": "resnet50",
    "rsb-a2": "resnet50",
    "rsb-a3": "resnet50",
    "torchvision-v2": "resnet50",
}
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
    "plateau": {
        "schedule": "plateau",
        "gamma": 0.5,
        "warmup": 0,
        "patience": 3,
        "validation": 100,
    },
    "adam_with_another_beta": {**ADAMW, "beta2": 0.99, "warmup_lr": 1e-5},
    "resized": {"input": (1, 16, 16), "resize": 18, "threads": 2, "lr_batch": 32, "batch_size": 96},
    "held_one_by_one": {**FAKE, "memory": False, "pad": 4, "flip": "random", "workers": 0},
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
        "scale_range": (300, 480),
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
    "rand": {
        **FOLDER,
        "crop": "area",
        "resize": 236,
        "auto_augment": "rand",
        "rand_ops": 3,
        "rand_magnitude": 7,
        "rand_std": 0.5,
    },
    "held_folder": {**FOLDER, "memory": True, "resize": 230, "pad": 8},
    "spread": {
        **FOLDER,
        "crop": "area",
        "area_range": (0.25, 1),
        "ratio_range": (0.5, 2),
        "resize": 232,
        "parallel": "fsdp",
        "accumulate": 4,
        "recompute": ("layer1",),
        "ema": 0.9,
        "sync_batchnorm": True,
    },
    "shards": {**FOLDER, "data": "shards", "crop": "area", "resize": 232, "accumulate": 2},
}


# What names the network and the spec, not what it is trained by.
NAMES = {"name", "spec", "overrides", "folder", "spec_hash", "version", "input", "classes", "parts"}
MARK = "\n\n# -- "


def of_recipe(recipe: str) -> TrainSettings:
    """The settings of a spec that is trained by a recipe."""
    spec = RECIPES[recipe]
    return checked_settings(compile_spec(find_spec(spec), (f"train={recipe}",)), spec)


@pytest.fixture(scope="module")
def emitted(settings) -> dict[str, str]:
    """The scripts of all variants and recipes."""
    found = {name: emit(settings(**changes)) for name, changes in VARIANTS.items()}
    return found | {recipe: emit(of_recipe(recipe)) for recipe in RECIPES}


def test_every_recipe_of_the_library_is_here():
    assert {file.stem for file in (LIBRARY / "recipes").iterdir()} - {"base"} == RECIPES.keys()


def test_every_setting_has_another_value_than_the_neutral_one_somewhere(settings):
    base = {**DEFAULTS, "nesterov": False, "weight_decay": 0, "label_smoothing": 0, "memory": False}
    known = [settings(**changes) for changes in VARIANTS.values()]
    for field in fields(TrainSettings):
        if field.name not in NAMES:
            values = {repr(getattr(one, field.name)) for one in known}
            assert values - {repr(base[field.name])}, field.name


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_setting_that_is_said_changes_the_script(settings, variant):
    """One that would change nothing is told of, where it is said: see `check_unused`."""
    whole = settings(**VARIANTS[variant])
    text = emit(whole)
    told = {problem.setting for problem in check_unused.problems(whole)}
    for name in VARIANTS[variant].keys() - NAMES:
        other = settings(**{**VARIANTS[variant], name: DEFAULTS[name]})
        if getattr(whole, name) == getattr(other, name) or list(problems(other)):
            continue
        assert (emit(other) != text) != (name in told), name


@pytest.mark.slow
def test_every_script_is_clean_and_typed(emitted, tmp_path):
    for name, text in emitted.items():
        (tmp_path / f"train_{name.replace('-', '_')}.py").write_text(text, encoding="utf-8")
    for name in ("tiny", *(spec.rpartition("/")[2] for spec in RECIPES.values())):
        network = f"from torch import nn\n\n\ndef {name}(num_classes: int) -> nn.Module: ...\n"
        (tmp_path / f"{name}.pyi").write_text(network)
    is_clean(*sorted(path.name for path in tmp_path.glob("*.py")), cwd=tmp_path)
    is_typed(*sorted(path.name for path in tmp_path.glob("*.py")), cwd=tmp_path)


@pytest.mark.slow
def test_nothing_is_defined_that_is_not_used(emitted):
    for name, text in emitted.items():
        assert max(map(len, text.splitlines())) <= 120, name  # prose; code is wrapped at 100
        tree = ast.parse(text)
        defined: list[str] = []
        used: set[str] = set()
        for node in tree.body:
            own: set[str] = set()
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own = {node.name}
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                own = {target.id for target in targets if isinstance(target, ast.Name)}
            defined += own
            used |= {
                item.id
                for item in ast.walk(node)
                if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load)
            } - own
        assert len(defined) == len(set(defined)), name
        assert set(defined) <= used, (name, set(defined) - used)


@pytest.mark.parametrize("recipe", ["cifar-2015-110", "torchvision-v2"])
def test_the_script_of_a_recipe_is_the_golden_one_down_to_its_parts(recipe, golden):
    text = emit(of_recipe(recipe))
    golden(f"trainer/{recipe}.py.txt", text[: text.index(MARK)] + "\n")


def test_a_whole_script_is_the_golden_one(settings, golden):
    golden("trainer/spread.py.txt", emit(settings(**VARIANTS["spread"])))


def test_the_same_settings_give_the_same_text(settings):
    assert emit(settings()) == emit(settings())


def test_settings_that_do_not_hold_together_are_no_script(settings):
    with pytest.raises(ValueError, match="a warm-up of 2 epochs leaves nothing of 2"):
        emit(settings(epochs=2))
    with pytest.raises(ValueError, match="not an identifier: 'a b'"):
        emit(settings(name="a b"))


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("digits", "torch and scikit-learn"),
        ("half", "torch and numpy"),
        ("cifar", "torch and torchvision"),
        ("spread", "torch and torchvision"),
        ("resized", "torch, torchvision and scikit-learn"),
    ],
)
def test_a_script_says_what_it_needs(settings, variant, words):
    assert f"\nNeeds tiny.py beside it, and {words}.\n" in emit(settings(**VARIANTS[variant]))


@pytest.mark.parametrize(
    ("variant", "first", "second"),
    [
        (
            "digits",
            "Train tiny on scikit-learn's digits: 1x8x8, 10 classes.",
            "40 epochs of SGD with Nesterov's momentum, a cosine after a warm-up.",
        ),
        (
            "iterations",
            "Train tiny on scikit-learn's digits: 1x8x8, 10 classes.",
            "900 iterations of SGD with Nesterov's momentum, a straight line down after a warm-up.",
        ),
        (
            "lamb",
            "Train tiny on random images: 3x32x32, 20 classes.",
            "40 epochs of LAMB, a cosine after a warm-up.",
        ),
        (
            "shards",
            "Train tiny on shards of images: 3x224x160, 10 classes.",
            "40 epochs of SGD with Nesterov's momentum, a cosine after a warm-up.",
        ),
        (
            "plain_sgd",
            "Train tiny on scikit-learn's digits: 1x8x8, 10 classes.",
            "40 epochs of SGD, a cosine.",
        ),
    ],
)
def test_a_script_begins_with_what_it_does(settings, variant, first, second):
    lines = emit(settings(**VARIANTS[variant])).splitlines()
    assert lines[:2] == [f'"""{first}', second]


def test_settings_have_their_titles_and_comments(settings):
    text = emit(settings(**VARIANTS["iterations"]))
    assert (
        "\n# How training images are varied. Lengths in pixels.\nPAD = 1  # on each side, " in text
    )
    assert "\nITERATIONS = 900  # in which all times below are given\n" in text
    assert "EPOCHS" not in text
    bare = emit(settings(pad=0))
    assert "How training images are varied" not in bare
    assert "OVERRIDES" not in bare
    many = emit(settings(**VARIANTS["many_milestones"]))
    assert "\nMILESTONES = (\n    3,\n    4,\n" in many


def test_constants_are_written_as_ruff_writes_them(settings):
    text = emit(settings(**VARIANTS["path"]))
    assert '\nSPEC = "it\'s \\"my\\" net\'s/\\xe9.yaml"  # what' in text
    assert '\nOVERRIDES = ("a=1", "b=\'2\'")  # with these words of `--set`\n' in text


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
