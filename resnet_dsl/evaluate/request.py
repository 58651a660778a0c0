"""What the user asks for, and which images are meant by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from resnet_dsl.evaluate.geometry import ViewOptions, check_views
from resnet_dsl.evaluate.normalise import Standard
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.subjects import Subject

DataKind: TypeAlias = Literal["digits", "cifar10", "cifar100", "folder", "shards", "fake"]
Split: TypeAlias = Literal["train", "test"]

_WITHOUT_FILES = ("digits", "fake")


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Which images: `path` is where they lie, for all but digits and fake; `download` is for CIFAR."""

    kind: DataKind
    path: Path | None
    split: Split = "test"
    download: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What to evaluate, on which images, and how; None is what the networks were trained with, or what the device is
    good for. `top` is the number of classes of the second accuracy."""

    sources: tuple[str, ...] = ()
    weights: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    data: DataKind | None = None
    path: Path | None = None
    split: Split = "test"
    views: ViewOptions = field(default_factory=ViewOptions)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    batch: int | None = None
    device: str | None = None
    limit: int | None = None
    top: int | None = None

    @property
    def standard(self) -> Standard | None:
        """What `--mean` and `--std` say, if anything."""
        if self.mean is None or self.std is None:
            return None
        return Standard(self.mean, self.std, source="--mean and --std")


def check_request(request: Request) -> None:
    """Raises CompileError RD702 for options that do not go together, RD674 for views that cannot be."""
    check_views(request.views)
    if (request.mean is None) != (request.std is None):
        one, other = ("--mean", "--std") if request.std is None else ("--std", "--mean")
        raise refusal(
            "RD702",
            f"{one} without {other}",
            why="images are standardised by both: (image - mean) / std",
            hint=f"give {other} too; `--mean 0` and `--std 1` change nothing",
        )
    if request.path is not None and request.data in _WITHOUT_FILES:
        raise refusal(
            "RD702",
            "--path would do nothing here",
            why=f"the images of `{request.data}` lie in no file",
            hint="leave it out, or say --data folder",
        )


def data_choice(request: Request, subjects: Sequence[Subject]) -> DataChoice:
    """The images that are meant: those of the options, or those that the networks were trained for.

    Raises CompileError: RD672 where nothing says it, RD673 where networks were trained for different ones.
    """
    known = {
        kind: subject
        for subject in subjects
        if (kind := _kind(subject.settings.get("data"))) is not None
    }
    kind = request.data
    if kind is None and len(known) > 1:
        (one, first), (other, second) = list(known.items())[:2]
        raise refusal(
            "RD673",
            f"`{first.name}` was trained for `{one}`, and `{second.name}` for `{other}`",
            why="networks are evaluated together on the same images",
            hint=f"say which, as in --data {one}",
        )
    if kind is None and known:
        kind = next(iter(known))
        if request.path is not None and kind in _WITHOUT_FILES:
            kind = "folder"
    if kind is None and request.path is not None:
        kind = "folder"
    if kind is None:
        raise refusal(
            "RD672",
            f"nothing says on which images to evaluate `{subjects[0].file}`",
            why="an ONNX graph, or a spec without a `train` section, names none",
            hint="say it, as in --data folder --path DIR, or --data digits",
        )
    path, download = request.path, False
    if kind in known:
        settings = known[kind].settings
        path = path or _trained_on(known[kind])
        download = bool(settings.get("download"))
    if kind in _WITHOUT_FILES:
        path = None
    return DataChoice(kind, path, request.split, download)


def _trained_on(subject: Subject) -> Path | None:
    """Where the images of a training lay."""
    run = subject.run
    found = (run.text("data_path") if run is not None else None) or subject.settings.get("path")
    return Path(found) if isinstance(found, str) else None


def _kind(value: object) -> DataKind | None:
    match value:
        case "digits" | "cifar10" | "cifar100" | "folder" | "shards" | "fake":
            return value
        case _:
            return None
