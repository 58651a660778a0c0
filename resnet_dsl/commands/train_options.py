"""What `resnet-dsl train` is asked for, and which of it contradicts the training, other options, or this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.errors import CompileError, Diagnostic

_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?", re.ASCII)
_MOST_PROCESSES = 1024


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train, and how; None is what the spec, or the machine, says.

    `arguments` go to the script as they are, and `environment` is added to the environment that it runs in.
    """

    spec: str | None = None
    out: Path | None = None
    overrides: tuple[str, ...] = ()
    resume: bool = False
    weights: Path | None = None
    data: Path | None = None
    device: str | None = None
    processes: int | None = None
    quiet: bool = False
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def check_options(request: TrainRequest, settings: TrainSettings) -> None:
    """Raise CompileError for options that contradict the training, one another, or this machine."""
    found: list[Diagnostic] = []
    if request.resume and request.weights is not None:
        found.append(
            Diagnostic(
                "RD702",
                "--resume and --weights exclude each other",
                why="one goes on with a training, and the other begins one",
                hint="leave one out",
            )
        )
    if request.device is not None and not _DEVICE.fullmatch(request.device):
        found.append(
            Diagnostic(
                "RD655",
                f"`{request.device[:60]}` is no device",
                hint="write --device cpu, --device cuda, or one GPU of several, as in --device cuda:1",
            )
        )
    found += _wrong_processes(request, settings)
    found += _wrong_place(request, settings)
    if found:
        raise CompileError(found)


def _wrong_processes(request: TrainRequest, settings: TrainSettings) -> list[Diagnostic]:
    """Whether that many processes can train together."""
    count = request.processes or 1
    if count > _MOST_PROCESSES:
        return [
            Diagnostic(
                "RD702",
                f"--processes {count:,} is more than one machine runs",
                hint="give as many as it has GPUs; on a CPU one is the fastest",
            )
        ]
    if count == 1:
        return []
    found: list[Diagnostic] = []
    if request.device is not None and ":" in request.device:
        found.append(
            Diagnostic(
                "RD702",
                f"--device {request.device} is one GPU, and there are {count} processes",
                why="each process has a GPU of its own",
                hint="write --device cuda; CUDA_VISIBLE_DEVICES=0,2 in the environment says which GPUs",
            )
        )
    pairs = 2 if settings.mixup or settings.cutmix else 1  # neighbours in a batch are mixed
    parts = count * settings.accumulate * pairs
    if settings.batch_size % parts:
        of = f" × {settings.accumulate} micro-batches" if settings.accumulate > 1 else ""
        of += " in pairs" if pairs > 1 else ""
        found.append(
            Diagnostic(
                "RD702",
                f"a batch of {settings.batch_size} cannot be divided among {count} processes{of}",
                why="every process has the same number of images in a step",
                hint=f"--set train.batch_size={max(settings.batch_size // parts, 1) * parts}, or other --processes",
            )
        )
    return found


def _wrong_place(request: TrainRequest, settings: TrainSettings) -> list[Diagnostic]:
    """Whether there are data where they should lie, as far as their name says it."""
    data, given = settings.data, request.data
    if data in ("digits", "fake"):
        if given is None:
            return []
        what = "come with scikit-learn" if data == "digits" else "are made up"
        return [
            Diagnostic(
                "RD702",
                "--data would do nothing here",
                why=f"the data `{data}` {what}",
                hint="leave --data out, or name other data: --set train.data=folder",
            )
        ]
    place = Path(given if given is not None else settings.path or "")
    if os.path.exists(place) or data == "shards" or (settings.download and data != "folder"):
        return []
    wanted = {
        "folder": "a folder with train/ and test/ (or val/), and in each a folder of images for each class; "
        "or a .tar of one",
        "cifar10": "a folder with cifar-10-batches-py, as torchvision writes it, or cifar-10-python.tar.gz",
        "cifar100": "a folder with cifar-100-python, as torchvision writes it, or cifar-100-python.tar.gz",
    }
    fetch = "; or --set train.download=true" if data != "folder" else ""
    return [
        Diagnostic(
            "RD654",
            f"there is nothing at `{place}`",
            why=f"{'--data' if given is not None else '`train.path`'} says that the training images lie there",
            hint=f"give --data PLACE, {wanted[data]}{fetch}",
        )
    ]
