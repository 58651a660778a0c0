"""`resnet-dsl train`: emit the training script and run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_dsl.compiler import Compilation

if TYPE_CHECKING:
    from resnet_dsl.backends.trainer.settings import TrainSettings

DEFAULT_SPEC = "digits"


def settings_of(compilation: Compilation) -> TrainSettings:
    """The training settings of a spec: its own values over its recipe's. Raises CompileError."""
    raise NotImplementedError
