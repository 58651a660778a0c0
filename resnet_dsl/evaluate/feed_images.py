"""Images in files, in archives, or embedded, for a feed: read and cut as an evaluation reads and cuts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_dsl.evaluate.geometry import Crops, ViewOptions, geometry
from resnet_dsl.evaluate.images import (
    HeldSource,
    PackedSource,
    Source,
    chosen,
    data_refused,
    open_source,
)
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.request import DataChoice, DataKind, Request, Split, data_choice
from resnet_dsl.evaluate.statistics import measured
from resnet_dsl.evaluate.views import batches
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_files import FileData
from resnet_dsl.runtime.data_images import check_channels
from resnet_dsl.runtime.data_tree import TEST_FOLDERS, is_image

if TYPE_CHECKING:
    from resnet_dsl.evaluate.feed import Raw
    from resnet_dsl.evaluate.normalise import Standard
    from resnet_dsl.evaluate.subjects import Subject

_CIFAR: dict[str, DataKind] = {
    "cifar-10-batches-py": "cifar10",
    "cifar-10-python.tar.gz": "cifar10",
    "cifar-100-python": "cifar100",
    "cifar-100-python.tar.gz": "cifar100",
}


@dataclass(frozen=True, eq=False)
class ImageOrigin:
    """The images of a source whose numbers are `numbers`, cut by `crops`. `training` is where images of its training
    can be measured; None where that is not what the source is part of."""

    source: Source
    numbers: Tensor
    crops: Crops
    classes: tuple[str, ...]
    place: str
    notes: tuple[str, ...]
    training: DataChoice | None

    @property
    def images(self) -> int:
        return len(self.numbers)

    @property
    def resize(self) -> int | None:
        return self.crops.resize

    @property
    def about(self) -> str:
        of = "" if self.images == len(self.source) else f" of {len(self.source):,}"
        return f"{self.images:,}{of} images {self.place}"

    def batches(self, size: int) -> Iterator[Raw]:
        for views, labels in batches(self.source, [self.crops], self.numbers, size):
            ((_, images),) = views[0][0]  # one geometry, one view, one size
            yield images.numpy(), labels.numpy() if self.classes else None

    def contents(self) -> Iterator[bytes | memoryview]:
        for number in self.numbers.tolist():
            yield f"{_label(self.source, number) if self.classes else ''} ".encode() + _content(
                self.source, number
            )


def open_images(
    subject: Subject,
    place: str | None,
    split: Split,
    limit: int | None,
    shape: tuple[int, int, int],
    classes: int | None,
) -> ImageOrigin:
    """The images at a place for a network of `shape` (C, H, W) that tells `classes` apart.

    Raises CompileError RD672 where they cannot be read, or are not for such a network.
    """
    choice = _choice(subject, place, split)
    flat = _without_tree(choice, shape[0], classes)
    if flat is not None:
        source: Source = flat
    else:
        told = classes if choice.kind in ("fake", "shards") else None
        source = open_source(choice, shape, told)
    found = source.data.images.shape[1] if isinstance(source, HeldSource) else shape[0]
    if found != shape[0]:
        raise refusal(
            "RD672",
            f"the images have {found} channel{'s' * (found != 1)}, and the network takes {shape[0]}",
            hint="give the images that the network was trained for",
        )
    labelled, notes = _labelled(subject, source.classes, classes)
    resize = subject.settings.get("resize")
    side = resize if isinstance(resize, int) else None
    if side is None and place is not None:
        side = min(shape[1:])
    crops = geometry(ViewOptions(), (shape[1], shape[2]), side, subject.name)
    assert isinstance(crops, Crops)
    return ImageOrigin(
        source,
        chosen(source, limit),
        crops,
        source.classes if labelled else (),
        _told(choice, flat is not None),
        notes,
        None if flat is not None else choice,
    )


def measure(
    subject: Subject,
    standard: Standard,
    shape: tuple[int, int, int],
    choice: DataChoice | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and std as the training measures them: on the images of `choice`, or on those that it was for.

    Raises CompileError: RD671 where they are not held in memory, RD672 where they cannot be read.
    """
    training = choice or data_choice(Request(split="train"), [subject])
    classes = subject.compilation.program.classes if subject.compilation is not None else 0
    settings = dict(subject.settings)
    if training.kind != settings.get("data"):
        settings["validation"] = 0  # it is of the training's own images that some are held out
    mean, std = measured(standard, training, shape, classes, settings)
    return mean.numpy(), std.numpy()


def _choice(subject: Subject, place: str | None, split: Split) -> DataChoice:
    if place is None:  # nobody asked for a download
        return replace(data_choice(Request(split=split), [subject]), download=False)
    if place in ("digits", "fake"):
        return DataChoice("digits" if place == "digits" else "fake", None, split)
    path = Path(place)
    if "::" in place:
        return DataChoice("shards", path, split)
    if not path.exists():
        raise refusal(
            "RD672",
            f"there is nothing at `{place}`",
            why="images are a folder, an archive (.tar, .tar.gz), an .npy, or `digits`",
            hint="give the path of one of these",
        )
    return DataChoice(_kind(path), path, split)


def _kind(path: Path) -> DataKind:
    """What a file or folder holds, as its names say."""
    if path.name in _CIFAR:
        return _CIFAR[path.name]
    if not path.is_dir():
        return "folder"
    for name, kind in _CIFAR.items():
        if (path / name).exists():
            return kind
    folders = [path, *(path / name for name in ("train", *TEST_FOLDERS))]
    return "shards" if any(next(each.glob("*.tar"), None) for each in folders) else "folder"


def _without_tree(choice: DataChoice, channels: int, classes: int | None) -> FileData | None:
    """The images of a folder that has no folders for splits: of all its files, or (if they are as many as the network
    has classes) of class folders; None for other places. Raises CompileError RD672."""
    path = choice.path
    if choice.kind != "folder" or path is None or not path.is_dir():
        return None
    if any((path / name).is_dir() for name in ("train", *TEST_FOLDERS)):
        return None
    names = sorted(_images_in(path))
    if not names:
        raise refusal(
            "RD672",
            f"`{path}` holds no images",
            why="image files end in .jpg, .png and the like, and are not hidden",
            hint="give a folder of images, with or without folders for classes in it",
        )
    try:
        check_channels(channels)
    except DataError as error:
        raise data_refused(error) from error
    tops = [name.partition("/") for name in names]
    found = sorted({top for top, slash, _ in tops if slash})
    if classes is None or len(found) != classes or not all(slash for _, slash, _ in tops):
        return FileData(path, tuple(names), None, torch.zeros(len(names)).long(), (), channels)
    order = {name: label for label, name in enumerate(found)}
    labels = torch.tensor([order[top] for top, _, _ in tops])
    return FileData(path, tuple(names), None, labels, tuple(found), channels)


def _images_in(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder, followlinks=False):
        within = os.path.relpath(place, folder).replace(os.sep, "/")
        names = (name if within == "." else f"{within}/{name}" for name in files)
        yield from filter(is_image, names)


def _labelled(
    subject: Subject, found: tuple[str, ...], classes: int | None
) -> tuple[bool, tuple[str, ...]]:
    """Whether the labels of images are those of the network, and what to say of it."""
    trained = subject.run.texts("classes") if subject.run else ()
    if not found or classes is None:
        return False, ()
    if len(found) != classes:
        return False, (
            f"the images have {len(found)} classes, and the network tells {classes} apart: "
            "they are taken without labels",
        )
    if trained and trained != found and sorted(trained) == sorted(found):
        return False, (
            "the classes of the images stand in another order than in the training: "
            "they are taken without labels",
        )
    return True, ()


def _told(choice: DataChoice, flat: bool) -> str:
    kinds = {"folder": "", "shards": "", "fake": "of noise"}
    kind = kinds.get(choice.kind, f"of {choice.kind}")
    place = f"in {choice.path}" if choice.path is not None else ""
    split = "" if flat else f"({choice.split} split)"
    return " ".join(filter(None, (kind, place, split)))


def _label(source: Source, number: int) -> int:
    match source:
        case HeldSource(data):
            return int(data.labels[number])
        case PackedSource() | FileData():
            return int(source.labels[number])
        case _:
            return source.sample(number)[1]


def _content(source: Source, number: int) -> bytes:
    """What an image is read from: its file, or its pixels. Raises CompileError RD672."""
    try:
        match source:
            case HeldSource(data):
                return bytes(data.images[number].contiguous().numpy().data)
            case PackedSource():
                return source.contents[number]
            case FileData():
                return source.content(number)
            case _:
                image, _ = source.sample(number)
                pixels = image.numpy() if isinstance(image, Tensor) else np.asarray(image)
                return pixels.tobytes()
    except DataError as error:
        raise data_refused(error) from error
