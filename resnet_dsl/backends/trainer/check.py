"""Whether training settings hold together, and fit the network that they train."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.backends.trainer import check_data, check_images, check_learning
from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import TrainSettings


def problems(settings: TrainSettings) -> Iterator[Problem]:
    """Everything that would make the emitted script fail, or train something else than what is meant."""
    yield from check_data.problems(settings)
    yield from check_images.problems(settings)
    yield from check_learning.problems(settings)
