"""Whether length, schedule, optimiser and stages hold together."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.errors import suggest


def problems(settings: TrainSettings) -> Iterator[Problem]:
    """What is wrong with how the network learns, and with what of it does."""
    if (settings.epochs is None) == (settings.iterations is None):
        given = "neither `epochs` nor" if settings.epochs is None else "both `epochs` and"
        yield Problem(
            "epochs",
            f"the training's length is given by {given} `iterations`",
            hint="write one of the two, and the other as `null`",
        )
    else:
        yield from _schedule(settings)
        yield from _warmup(settings)
    yield from _optimiser(settings)
    yield from _stages(settings)


def _schedule(settings: TrainSettings) -> Iterator[Problem]:
    """Where within the training the learning rate changes."""
    length, unit = _unit(settings)
    if settings.schedule == "milestones" and not settings.milestones:
        yield Problem(
            "schedule",
            "the schedule `milestones` has no milestones",
            "the learning rate would never change",
            f"write `milestones: [{max(length // 2, 1)}, {max(3 * length // 4, 2)}]` ({unit}), "
            "or `schedule: constant`",
        )
    rising = sorted({at for at in settings.milestones if 0 < at < length})
    if settings.schedule == "milestones" and list(settings.milestones) != rising:
        yield Problem(
            "milestones",
            f"the milestones {', '.join(map(str, settings.milestones))} are not rising {unit} of the training",
            f"the training has {length} {unit}",
            f"write {unit} between 1 and {length - 1}, each once, in order",
        )
    if settings.schedule == "plateau" and settings.patience < 1:
        yield Problem(
            "patience",
            "a plateau takes an epoch at least",
            "with a patience of 0 the learning rate would fall at once",
            "write `patience: 5`",
        )


def _warmup(settings: TrainSettings) -> Iterator[Problem]:
    """The way up to the learning rate."""
    length, unit = _unit(settings)
    if settings.warmup >= length:
        yield Problem(
            "warmup",
            f"a warm-up of {settings.warmup} {unit} leaves nothing of {length}",
            hint=f"write a smaller `warmup`, or more `{unit}`",
        )
    if settings.warmup and settings.warmup_error is not None:
        yield Problem(
            "warmup_error",
            "the warm-up has two ends: one after `warmup`, one by `warmup_error`",
            hint="write `warmup: 0`, or `warmup_error: null`",
        )
    elif settings.warmup_error is not None and not settings.warmup_lr:
        yield Problem(
            "warmup_error",
            "the warm-up has no learning rate",
            "at a rate of 0 the training error never falls below `warmup_error`",
            "write `warmup_lr: 0.01`",
        )
    if settings.warmup_lr:
        if not settings.warmup and settings.warmup_error is None:
            yield Problem(
                "warmup_lr",
                f"`warmup_lr: {settings.warmup_lr:g}` belongs to a warm-up, and there is none",
                hint=f"write `warmup: 5` ({unit}) or `warmup_error: 80` (percent), or `warmup_lr: 0`",
            )
        elif settings.warmup_lr >= settings.lr:
            yield Problem(
                "warmup_lr",
                f"the warm-up begins at {settings.warmup_lr:g}, and leads to {settings.lr:g}",
                hint="write a `warmup_lr` below `lr`",
            )


def _optimiser(settings: TrainSettings) -> Iterator[Problem]:
    """A step: its parts, and what belongs to one optimiser alone."""
    if settings.batch_size % settings.accumulate:
        yield Problem(
            "accumulate",
            f"a batch of {settings.batch_size} cannot be divided into {settings.accumulate} equal parts",
            hint="write an `accumulate` that divides `batch_size`",
        )
    if not settings.nesterov:
        return
    if settings.optimiser != "sgd":
        yield Problem(
            "nesterov",
            f"Nesterov's momentum is a form of SGD's, and the optimiser is `{settings.optimiser}`",
            hint="write `nesterov: false`, or `optimiser: sgd`",
        )
    elif not settings.momentum:
        yield Problem(
            "nesterov",
            "Nesterov's momentum without momentum",
            hint="write `momentum: 0.9`, or `nesterov: false`",
        )


def _stages(settings: TrainSettings) -> Iterator[Problem]:
    """What is frozen, and what is computed again."""
    parts = dict(settings.parts)
    stages = [name for name in parts if name not in ("stem", "head")]
    for setting, given, known in (
        ("freeze", settings.freeze, list(parts)),
        ("recompute", settings.recompute, stages),
    ):
        for name in given:
            if name not in known:
                yield Problem(
                    setting,
                    f"the network has no stage `{name[:60]}`",
                    hint=suggest(name, known) or f"its stages: {', '.join(known)}",
                )
    for name in settings.recompute:
        if name in stages and name not in parts[name]:
            yield Problem(
                "recompute",
                f"the stage `{name}` is no module of its own",
                "the spec's `trunk` puts its layers into one chain with the others",
                "remove it from `recompute`",
            )
    learning = [name for name, modules in parts.items() if modules and name not in settings.freeze]
    if parts and not learning:
        yield Problem(
            "freeze",
            "nothing of the network is left to learn",
            hint="leave `head` out of `freeze`",
        )


def _unit(settings: TrainSettings) -> tuple[int, str]:
    """The training's length, and what it counts."""
    if settings.epochs is not None:
        return settings.epochs, "epochs"
    return settings.iterations or 0, "iterations"
