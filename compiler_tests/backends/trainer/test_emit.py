import ast
import itertools
from typing import Any

import pytest

from compiler_tests.emitted import is_clean, is_typed
from resnet_dsl.backends.trainer.emit import emit

ADAMW = {"optimiser": "adamw", "lr": 1e-3, "decay_norms": True, "schedule": "constant"}
VARIANTS: dict[str, dict[str, Any]] = {
    "digits": {},
    "milestones": {"schedule": "milestones", "milestones": (20, 30), "warmup_epochs": 0},
    "many_milestones": {"schedule": "milestones", "milestones": tuple(range(3, 40)), "shift": 0},
    "adamw": {**ADAMW, "warmup_epochs": 0, "threads": None},
    "adamw_warm": ADAMW,
    "plain_sgd": {"momentum": 0.0, "nesterov": False, "decay_norms": True, "warmup_epochs": 0},
    "half": {"data": "fake", "bf16": True, "input": (3, 224, 160), "classes": 1000},
    "channels": {
        "data": "fake",
        "input": (12, 32, 32),
        "normalisation": ((0.123456789,) * 12, (1 / 3,) * 12),
        "shift": 0,
    },
    "path": {"spec": "it's \"my\" net's/é.yaml", "spec_hash": ""},
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
        "warmup_epochs": (0, 2),
        "shift": (0, 1),
        "bf16": (False, True),
        "threads": (None, 2),
    }
    for number, values in enumerate(itertools.product(*choices.values())):
        changes = {"milestones": (20, 30), **dict(zip(choices, values, strict=True))}
        (tmp_path / f"train_{number}.py").write_text(emit(settings(**changes)), encoding="utf-8")
    is_clean(".", cwd=tmp_path)


@pytest.mark.slow
def test_every_variant_passes_the_strict_type_check(emitted):
    is_typed(*sorted(path.name for path in emitted.glob("*.py")), cwd=emitted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_line_fits_and_every_setting_is_read(settings, variant):
    text = emit(settings(**VARIANTS[variant]))
    assert max(map(len, text.splitlines())) <= 100
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
    documented_only = {"SHAPE"}
    assert constants - read <= documented_only
    assert {"EPOCHS", "BATCH_SIZE", "LR", "SEED", "WEIGHT_DECAY"} <= constants


@pytest.mark.parametrize(
    ("changes", "epoch", "rate"),
    [
        ({}, 1.0, 0.05),  # half way up the warm-up
        ({}, 2.0, 0.1),
        ({}, 21.0, 0.05),  # half of 38 epochs after it
        ({}, 40.0, 0.0),
        ({"warmup_epochs": 0}, 20.0, 0.05),
        (VARIANTS["milestones"], 19.99, 0.1),
        (VARIANTS["milestones"], 20.01, 0.01),
        (VARIANTS["milestones"], 30.01, 0.001),
        (ADAMW, 1.0, 5e-4),
        (ADAMW, 39.0, 1e-3),
    ],
)
def test_the_learning_rate_follows_the_schedule(settings, changes, epoch, rate):
    """The emitted function itself, compiled out of the script with its constants."""
    tree = ast.parse(emit(settings(**changes)))
    wanted = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name == "learning_rate")
        or isinstance(node, ast.Assign)
    ]
    names: dict[str, object] = {}
    module = ast.Module([ast.Import([ast.alias("math")]), *wanted], [])
    exec(compile(ast.fix_missing_locations(module), "train.py", "exec"), names)
    learning_rate = names["learning_rate"]
    assert callable(learning_rate)
    assert learning_rate(epoch, 40) == pytest.approx(rate, abs=1e-12)
