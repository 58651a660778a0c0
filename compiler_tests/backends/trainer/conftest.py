"""A small network by hand, the settings of a short training, and a folder with the emitted script in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from compiler_tests.backends.trainer.nursery import Done, Nursery, nursery
from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.language.library import LIBRARY
from resnet_dsl.language.source import read
from resnet_dsl.language.training import Training

# Dropout is in it so that a resumed run must have the random numbers that an uninterrupted one has; batch norm is left
# out where a batch in parts is to equal the whole.
NETWORK = '''"""A residual net of two blocks."""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.bn1 = NORM(8)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.dropout(self.relu(self.bn1(self.conv1(x))))
        return y


class Tiny(nn.Module):
    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, 2, 1, bias=False)
        self.bn1 = NORM(8)
        self.layer1 = nn.Sequential(Block(), Block())
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.bn1(self.conv1(x)))
        scores: Tensor = self.fc(self.pool(x).flatten(1))
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
    "parts": (("stem", ("conv1", "bn1")), ("layer1", ("layer1",)), ("head", ("fc",))),
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
    nursery: Nursery

    def run(self, *arguments: str, **how: Any) -> Done:
        """Run it, in a process that begins with torch imported: see `Nursery.run`."""
        return self.nursery.run(self.folder, *arguments, **how)

    def good(self, out: str, *arguments: str) -> Path:
        """Run it to a good end; the folder that it has written to."""
        done = self.run(*arguments, "--out", out)
        assert done.status == 0, done.stdout + done.stderr
        return self.folder / out

    def interrupted(self, out: str, number: Signals, step: int, *arguments: str) -> Path:
        """Run it until it gets a signal after a step, and go on with it to the end."""
        done = self.run(*arguments, "--out", out, stop=(number, step))
        assert done.status == 128 + number, done.stdout + done.stderr
        return self.good(out, "--resume")

    @contextmanager
    def start(self, *arguments: str, **changes: Any) -> Iterator[subprocess.Popen[str]]:
        """The script as users start it; it is killed if it still runs at the end."""
        with subprocess.Popen(
            [sys.executable, "train.py", *arguments],
            cwd=self.folder,
            **{
                "env": {**os.environ, "OMP_NUM_THREADS": "1"},
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                **changes,
            },
        ) as running:
            try:
                yield running
            finally:
                running.kill()


def lines(run: Path) -> list[dict[str, Any]]:
    """What a run says of its epochs."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def said(run: Path, name: str = "result") -> dict[str, Any]:
    """What a file of a run says."""
    found: dict[str, Any] = json.loads((run / f"{name}.json").read_text())
    return found


def unclocked(run: Path) -> list[dict[str, Any]]:
    """What a run says of its epochs, without what depends on the clock."""
    clock = ("seconds", "images_per_second")
    return [{key: value for key, value in line.items() if key not in clock} for line in lines(run)]


def same(one: Path, other: Path) -> bool:
    """Whether two runs have come to the same weights and numbers, to the bit."""
    files = ("last.safetensors", "best.safetensors")
    equal = [(one / name).read_bytes() == (other / name).read_bytes() for name in files]
    return all(equal) and unclocked(one) == unclocked(other)


@pytest.fixture(scope="session")
def settings() -> Callable[..., TrainSettings]:
    """`settings(lr=0.2)`: those of a spec for digits, and what is changed in them."""

    def make(**changes: Any) -> TrainSettings:
        return TrainSettings(**{**DEFAULTS, **changes})

    return make


@pytest.fixture(scope="session")
def runner() -> Iterator[Nursery]:
    """What runs scripts."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    with nursery() as found:
        yield found


@pytest.fixture(scope="session")
def script(settings: Callable[..., TrainSettings], runner: Nursery) -> Callable[..., Script]:
    """`script(folder, epochs=2)` writes the network and the training script. `norm` and `dropout` are the network's."""

    def write(
        folder: Path, norm: str = "nn.BatchNorm2d", dropout: float = 0.1, **changes: Any
    ) -> Script:
        made = settings(**changes)
        folder.mkdir(parents=True, exist_ok=True)
        words = {"CHANNELS": made.input[0], "NORM": norm, "DROPOUT": dropout}
        network = NETWORK
        for word, value in words.items():
            network = network.replace(word, str(value))
        (folder / "tiny.py").write_text(network, encoding="utf-8")
        (folder / "train.py").write_text(emit(made), encoding="utf-8")
        return Script(folder, runner)

    return write
