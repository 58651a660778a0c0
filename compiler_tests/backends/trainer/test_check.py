"""Settings that could not run, or would do something else than what is meant, are refused beforehand."""

from __future__ import annotations

import pytest

from resnet_dsl.backends.trainer import check_unused
from resnet_dsl.backends.trainer.check import problems
from resnet_dsl.errors import CODES

IMAGENET = {
    "data": "folder",
    "path": "data/imagenet",
    "memory": False,
    "input": (3, 224, 224),
    "classes": 1000,
    "pad": 0,
    "crop": "area",
    "resize": 256,
}
CIFAR = {"data": "cifar10", "path": "data", "input": (3, 32, 32)}

DATA = [
    (
        {"input": (3, 224, 224), "classes": 1000},
        "data",
        "it takes 3×224×224 images and tells 1000 classes apart",
        "input: {channels: 1, size: 8}",
    ),
    ({**CIFAR, "classes": 100}, "data", "tells 100 classes apart", "`classes: 10`"),
    ({**CIFAR, "data": "cifar100"}, "data", "does not fit the data `cifar100`", "`classes: 100`"),
    ({**CIFAR, "input": (3, 64, 64)}, "data", "3×64×64", "size: 32"),
    ({**CIFAR, "path": None}, "data", "does not say where", "path: data"),
    ({**IMAGENET, "path": None}, "data", "does not say where", "path: data/imagenet"),
    ({**IMAGENET, "input": (4, 224, 224)}, "data", "4 channels", "channels: 3"),
    ({**IMAGENET, "data": "fake", "input": (4, 8, 8)}, "data", "4 channels", "memory: true"),
    ({"path": "data"}, "path", "`digits` have no path", "remove `path`"),
    ({"memory": False}, "memory", "held in memory", "memory: true"),
    ({"batch_size": 1438}, "batch_size", "a batch of 1438 is more than", "smaller `batch_size`"),
    ({"validation": 1400}, "batch_size", "a batch of 64 is more", "smaller `batch_size`"),
    ({"validation": 1437}, "validation", "a batch of 64 is more", "smaller `validation`"),
    ({**IMAGENET, "data": "shards", "validation": 9}, "validation", "held out", "validation: 0"),
    (
        {**IMAGENET, "data": "shards", "memory": True, "crop": "none"},
        "memory",
        "one after the other",
        "`folder`",
    ),
    ({"mean": (0.1, 0.2), "std": (1.0,)}, "mean", "has 2 numbers for 1 channel", "null"),
    ({"mean": (0.1,), "std": (0.1, 0.2)}, "std", "has 2 numbers for 1 channel", "null"),
    ({"mean": (0.1,)}, "mean", "`std` is not", "both, or neither"),
    ({"mean": (51.0,), "std": (0.2,)}, "mean", "not within 0 and 1", "[0.2]"),
    ({"mean": (-0.5,), "std": (0.2,)}, "mean", "not within 0 and 1", "from 0 to 1"),
    ({"normalise": "none", "std": (0.1,)}, "std", "normalise: none", "remove `std`"),
]
IMAGES = [
    ({**CIFAR, "crop": "area", "pad": 0}, "crop", "memory: true", "`crop: none`"),
    ({"auto_augment": "rand"}, "auto_augment", "memory: true", "`auto_augment: none`"),
    ({**CIFAR, "colour_pca": 0.1}, "colour_pca", "memory: true", "`colour_pca: 0`"),
    ({"repeats": 3}, "repeats", "memory: true", "`repeats: 1`"),
    ({**IMAGENET, "data": "shards", "repeats": 3}, "repeats", "shards", "repeats: 1"),
    ({**IMAGENET, "data": "shards", "flip": "alternate"}, "flip", "shards", "flip: random"),
    (
        {**IMAGENET, "data": "fake", "input": (1, 224, 224), "colour_pca": 0.1},
        "colour_pca",
        "have no colours to shift",
        "colour_pca: 0",
    ),
    ({"train_size": 6}, "train_size", "nothing makes", "crop: area"),
    ({"input": (1, 8, 8), "resize": 7}, "resize", "no 8×8 can be cropped", "resize: 8"),
    ({**IMAGENET, "crop": "none"}, "resize", "training images are not", "memory: true"),
    ({**IMAGENET, "pad": 4}, "pad", "cropped twice", "pad: 0"),
    ({"pad": 8}, "pad", "8 pixels", "below 8"),
    ({"cutout": 8}, "cutout", "leaves nothing of images of 8×8", "below 8, such as 2"),
    (
        {**IMAGENET, "crop": "scale", "scale_range": (200, 480)},
        "scale_range",
        "no part of 224×224",
        "at 224",
    ),
    ({"scale_range": (480, 256)}, "scale_range", "falls from 480 to 256", "[256, 480]"),
    ({"area_range": (1.0, 0.5)}, "area_range", "falls from 1 to 0.5", "[0.5, 1]"),
    ({"area_range": (0.5, 2.0)}, "area_range", "2 times the area", "[0.08, 1]"),
    ({"ratio_range": (2.0, 0.5)}, "ratio_range", "falls from 2 to 0.5", "[0.5, 2]"),
    ({"mixup": 0.2, "batch_size": 65}, "batch_size", "a batch, and 65 is odd", "such as 66"),
    (
        {"cutmix": 1.0, "batch_size": 66, "accumulate": 2},
        "batch_size",
        "`cutmix` pairs the images of a micro-batch, and 33 is odd",
        "such as 68",
    ),
]
LEARNING = [
    ({"iterations": 9}, "epochs", "both `epochs` and `iterations`", "one of the two"),
    ({"epochs": None}, "epochs", "neither `epochs` nor `iterations`", "one of the two"),
    ({"schedule": "milestones"}, "schedule", "no milestones", "milestones: [20, 30]` (epochs)"),
    (
        {"schedule": "milestones", "milestones": (30, 20)},
        "milestones",
        "30, 20 are not rising epochs",
        "between 1 and 39",
    ),
    (
        {
            "schedule": "milestones",
            "milestones": (20, 400),
            "epochs": None,
            "iterations": 400,
        },
        "milestones",
        "20, 400 are not rising iterations",
        "iterations between 1 and 399, each once, in order",
    ),
    ({"schedule": "plateau", "patience": 0}, "patience", "an epoch at least", "patience: 5"),
    ({"accumulate": 3}, "accumulate", "64 cannot be divided into 3", "divides `batch_size`"),
    ({"epochs": 2}, "warmup", "a warm-up of 2 epochs", "smaller `warmup`"),
    ({"warmup_error": 80.0, "warmup_lr": 0.01}, "warmup_error", "two ends", "warmup: 0"),
    (
        {"warmup_error": 80.0, "warmup": 0},
        "warmup_error",
        "no learning rate",
        "warmup_lr: 0.01",
    ),
    ({"warmup": 0, "warmup_lr": 0.01}, "warmup_lr", "there is none", "warmup: 5` (epochs)"),
    ({"warmup_lr": 0.2}, "warmup_lr", "begins at 0.2, and leads to 0.1", "below `lr`"),
    ({"momentum": 0.0}, "nesterov", "without momentum", "nesterov: false"),
    ({"optimiser": "adamw"}, "nesterov", "the optimiser is `adamw`", "nesterov: false"),
    ({"freeze": ("layr1",)}, "freeze", "no stage `layr1`", "did you mean `layer1`?"),
    ({"freeze": ("zzz",)}, "freeze", "no stage `zzz`", "stem, layer1, head"),
    ({"freeze": ("stem", "layer1", "head")}, "freeze", "left to learn", "leave `head` out"),
    ({"recompute": ("stem",)}, "recompute", "no stage `stem`", "its stages: layer1"),
    (
        {"recompute": ("layer1",), "parts": (("layer1", ("conv2", "bn2")), ("head", ("fc",)))},
        "recompute",
        "no module of its own",
        "remove it",
    ),
]


@pytest.mark.parametrize(("changes", "setting", "message", "hint"), [*DATA, *IMAGES, *LEARNING])
def test_what_does_not_go_together_is_refused_with_a_hint(
    settings, changes, setting, message, hint
):
    (found,) = problems(settings(**changes))
    assert (found.setting, found.code in CODES) == (setting, True)
    assert message in f"{found.message} {found.why}"
    assert found.hint is not None
    assert hint in found.hint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        CIFAR,
        {**CIFAR, "input": (3, 64, 64), "resize": 64},
        {**CIFAR, "data": "fake", "input": (7, 5, 9), "classes": 3},
        IMAGENET,
        {**IMAGENET, "train_size": 176, "colour_pca": 0.1, "repeats": 4, "auto_augment": "rand"},
        {**IMAGENET, "data": "shards", "flip": "random", "mixup": 0.2},
        {"mean": (0.5,), "std": (0.25,)},
        {"epochs": None, "iterations": 500, "warmup": 100},
        {"warmup": 0, "warmup_lr": 0.01, "warmup_error": 80.0},
        {"optimiser": "lamb", "nesterov": False, "momentum": 0.0},
        {"freeze": ("stem", "layer1"), "accumulate": 4, "cutmix": 1.0, "cutout": 4},
        {"recompute": ("layer1",)},
    ],
)
def test_what_goes_together_is_not_refused(settings, changes):
    assert list(problems(settings(**changes))) == []


def test_all_findings_are_reported_together(settings):
    found = problems(settings(input=(1, 9, 9), epochs=1, momentum=0.0))
    assert [item.code for item in found] == ["RD651", "RD652", "RD652"]


def test_the_learning_rate_is_scaled_to_the_batch(settings):
    scaled = settings(lr=0.4, warmup_lr=0.04, batch_size=64, lr_batch=256)
    assert (scaled.scaled_lr, scaled.scaled_warmup_lr) == (0.1, 0.01)
    assert settings(lr=0.4).scaled_lr == 0.4


def test_what_is_frozen_is_named_by_its_modules(settings):
    assert settings(freeze=("head", "stem")).frozen == ("conv1", "bn1", "fc")


@pytest.mark.parametrize(
    ("changes", "setting", "message", "hint"),
    [
        ({"data": "fake", "path": "x"}, "path", "data in files", "write `path: null`, or data"),
        ({"data": "fake", "resize": 8}, "resize", "data in files", "`resize: null`"),
        ({"download": True}, "download", "`data: cifar10` or", "`download: false`"),
        ({"workers": 2}, "workers", "`memory: false`", "`workers: null`, or `memory: false`"),
        ({"pad": 0, "pad_mode": "reflect"}, "pad_mode", "a `pad`", "`pad_mode: black`"),
        ({"scale_range": (8, 9)}, "scale_range", "`crop: scale`", "`scale_range: [256, 480]`"),
        ({"area_range": (0.5, 1)}, "area_range", "`crop: area`", "`area_range: [0.08, 1]`"),
        ({"ratio_range": (1, 1)}, "ratio_range", "`crop: area`", "[0.75, 1.3333]`"),
        ({"rand_ops": 1}, "rand_ops", "`auto_augment: rand`", "`rand_ops: 2`"),
        ({"rand_magnitude": 9}, "rand_magnitude", "`auto_augment: rand`", "`rand_magnitude: 3`"),
        ({"rand_std": 0.5}, "rand_std", "`auto_augment: rand`", "`rand_std: 0`"),
        ({"beta2": 0.9}, "beta2", "`optimiser: adamw`", "`beta2: 0.999`"),
        ({"weight_decay": 0.0}, "decay_norms", "a `weight_decay`", "`decay_norms: true`"),
        ({"milestones": (2,)}, "milestones", "`schedule: milestones`", "`milestones: []`"),
        ({"gamma": 0.2}, "gamma", "`schedule: milestones` or `plateau`", "`gamma: 0.1`"),
        ({"patience": 5}, "patience", "`schedule: plateau`", "`patience: 10`"),
        ({"ema_every": 5}, "ema_every", "an `ema`", "`ema_every: 1`"),
    ],
)
def test_what_would_change_nothing_is_told(settings, changes, setting, message, hint):
    (found,) = check_unused.problems(settings(**changes))
    assert (found.setting, found.code) == (setting, "RD652")
    assert found.why is not None
    assert message in found.why
    assert found.hint is not None
    assert hint in found.hint


def test_parts_are_neutral_where_the_base_recipe_says_so(settings):
    """The table says each value a second time: it is the one of the library's recipe."""
    base = settings(decay_norms=True)
    for part in check_unused.PARTS:
        assert getattr(base, part.setting) == part.neutral, part.setting


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "plateau", "gamma": 0.2, "patience": 5},
        {"schedule": "milestones", "milestones": (2,), "gamma": 0.2},
        {"optimiser": "lamb", "beta2": 0.9},
        {"ema": 0.9, "ema_every": 5, "pad_mode": "reflect"},
        {**CIFAR, "download": True, "memory": False, "workers": 2},
        {**IMAGENET, "crop": "scale", "scale_range": (224, 300)},
        {**IMAGENET, "area_range": (0.5, 1), "ratio_range": (1, 1)},
        {"auto_augment": "rand", "rand_ops": 1, "rand_magnitude": 9, "rand_std": 0.5},
        {**IMAGENET, "data": "fake", "path": None},
    ],
)
def test_what_has_its_whole_is_not_told(settings, changes):
    assert list(check_unused.problems(settings(**changes))) == []
