"""Images to evaluate on, read as the training reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.request import DataChoice, Split
from resnet_dsl.runtime.data import ArrayData, DataError, fake_images, load_digits_images
from resnet_dsl.runtime.data_archives import is_packed
from resnet_dsl.runtime.data_cifar import load_cifar
from resnet_dsl.runtime.data_files import open_folder
from resnet_dsl.runtime.data_folder import files_in_archive
from resnet_dsl.runtime.data_images import check_channels, open_image
from resnet_dsl.runtime.data_shards import open_shards
from resnet_dsl.runtime.data_statistics import evenly_spaced
from resnet_dsl.runtime.data_tree import TEST_FOLDERS, listing_of

_FAKE = 1024  # images


class Source(Protocol):
    """Images by number, and the names of their classes in the order of the labels."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def sample(self, index: int) -> tuple[Image.Image | Tensor, int]:
        """An image, (C, H, W) if it is a tensor, and its label. Raises DataError."""
        ...


@dataclass(frozen=True, eq=False)
class HeldSource:
    """Images that memory holds as pixels."""

    data: ArrayData

    @property
    def classes(self) -> tuple[str, ...]:
        return self.data.classes

    def __len__(self) -> int:
        return len(self.data)

    def sample(self, index: int) -> tuple[Image.Image | Tensor, int]:
        """Bytes as an image of PIL, so that they are scaled as files are; floats as a tensor."""
        image, label = self.data.images[index], int(self.data.labels[index])
        if image.dtype != torch.uint8 or len(image) not in (1, 3):
            return image, label
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        return Image.fromarray(pixels[:, :, 0] if len(image) == 1 else pixels), label


@dataclass(frozen=True, eq=False)
class PackedSource:
    """The image files of a compressed archive, which cannot be read at random: memory holds them as they are."""

    path: Path
    names: tuple[str, ...]
    contents: tuple[bytes, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    channels: int

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, index: int) -> tuple[Image.Image | Tensor, int]:
        name = f"{self.path}: {self.names[index]}"
        return open_image(self.contents[index], name, self.channels), self.labels[index]


def open_source(choice: DataChoice, shape: tuple[int, int, int], classes: int | None) -> Source:
    """The images of a choice for networks that take `shape` (C, H, W) and tell `classes` apart (None: any number).

    Raises CompileError RD672 where they cannot be read, or are of other classes.
    """
    with reported():
        found = _opened(choice, shape, classes)
    if classes is not None and len(found.classes) != classes:
        shown = ", ".join(found.classes[:5]) + (", …" if len(found.classes) > 5 else "")
        raise refusal(
            "RD672",
            f"the images have {len(found.classes)} classes, and the network tells {classes} apart",
            why=f"the classes are {shown}",
            hint="give the images that the network was trained for, with --data and --path",
        )
    if not len(found):
        raise refusal("RD672", f"there are no images in the {choice.split} split")
    return found


def _opened(choice: DataChoice, shape: tuple[int, int, int], classes: int | None) -> Source:
    kind, split = choice.kind, choice.split
    if kind == "digits":
        return HeldSource(load_digits_images(split))
    if kind == "fake":
        return HeldSource(fake_images(_FAKE, shape, classes or 10, seed=int(split == "test")))
    path = choice.path
    if path is None:
        raise refusal(
            "RD672",
            f"nothing says where the images of `{kind}` lie",
            hint="name the place with --path",
        )
    if kind == "cifar10" or kind == "cifar100":
        return HeldSource(load_cifar(path, kind, split, download=choice.download))
    if kind == "shards":
        return open_shards(path, split, channels=shape[0], classes=classes or 1000)
    if not path.is_dir() and is_packed(path):
        return _packed(path, split, shape[0])
    return open_folder(path, split, channels=shape[0])


def _packed(path: Path, split: Split, channels: int) -> PackedSource:
    """The image files of a split of a .tar.gz. Raises DataError."""
    check_channels(channels)
    names: list[str] = []
    folders = {"train"} if split == "train" else set(TEST_FOLDERS)
    contents = dict(files_in_archive(path, folders, names))
    listing = listing_of(names, split, path)
    return PackedSource(
        path,
        listing.files,
        tuple(contents[name] for name in listing.files),
        tuple(listing.labels.tolist()),
        listing.classes,
        channels,
    )


def chosen(source: Source, limit: int | None) -> Tensor:
    """The numbers of the images to evaluate on: all, or `limit` of them, evenly spaced."""
    return evenly_spaced(len(source), len(source) if limit is None else limit)


@contextmanager
def reported() -> Iterator[None]:
    """Turn what is wrong with data into a diagnostic."""
    try:
        yield
    except DataError as error:
        raise data_refused(error) from error


def data_refused(error: DataError) -> CompileError:
    """What a DataError says, as a diagnostic: its first line is what is wrong, the others what to do."""
    message, _, hint = str(error).partition("\n")
    return refusal("RD672", message, hint=hint or None)
