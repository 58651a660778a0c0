"""Recipes: every one of the library is whole, and what a section says wins over what it builds on."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import Any

import pytest

from compiler_tests.spec_texts import FILE, changed, graph, refused
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.compiler import spec_hash
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.ops import DropPath
from resnet_dsl.language.library import LIBRARY, names
from resnet_dsl.language.reading import read_spec
from resnet_dsl.language.recipes import Resolved, training
from resnet_dsl.language.source import parse_text, read
from resnet_dsl.language.training import SETTINGS, Training

OPEN = {"data", "batch_size", "optimiser", "lr"}
"""What the base recipe leaves to those that build on it, besides the length."""


def resolved(train: str, more: str = "") -> Resolved:
    """What the base spec with that section trains by."""
    source = parse_text(f"{changed()}train: {train}\n{more}", FILE)
    found = training(read_spec(source), source)
    assert found is not None
    return found


def values(train: str, more: str = "") -> dict[str, Any]:
    return dict(resolved(train, more).values)


def hashed(train: str, more: str = "") -> str:
    return spec_hash(parse_text(f"{changed()}train: {train}\n{more}", FILE))


def test_the_base_has_a_value_for_all_but_what_has_none() -> None:
    data = read(LIBRARY / "recipes" / "base.yaml").data
    assert set(data) - {"doc"} == set(SETTINGS) - OPEN


def test_the_emitter_takes_every_setting_that_is_not_of_the_network() -> None:
    around = {"name", "spec", "spec_hash", "version", "input", "classes"}
    taken = {field.name for field in fields(TrainSettings) if field.default is MISSING} - around
    assert taken == set(SETTINGS) - {"drop_path"}


@pytest.mark.parametrize("name", [name for name in names("recipe") if name != "base"])
def test_a_recipe_of_the_library_is_whole_and_says_what_it_is(name: str) -> None:
    found = values(name)
    assert set(found) == set(SETTINGS)
    assert (found["epochs"] is None) != (found["iterations"] is None)
    doc = read(LIBRARY / "recipes" / f"{name}.yaml").data["doc"]
    assert doc.endswith(".")
    assert name in ("digits", "fast-cifar") or re.search(r"\(.* 20\d\d", doc), "it says its source"


def test_the_paper_s_recipes_are_the_paper_s() -> None:
    cifar = values("cifar-2015")
    assert (cifar["batch_size"], cifar["iterations"]) == (128, 64_000)
    assert (cifar["lr"], cifar["gamma"], cifar["milestones"]) == (0.1, 0.1, [32_000, 48_000])
    assert (cifar["momentum"], cifar["weight_decay"], cifar["decay_norms"]) == (0.9, 1e-4, True)
    assert (cifar["pad"], cifar["flip"], cifar["normalise"]) == (4, "random", "pixel")
    assert cifar["validation"] == 5000
    deep = values("cifar-2015-110")
    assert {name for name in SETTINGS if deep[name] != cifar[name]} == {"warmup_lr", "warmup_error"}
    assert (deep["warmup_lr"], deep["warmup_error"]) == (0.01, 80)
    imagenet = values("imagenet-2015")
    assert (imagenet["batch_size"], imagenet["iterations"]) == (256, 600_000)
    assert (imagenet["schedule"], imagenet["crop"]) == ("plateau", "scale")
    assert (imagenet["scale_range"], imagenet["colour_pca"]) == ([256, 480], 0.1)
    aspect = values("imagenet-2015-aspect")
    assert {name for name in SETTINGS if aspect[name] != imagenet[name]} == {"crop"}


@pytest.mark.parametrize(
    ("name", "epochs", "lr", "decay", "smoothing", "depth", "repeats", "magnitude", "mixup"),
    [
        ("rsb-a1", 600, 5e-3, 0.01, 0.1, 0.05, 3, 7, 0.2),
        ("rsb-a2", 300, 5e-3, 0.02, 0.0, 0.05, 3, 7, 0.1),
        ("rsb-a3", 100, 8e-3, 0.02, 0.0, 0.0, 1, 6, 0.1),
    ],
)
def test_resnet_strikes_back_as_in_its_table(
    name, epochs, lr, decay, smoothing, depth, repeats, magnitude, mixup
) -> None:
    found = values(name)
    assert (found["epochs"], found["lr"], found["weight_decay"]) == (epochs, lr, decay)
    assert (found["label_smoothing"], found["drop_path"]) == (smoothing, depth)
    assert (found["repeats"], found["rand_magnitude"]) == (repeats, magnitude)
    assert (found["mixup"], found["cutmix"], found["loss"]) == (mixup, 1, "bce")
    assert (found["train_size"], found["resize"]) == (160 if name == "rsb-a3" else None, 236)


def test_the_average_of_torchvision_s_recipe_is_adjusted_as_its_script_does() -> None:
    """`--model-ema-decay 0.99998` is meant for one image a step and one epoch."""
    found = values("torchvision-v2")
    adjusted = 1 - (1 - 0.99998) * found["batch_size"] * found["ema_every"] / found["epochs"]
    assert found["ema"] == pytest.approx(adjusted, abs=1e-4)


def test_a_section_wins_over_its_recipe_and_a_recipe_over_what_it_builds_on() -> None:
    recipes = "recipes: {quick: {recipe: digits, lr: 0.2, seed: 5}}\n"
    found = values("{recipe: quick, lr: 0.3}", recipes)
    assert (found["lr"], found["seed"], found["data"]) == (0.3, 5, "digits")


def test_without_a_recipe_a_section_stands_over_the_base() -> None:
    assert values("{lr: 0.3}") == {**values("{}"), "lr": 0.3}
    assert values("{}")["momentum"] == 0.9


def test_null_takes_a_value_back() -> None:
    assert values("digits")["threads"] == 1
    assert values("{recipe: digits, threads: null}")["threads"] is None


def test_what_is_no_choice_cannot_be_null() -> None:
    found = refused(f"{changed()}train: {{recipe: digits, lr: «null»}}\n", "RD105")
    assert "`lr` must be a number, not nothing" in found.message


def test_a_length_takes_the_place_of_the_recipe_s_in_whatever_unit() -> None:
    found = values("{recipe: cifar-2015, epochs: 20}")
    assert (found["epochs"], found["iterations"]) == (20, None)
    both = values("{epochs: 20, iterations: 9}")
    assert (both["epochs"], both["iterations"]) == (20, 9)


@pytest.mark.parametrize(
    ("train", "found"),
    [
        ("{recipe: cifar-2015, epochs: 20}", [("milestones", "iterations", "epochs")]),
        ("{recipe: cifar-2015, epochs: 20, milestones: [10]}", []),
        ("{recipe: cifar-2015, epochs: 20, schedule: cosine}", []),
        ("{recipe: digits, iterations: 500}", [("warmup", "epochs", "iterations")]),
        ("{recipe: digits, iterations: 500, warmup: 0}", []),
        ("{recipe: digits, epochs: 5}", []),
        ("{warmup: 5, iterations: 500}", []),
    ],
)
def test_what_counts_in_another_unit_than_the_length_is_found(train: str, found) -> None:
    assert resolved(train).miscounted() == found


def test_a_recipe_of_the_spec_goes_before_the_library_s_and_may_build_on_it() -> None:
    own = "recipes: {digits: {lr: 0.7}, mine: {recipe: digits}}\n"
    assert values("mine", own)["lr"] == 0.7
    assert "data" not in values("mine", own)


def test_recipes_of_the_library_build_on_those_of_the_library() -> None:
    assert values("digits", "recipes: {base: {momentum: 0.5}}\n")["momentum"] == 0.9


def test_recipes_that_build_on_one_another_in_a_circle_are_refused() -> None:
    text = changed() + "train: a\nrecipes:\n  a: {recipe: b}\n  b: {recipe: «a»}\n"
    found = refused(text, "RD107")
    assert found.message == "the recipe `a` builds on itself"


@pytest.mark.parametrize(
    "more",
    [
        "train: «digts»\n",
        "train: {recipe: «digts», lr: 0.1}\n",
        "train: mine\nrecipes: {mine: {recipe: «digts»}}\n",
    ],
)
def test_an_unknown_recipe_is_refused_with_a_suggestion(more: str) -> None:
    assert refused(changed() + more, "RD202").hint == "did you mean `digits`?"


@pytest.mark.parametrize("name", ["../heads/classifier", "/etc/passwd", "digits.yaml", "''"])
def test_a_name_cannot_lead_out_of_the_library(name: str) -> None:
    assert refused(f"{changed()}train: {{recipe: «{name}»}}\n", "RD202").hint is not None


def test_a_wrong_value_in_a_recipe_of_the_spec_is_refused_where_it_stands() -> None:
    refused(f"{changed()}train: quick\nrecipes: {{quick: {{epochs: «0»}}}}\n", "RD106")


def test_an_unknown_recipe_hides_no_other_finding() -> None:
    source = parse_text(changed(("block: basic", "block: basik")) + "train: digts\n", FILE)
    with pytest.raises(CompileError) as caught:
        read_spec(source)
    assert [item.code for item in caught.value.diagnostics] == ["RD202", "RD201"]


def test_a_finding_points_to_the_setting_or_to_the_recipe_that_says_it() -> None:
    found = resolved("{recipe: mine, lr: 0.3}", "recipes:\n  mine: {pad: 9}\n")
    places = [found.diagnostic(name, "RD652", "…").position for name in ("lr", "pad", "seed")]
    assert [place and (place.line, place.column) for place in places] == [
        (10, 27),
        (12, 15),
        (10, 8),
    ]


RATES = [
    ("{recipe: rsb-a1}", "", 0.05),
    ("{drop_path: 0.2}", "", 0.2),
    ("{recipe: rsb-a1, drop_path: 0}", "", None),
    ("rsb-a1", "drop_path: {rate: 0.5}\n", 0.5),
    ("rsb-a3", "", None),
]


@pytest.mark.parametrize(("train", "more", "rate"), RATES)
def test_the_network_drops_paths_as_its_recipe_says_unless_it_says_so_itself(
    train: str, more: str, rate: float | None
) -> None:
    flat = graph(f"{changed()}train: {train}\n{more}")
    rates = [node.op.rate for node in flat.nodes if isinstance(node.op, DropPath)]
    assert (rates[-1] if rates else None) == rate


def test_a_recipe_that_drops_paths_is_refused_where_none_can_be_dropped() -> None:
    text = changed(("shortcut: B", "shortcut: none")) + "train: «rsb-a1»\n"
    found = refused(text, "RD107")
    assert found.hint == "write `drop_path: 0` under `train`, or choose a shortcut such as `B`"


def test_the_hash_follows_from_the_settings_and_not_from_how_they_are_said() -> None:
    assert hashed("digits") == hashed("{recipe: digits}") == hashed("{recipe: digits, lr: 0.1}")
    assert hashed("digits") != hashed("{recipe: digits, lr: 0.2}")
    assert hashed("digits") == hashed("{recipe: digits, momentum: 0.9}"), "it is neutral"
    own = "recipes: {mine: {recipe: digits, lr: 0.2}}\n"
    assert hashed("mine", own) == hashed("{recipe: digits, lr: 0.2}", own)


def test_the_word_train_alone_may_be_a_section() -> None:
    assert Training.model_validate("digits").recipe == "digits"
