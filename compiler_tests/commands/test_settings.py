"""What a spec is trained by: every setting of its recipe, checked, with the place of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_tests.commands.running import SMALL
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.commands.settings import checked_settings, settings_of
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError, Diagnostic

Checked = Callable[..., TrainSettings]


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    """`checked("train.lr=0.2")`: the settings of a small spec with overrides."""
    file = tmp_path / "small.yaml"

    def check(*overrides: str, text: str = SMALL) -> TrainSettings:
        file.write_text(text, encoding="utf-8")
        return checked_settings(compile_spec(file, overrides))

    return check


def refusals(check: Callable[[], object]) -> list[Diagnostic]:
    with pytest.raises(CompileError) as caught:
        check()
    return list(caught.value.diagnostics)


def test_settings_are_those_of_the_recipe_but_what_the_spec_says(checked: Checked) -> None:
    found = checked("train.milestones=[3, 9]", "train.schedule=milestones")
    assert (found.data, found.lr, found.milestones) == ("digits", 0.1, (3, 9))


def test_a_finding_points_to_the_setting_where_it_is_said(checked: Checked) -> None:
    found = refusals(lambda: checked("train.lr=0.2", "train.pad=9", "train.warmup=70"))
    assert [(item.code, item.line_text) for item in found] == [
        ("RD652", "train.pad=9"),
        ("RD652", "train.warmup=70"),
    ]
    assert [item.position and item.position.column for item in found] == [11, 14]


def test_a_finding_about_what_a_recipe_says_points_to_its_name(checked: Checked) -> None:
    (found,) = refusals(lambda: checked("train.epochs=2"))
    assert (found.code, found.line_text) == ("RD652", "train: digits")
    assert found.message == "a warm-up of 2 epochs leaves nothing of 2"


def test_what_would_change_nothing_is_a_finding_where_the_spec_says_it_itself(
    checked: Checked,
) -> None:
    (found,) = refusals(lambda: checked("train.ema_every=5", "train.pad=0"))
    assert (found.code, found.line_text) == ("RD652", "train.ema_every=5")
    assert found.message == "`ema_every` changes nothing here"
    assert found.why == "it belongs to an `ema`"
    assert found.hint == "write `ema_every: 1`, or an `ema`"
    text = SMALL.replace("train: digits", "train: {recipe: mine, ema: 0}\n")
    text += "recipes:\n  mine: {recipe: digits, ema: 0.9, ema_every: 5}\n"
    assert checked(text=text).ema_every == 5


def test_what_counts_in_another_unit_than_the_length_has_to_be_said_anew(checked: Checked) -> None:
    (found,) = refusals(lambda: checked("train.iterations=500"))
    assert "`warmup` counts epochs in the recipe" in found.message
    assert found.hint == "write `warmup` anew, in iterations"
    assert checked("train.iterations=500", "train.warmup=50").epochs is None


@pytest.mark.parametrize(
    ("section", "missing"),
    [
        ("{epochs: 3}", "`data`, `batch_size`, `optimiser`, `lr`"),
        (
            "{data: digits, batch_size: 8, optimiser: sgd, lr: 0.1}",
            "does not say `epochs` or `iterations`",
        ),
        ("{recipe: digits, epochs: null}", "does not say `epochs` or `iterations`"),
    ],
)
def test_what_no_recipe_says_is_asked_for(checked: Checked, section: str, missing: str) -> None:
    text = SMALL.replace("train: digits", f"train: {section}")
    (found,) = refusals(lambda: checked(text=text))
    assert found.code == "RD102"
    assert missing in found.message


def test_a_spec_without_a_section_says_what_to_add(checked: Checked) -> None:
    (found,) = refusals(lambda: checked(text=SMALL.replace("train: digits", "")))
    assert (found.code, found.message) == ("RD102", "`train` is missing")


PHOTOS = (
    "train={recipe: rsb-a3, train_size: 4, data: fake, drop_path: 0}",
    "train.resize=8",
)


def test_a_network_may_be_trained_on_images_of_another_size(checked: Checked) -> None:
    assert checked(*PHOTOS).train_size == 4


def test_weights_that_depend_on_the_size_of_the_image_are_refused(checked: Checked) -> None:
    flat = "heads={flat: {body: [flatten, {linear: {out: classes}}]}}"
    (found,) = refusals(lambda: checked(*PHOTOS, flat, "head=flat"))
    assert (found.code, found.line_text) == ("RD652", PHOTOS[0])
    assert "cannot be trained on images of 4×4" in found.message


def test_stages_are_known_by_the_modules_that_have_weights() -> None:
    parts = dict(settings_of(compile_spec(find_spec("digits"))).parts)
    assert parts["stem"] == ("conv1", "bn1")
    assert parts["layer1"] == ("layer1",)
    assert parts["head"] == ("fc",)


def test_a_stage_in_a_trunk_is_known_by_its_members() -> None:
    compilation = compile_spec(find_spec("vgg16"), ["train={recipe: imagenet-2015}"])
    parts = dict(settings_of(compilation).parts)
    assert parts["layer2"] == ("features.5", "features.7")
    assert parts["head"] == ("classifier",)


@pytest.mark.parametrize("name", [name for name in bundled() if "1001" not in name])
def test_the_bundled_specs_can_be_trained_by_what_they_name(name: str) -> None:
    compilation = compile_spec(find_spec(name))
    if name.startswith("highway"):  # trained in another way than any recipe of the library
        assert compilation.spec.train is None
    else:
        assert checked_settings(compilation).classes == compilation.spec.classes


def test_bundled_specs_are_trained_as_their_sources_say() -> None:
    def trained(name: str) -> TrainSettings:
        return settings_of(compile_spec(find_spec(name)))

    assert trained("resnet20").iterations == trained("plain56").iterations == 64_000
    assert trained("resnet110").warmup_error == 80
    assert (trained("resnet50").crop, trained("resnet50_v1_5").crop) == ("scale", "area")
    assert (trained("wrn_28_10").epochs, trained("wrn_28_10").gamma) == (200, 0.2)
    assert trained("resnet110_stochastic").milestones == (250, 375)
