"""The command line: one thin function a command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import gc
import os
import sys

from resnet_dsl.cli import (
    benching,
    building,
    demo,
    engines,
    evaluating,
    inspecting,
    training,
    verifying,
)
from resnet_dsl.cli.app import app

__all__ = [
    "app",
    "benching",
    "building",
    "demo",
    "engines",
    "evaluating",
    "inspecting",
    "main",
    "training",
    "verifying",
]


def main() -> None:
    """The entry point of the `resnet-dsl` command."""
    gc.disable()  # a command ends before garbage matters; collecting takes a quarter of its time
    # Pydantic would read the metadata of every installed package to find plugins: a quarter of the time of `build`.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from resnet_dsl.commands.process import run

    sys.exit(run(app))
