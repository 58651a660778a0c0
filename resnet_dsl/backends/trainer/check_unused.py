"""Settings that would change nothing, since what they belong to is not chosen.

That is no mistake where a recipe says them, and the spec has chosen otherwise: `{recipe: cifar-2015, schedule: cosine}`
has milestones from the recipe. Whoever says one himself means something by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import TrainSettings

Condition: TypeAlias = Callable[[TrainSettings], bool]


@dataclass(frozen=True, slots=True)
class Part:
    """A setting that is a part of something: its value where nothing is said, what it belongs to, and when that is
    there."""

    setting: str
    neutral: object
    whole: str
    used: Condition


PARTS = (
    Part("path", None, "data in files", lambda s: s.data != "fake"),
    Part("resize", None, "data in files", lambda s: s.data != "fake" or not s.memory),
    Part("download", False, "`data: cifar10` or `cifar100`", lambda s: s.data.startswith("cifar")),
    Part("workers", None, "`memory: false`", lambda s: not s.memory),
    Part("pad_mode", "black", "a `pad`", lambda s: s.pad > 0),
    Part("scale_range", (256, 480), "`crop: scale`", lambda s: s.crop == "scale"),
    Part("area_range", (0.08, 1), "`crop: area`", lambda s: s.crop == "area"),
    Part("ratio_range", (0.75, 1.3333), "`crop: area`", lambda s: s.crop == "area"),
    Part("rand_ops", 2, "`auto_augment: rand`", lambda s: s.auto_augment == "rand"),
    Part("rand_magnitude", 3, "`auto_augment: rand`", lambda s: s.auto_augment == "rand"),
    Part("rand_std", 0, "`auto_augment: rand`", lambda s: s.auto_augment == "rand"),
    Part("beta2", 0.999, "`optimiser: adamw` or `lamb`", lambda s: s.optimiser != "sgd"),
    Part("decay_norms", True, "a `weight_decay`", lambda s: s.weight_decay > 0),
    Part("milestones", (), "`schedule: milestones`", lambda s: s.schedule == "milestones"),
    Part(
        "gamma",
        0.1,
        "`schedule: milestones` or `plateau`",
        lambda s: s.schedule in ("milestones", "plateau"),
    ),
    Part("patience", 10, "`schedule: plateau`", lambda s: s.schedule == "plateau"),
    Part("ema_every", 1, "an `ema`", lambda s: s.ema > 0),
)


def problems(settings: TrainSettings) -> Iterator[Problem]:
    """What is said, and would not be used."""
    for part in PARTS:
        if getattr(settings, part.setting) != part.neutral and not part.used(settings):
            yield Problem(
                part.setting,
                f"`{part.setting}` changes nothing here",
                f"it belongs to {part.whole}",
                f"write `{part.setting}: {_written(part.neutral)}`, or {part.whole}",
            )


def _written(value: object) -> str:
    """A value as YAML has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
