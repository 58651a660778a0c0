"""Whether training settings hold together, and fit the network that they train."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.backends.trainer import check_data, check_images, check_learning
from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.errors import Diagnostic


def findings(settings: TrainSettings) -> Iterator[Diagnostic]:
    """Everything that would make the emitted script fail, or train something else than what is meant."""
    for problem in problems(settings):
        yield problem.diagnostic()


def problems(settings: TrainSettings) -> Iterator[Problem]:
    """As `findings`, each with the setting that it is about."""
    yield from check_data.problems(settings)
    yield from check_images.problems(settings)
    yield from check_learning.problems(settings)
