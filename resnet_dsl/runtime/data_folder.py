"""Image folders and archives of them, decoded into memory."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from resnet_dsl.runtime.data import ArrayData, DataError
from resnet_dsl.runtime.data_archives import members_of
from resnet_dsl.runtime.data_images import centre_crop, check_channels, decode_image
from resnet_dsl.runtime.data_tree import (
    TEST_FOLDERS,
    is_image,
    listing_of,
    names_in_folder,
    tree_name,
)


def load_folder(
    path: Path, split: str, *, channels: int, size: tuple[int, int], resize: int | None
) -> ArrayData:
    """The images of "train" or "test" of an image folder or archive; see `load_folders`."""
    (data,) = load_folders(path, (split,), channels=channels, size=size, resize=resize)
    return data


def load_folders(
    path: Path,
    splits: tuple[str, ...],
    *,
    channels: int,
    size: tuple[int, int],
    resize: int | None,
) -> list[ArrayData]:
    """The images of several splits ("train", "test"), read in one pass: (N, C, H, W) uint8 each.

    `path` is a folder, or a .tar, .tar.gz or .tgz, with train/<class>/ and test/<class>/ (or val, or
    validation). `size` is (height, width): images have it, or are brought to it by `resize`, the length
    of their shorter side before the centre is cropped. Raises DataError.
    """
    check_channels(channels)
    names: list[str] = []
    if path.is_dir():
        names += names_in_folder(path)
        listings = [listing_of(names, split, path) for split in splits]
        files = files_in_folder(path, [name for each in listings for name in each.files])
    else:
        folders = {"train"} if splits == ("train",) else set(TEST_FOLDERS)
        files = files_in_archive(path, folders.union(splits), names)
    decoded: list[str] = []
    parts: deque[Tensor] = deque()
    for batch, images in decode_all(files, path, channels, size, resize):
        decoded += batch
        parts.append(images)
    listings = [listing_of(names, split, path) for split in splits]
    wanted = [name for listing in listings for name in listing.files]
    images = in_order(parts, decoded, wanted)
    found = torch.split(images, [len(each.files) for each in listings])
    return [
        ArrayData(part, each.labels, each.classes)
        for part, each in zip(found, listings, strict=True)
    ]


def files_in_folder(folder: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The named files with their content. Raises DataError."""
    for name in names:
        try:
            yield name, (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / name} cannot be read: {error.strerror}") from None


def files_in_archive(
    path: Path, folders: set[str], names: list[str]
) -> Iterator[tuple[str, bytes]]:
    """The images in some of an archive's top folders with their content; all paths that are passed, of
    whatever folder, go to `names`. Raises DataError."""

    def wanted(name: str) -> bool:
        name = tree_name(name)
        return name.partition("/")[0] in folders and is_image(name)

    for member in members_of(path, wanted):
        names.append(tree_name(member.name))
        if wanted(member.name):
            yield names[-1], member.content


def decode_all(
    files: Iterator[tuple[str, bytes]],
    where: Path,
    channels: int,
    size: tuple[int, int],
    resize: int | None,
) -> Iterator[tuple[list[str], Tensor]]:
    """Names and images (B, C, H, W), a few hundred at a time; large ones are decoded by threads.

    Raises DataError where an image is damaged or they are more than memory holds.
    """

    def decode_batch(batch: list[tuple[str, bytes]]) -> tuple[list[str], Tensor]:
        images = torch.empty(len(batch), channels, *size, dtype=torch.uint8)
        for place, (name, content) in zip(images, batch, strict=True):
            place.copy_(decode_image(content, f"{where}: {name}", channels, size, crop))
        return [name for name, _ in batch], images

    crop = None if resize is None else centre_crop(size, resize)
    threads = os.cpu_count() or 1
    room = 0.8 * memory_size()
    pending: deque[Future[tuple[list[str], Tensor]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(files, 256)):
            room -= len(batch) * channels * size[0] * size[1]
            if room < 0:
                raise DataError(
                    f"the images of {where} are more than this machine's memory holds\n"
                    "write `memory: false` in the train section, to have them read as they are needed"
                )
            if sum(len(content) for _, content in batch) < 8192 * len(batch):
                yield decode_batch(
                    batch
                )  # threads would wait for one another longer than they decode
                continue
            pending.append(pool.submit(decode_batch, batch))
            if len(pending) > 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def memory_size() -> float:
    """Bytes of memory that this machine has; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return math.inf


def in_order(parts: deque[Tensor], names: list[str], wanted: list[str]) -> Tensor:
    """The images `wanted` (N, C, H, W), in that order, from parts (B, C, H, W) whose images have `names`.
    Parts are given up one by one, so that images are not held twice; of equal names the last counts."""
    rows = {name: row for row, name in enumerate(wanted)}
    target = torch.tensor([rows.get(name, -1) for name in names])
    images = torch.empty(len(wanted), *parts[0].shape[1:], dtype=torch.uint8)
    begin = 0
    while parts:
        part = parts.popleft()
        places = target[begin : begin + len(part)]
        begin += len(part)
        last = {place: row for row, place in enumerate(places.tolist()) if place >= 0}
        images[list(last)] = part[list(last.values())]
    return images
