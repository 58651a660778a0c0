"""What a training script says of itself: its data, its recipe, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

from resnet_dsl.backends.trainer.settings import TrainSettings

_TITLES = {
    "digits": "scikit-learn's digits",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "folder": "a folder of images",
    "shards": "shards of images",
    "fake": "random images",
}


def data_title(settings: TrainSettings) -> str:
    """The data in ASCII, since `--help` prints it on any terminal."""
    size = "x".join(map(str, settings.input))
    return f"{_TITLES[settings.data]}: {size}, {settings.classes} classes"


def recipe_title(settings: TrainSettings) -> str:
    """The recipe in a sentence."""
    match settings.optimiser:
        case "sgd" if not settings.momentum:
            optimiser = "SGD"
        case "sgd":
            kind = "Nesterov's momentum" if settings.nesterov else "momentum"
            optimiser = f"SGD with {kind}"
        case "adamw":
            optimiser = "AdamW"
        case "lamb":
            optimiser = "LAMB"
        case _:
            assert_never(settings.optimiser)
    rates = {
        "cosine": "a cosine",
        "linear": "a straight line down",
        "milestones": "steps at milestones",
        "plateau": "steps at plateaus",
        "constant": "one rate",
    }
    length = (
        f"{settings.epochs or settings.iterations} {'epoch' if settings.epochs else 'iteration'}"
    )
    text = f"{length}{'' if length.startswith('1 ') else 's'} of {optimiser}, {rates[settings.schedule]}"
    warmed = settings.warmup or settings.warmup_error is not None
    return f"{text} after a warm-up." if warmed else f"{text}."


def needs(texts: Iterable[str]) -> str:
    """The packages that source code imports: others of torchvision's and scikit-learn's needs come with them."""
    words = set(re.findall(r"^ *(?:from|import) (\w+)", "\n".join(texts), re.MULTILINE))
    packages = {"torchvision": "torchvision", "scikit-learn": "sklearn"}
    found = [package for package, module in packages.items() if module in words] or ["numpy"]
    return f"torch{''.join(f', {name}' for name in found[:-1])} and {found[-1]}"
