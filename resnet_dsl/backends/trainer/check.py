"""Whether training settings hold together, and fit the network that they train."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.errors import Diagnostic

DIGITS_INPUT = (1, 8, 8)
DIGITS_CLASSES = 10
DIGITS_TRAINING_IMAGES = 1437


def findings(settings: TrainSettings) -> Iterator[Diagnostic]:
    """Everything that would make the emitted script fail, or train something else than what is meant."""
    if settings.data == "digits":
        yield from _digits(settings)
    if settings.schedule == "milestones" and not settings.milestones:
        yield Diagnostic(
            "RD652",
            "the schedule `milestones` has no milestones",
            why="the learning rate would never change",
            hint="write `milestones: [20, 30]` (epochs), or `schedule: constant`",
        )
    if settings.schedule == "milestones" and list(settings.milestones) != sorted(
        {m for m in settings.milestones if 0 < m < settings.epochs}
    ):
        yield Diagnostic(
            "RD652",
            f"the milestones {_listed(settings.milestones)} are not rising epochs of the training",
            why=f"the training has {settings.epochs} epochs",
            hint=f"write epochs between 1 and {settings.epochs - 1}, each once, in order",
        )
    if settings.warmup_epochs >= settings.epochs:
        yield Diagnostic(
            "RD652",
            f"a warm-up of {settings.warmup_epochs} epochs leaves nothing of {settings.epochs}",
            hint="write a smaller `warmup_epochs`, or more `epochs`",
        )
    if settings.optimiser == "sgd" and settings.nesterov and not settings.momentum:
        yield Diagnostic(
            "RD652",
            "Nesterov's momentum without momentum",
            hint="write `momentum: 0.9`, or `nesterov: false`",
        )
    if settings.shift >= min(settings.input[1:]):
        height, width = settings.input[1:]
        yield Diagnostic(
            "RD652",
            f"a shift of {settings.shift} pixels moves images of {height}×{width} out of sight",
            hint=f"write a `shift` below {min(height, width)}",
        )


def _digits(settings: TrainSettings) -> Iterator[Diagnostic]:
    if settings.input != DIGITS_INPUT or settings.classes != DIGITS_CLASSES:
        yield Diagnostic(
            "RD651",
            f"the network does not fit the data `digits`: it takes {_size(settings.input)} images "
            f"and tells {settings.classes} classes apart",
            why=f"scikit-learn's digits are {_size(DIGITS_INPUT)} images of "
            f"{DIGITS_CLASSES} classes",
            hint="write `input: {channels: 1, size: 8}` and `classes: 10`, "
            "or `data: fake` in the train section to try the network's speed",
        )
    if settings.batch_size > DIGITS_TRAINING_IMAGES:
        yield Diagnostic(
            "RD651",
            f"a batch of {settings.batch_size} is more than the training images of `digits`",
            why=f"there are {DIGITS_TRAINING_IMAGES}, and every batch is a full one",
            hint="write a smaller `batch_size`",
        )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
