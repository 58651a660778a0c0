"""A small network by hand, the settings of a short training, and a folder with the emitted script in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.language.library import LIBRARY
from resnet_dsl.language.source import read
from resnet_dsl.language.training import Training

# Dropout is in it so that a resumed run must have the random numbers that an uninterrupted one has.
NETWORK = '''"""A residual net of one block."""

from __future__ import annotations

from torch import Tensor, nn


class Tiny(nn.Module):
    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(x + self.bn2(self.conv2(x)))
        scores: Tensor = self.fc(self.dropout(self.pool(x).flatten(1)))
        return scores


def tiny(num_classes: int = 10) -> Tiny:
    return Tiny(CHANNELS, num_classes)
'''


def _base() -> dict[str, Any]:
    """The neutral values, from the library."""
    data = read(LIBRARY / "recipes" / "base.yaml").data
    said = Training.model_validate(data).said()
    said.pop("drop_path")
    return {name: tuple(item) if isinstance(item, list) else item for name, item in said.items()}


DEFAULTS: dict[str, Any] = {
    **_base(),
    "name": "tiny",
    "spec": "specs/tiny.yaml",
    "spec_hash": "0123456789abcdef" * 4,
    "version": "0.1.0",
    "input": (1, 8, 8),
    "classes": 10,
    "parts": (("stem", ("conv1", "bn1")), ("layer1", ("conv2", "bn2")), ("head", ("fc",))),
    "data": "digits",
    "memory": True,
    "epochs": 40,
    "batch_size": 64,
    "optimiser": "sgd",
    "lr": 0.1,
    "nesterov": True,
    "weight_decay": 5e-4,
    "decay_norms": False,
    "schedule": "cosine",
    "warmup": 2,
    "label_smoothing": 0.1,
    "pad": 1,
    "threads": 1,
}


@dataclass(frozen=True)
class Script:
    """train.py in a folder, with the network beside it."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "train.py", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The script, which is killed if it still runs at the end."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.kill()

    @staticmethod
    def environment() -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def settings() -> Callable[..., TrainSettings]:
    """`settings(lr=0.2)`: those of a spec for digits, and what is changed in them."""

    def make(**changes: Any) -> TrainSettings:
        return TrainSettings(**{**DEFAULTS, **changes})

    return make


@pytest.fixture(scope="session")
def script(settings: Callable[..., TrainSettings]) -> Callable[..., Script]:
    """`script(folder, epochs=2)` writes the network and the training script."""

    def write(folder: Path, **changes: Any) -> Script:
        made = settings(**changes)
        folder.mkdir(parents=True, exist_ok=True)
        network = NETWORK.replace("CHANNELS", str(made.input[0]))
        (folder / "tiny.py").write_text(network, encoding="utf-8")
        (folder / "train.py").write_text(emit(made), encoding="utf-8")
        return Script(folder)

    return write
