"""The committed samples in generated/ are what the compiler emits today (`just golden` rewrites them)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resnet_dsl.backends.trainer.emit import emit as train_source
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.settings import settings_of
from resnet_dsl.compiler import compile_spec, torch_source

GENERATED = Path(__file__).resolve().parent.parent / "generated"
SAMPLES = ("resnet152", "resnet20", "resnext50_32x4d", "vgg16", "resnet110_preact", "digits")


@pytest.mark.parametrize("name", SAMPLES)
def test_the_committed_module_is_what_is_emitted_today(
    name: str, golden: Callable[[Path, str], None]
) -> None:
    golden(GENERATED / name / f"{name}.py", torch_source(compile_spec(find_spec(name))))


def test_the_committed_training_script_is_what_is_emitted_today(
    golden: Callable[[Path, str], None],
) -> None:
    settings = settings_of(compile_spec(find_spec("digits")))
    golden(GENERATED / "digits" / "train.py", train_source(settings))
