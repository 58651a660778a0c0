"""Image folders and plain archives of them, whose images are read when they are asked for."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from resnet_dsl.runtime.data import DataError, divided, times
from resnet_dsl.runtime.data_archives import is_packed, members_of, read_range
from resnet_dsl.runtime.data_images import IMAGE_FORMATS, check_channels, open_image
from resnet_dsl.runtime.data_tree import listing_of, names_in_folder, tree_name


@dataclass(frozen=True, eq=False)
class FileData:
    """Images in the files of a folder, or of a plain .tar, at `root`: their names; in an archive their
    offsets and sizes, (N, 2); their labels (N,) int64; the names of the classes in the order of the
    labels; and the channels that images are read with."""

    root: Path
    names: tuple[str, ...]
    places: Tensor | None
    labels: Tensor
    classes: tuple[str, ...]
    channels: int

    def __len__(self) -> int:
        return len(self.labels)

    def content(self, index: int) -> bytes:
        """The bytes of an image's file. Raises DataError."""
        if self.places is not None:
            offset, size = self.places[index].tolist()
            return read_range(self.root, offset, size)
        try:
            return (self.root / self.names[index]).read_bytes()
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None

    def sample(self, index: int) -> tuple[Image.Image, int]:
        """An image and its label. Raises DataError."""
        name = f"{self.root}: {self.names[index]}"
        return open_image(self.content(index), name, self.channels), int(self.labels[index])


def open_folder(path: Path, split: str, *, channels: int) -> FileData:
    """The images of "train" or "test" of a folder, or of a plain .tar, with train/<class>/ and
    test/<class>/ (or val, or validation). Raises DataError.

    An archive is read through once, its headers only, to know where the images stand.
    """
    check_channels(channels)
    if path.is_dir():
        listing = listing_of(names_in_folder(path), split, path)
        return FileData(path, listing.files, None, listing.labels, listing.classes, channels)
    if is_packed(path):
        raise DataError(
            f"{path} is compressed, so no image can be read before all that stand in front of it\n"
            f"unpack it (gunzip {path.name}), or write `memory: true` in the train section"
        )
    found = {
        tree_name(each.name): (each.offset, each.size) for each in members_of(path, lambda _: False)
    }
    listing = listing_of(found, split, path)
    places = torch.tensor([found[name] for name in listing.files])
    return FileData(path, listing.files, places, listing.labels, listing.classes, channels)


def hold_out_files(data: FileData, count: int, seed: int) -> tuple[FileData, FileData]:
    """The data without `count` images, and these: of each class its share. Raises DataError."""
    rest, held = divided(data.labels, count, seed)
    return part_of_files(data, rest), part_of_files(data, held)


def part_of_files(data: FileData, chosen: Tensor) -> FileData:
    """The images at the given places (M,) of the data."""
    names = tuple(data.names[index] for index in chosen.tolist())
    places = None if data.places is None else data.places[chosen]
    return FileData(data.root, names, places, data.labels[chosen], data.classes, data.channels)


def check_file_sizes(data: FileData, size: tuple[int, int]) -> None:
    """Raises DataError if one of 100 images, evenly spaced, is not of that height and width."""
    for index in range(0, len(data), -(-len(data) // 100)):
        name = f"{data.root}: {data.names[index]}"
        try:
            with Image.open(io.BytesIO(data.content(index)), formats=IMAGE_FORMATS) as image:
                found = image.height, image.width
        except OSError:
            continue  # the training, if it reaches it, says what is wrong
        if found != size:
            raise DataError(
                f"{name} is {times(found)} pixels and the network takes {times(size)}\n"
                f"write `resize: {min(size)}` or a `crop` in the train section, or a `size` in the spec"
            )


def fingerprint_files(data: FileData) -> str:
    """SHA-256 of class names, labels, and the names and sizes of the files, which are not read."""
    found = hashlib.sha256(repr((data.classes, data.channels)).encode())
    found.update(data.labels.numpy().data)
    if data.places is None:
        sizes = [(data.root / name).stat().st_size for name in data.names]
    else:
        sizes = data.places[:, 1].tolist()
    for name, size in zip(data.names, sizes, strict=True):
        found.update(f"{size} {name}\n".encode())
    return found.hexdigest()
