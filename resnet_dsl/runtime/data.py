"""Images that memory holds, how they are divided and checked, and the two sets that need no files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


class DataError(Exception):
    """What is wrong with the data, and what to do about it: a line or two for the user."""


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Images in memory: (N, C, H, W), uint8 or float32 in [0, 1]; their labels (N,) int64; and the
    names of the classes, in the order of the labels."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load_digits_images(split: str) -> ArrayData:
    """scikit-learn's digits, 8×8 and grey: 1437 images to "train" on and 360 to "test", divided once
    and for all with the classes in equal shares."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise DataError(
            "the data `digits` are part of scikit-learn, which is not installed\n"
            "install it: python -m pip install scikit-learn"
        ) from None
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target, dtype=torch.int64)
    train, test = train_test_split(
        range(len(labels)), test_size=360, stratify=digits.target, random_state=0
    )
    chosen = torch.tensor(train if split == "train" else test)
    return ArrayData(images[chosen], labels[chosen], tuple(map(str, range(10))))


def fake_images(count: int, shape: tuple[int, int, int], classes: int, seed: int) -> ArrayData:
    """`count` images of noise (C, H, W), with the classes in turn: to measure speed, and for nothing else."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=draws)
    return ArrayData(images, torch.arange(count) % classes, tuple(map(str, range(classes))))


def check_fits(data: ArrayData, *, shape: tuple[int, int, int], classes: int) -> None:
    """Raises DataError unless the images are of `shape` (C, H, W), of as many classes as the network
    tells apart."""
    check_classes(data.classes, classes)
    found = tuple(data.images.shape[1:])
    if found != shape:
        channels, height, width = found
        size = f"{height}" if height == width else f"[{height}, {width}]"
        raise DataError(
            f"the images are {times(found)} (channels × height × width) and the network takes "
            f"{times(shape)}\n"
            f"write `input: {{channels: {channels}, size: {size}}}` in the spec, or take other data"
        )


def check_classes(names: tuple[str, ...], classes: int) -> None:
    """Raises DataError unless there are as many names as the network tells classes apart."""
    if len(names) != classes:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise DataError(
            f"the data have {counted(len(names), 'class', 'classes')} ({shown}) and the network "
            f"tells {classes} apart\nwrite `classes: {len(names)}` in the spec, or take other data"
        )


def times(numbers: tuple[int, ...]) -> str:
    """Lengths as they are read: 3×32×32."""
    return "×".join(map(str, numbers))


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun: 1 class, 2 classes."""
    return f"{number:,} {one if number == 1 else many}"


def hold_out(data: ArrayData, count: int, seed: int) -> tuple[ArrayData, ArrayData]:
    """The data without `count` images, and these: of each class its share. Raises DataError."""
    rest, held = divided(data.labels, count, seed)
    return (
        ArrayData(data.images[rest], data.labels[rest], data.classes),
        ArrayData(data.images[held], data.labels[held], data.classes),
    )


def divided(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Where in `labels` (N,) the images stand that remain, and the `count` that are held out, both in
    rising order. Each class gives its share, rounded so that they add up, and keeps an image.

    Raises DataError where the classes are too small for that.
    """
    sizes = torch.bincount(labels)
    spare = (sizes - 1).clamp(min=0)
    if count > int(spare.sum()):
        raise DataError(
            f"of {counted(len(labels), 'training image', 'training images')}, {count:,} cannot be "
            "held out: each class must keep one\nwrite a smaller `validation`"
        )
    shares = sizes.double() * count / len(labels)
    taken = torch.minimum(shares.floor().long(), spare)
    while (missing := count - int(taken.sum())) > 0:
        owed = torch.where(taken < spare, shares - taken, -torch.inf)
        most = owed.argsort(descending=True, stable=True)[
            : min(missing, int((owed > -torch.inf).sum()))
        ]
        taken[most] += 1
    draws = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label, number in enumerate(taken.tolist()):
        members = (labels == label).nonzero().flatten()
        held[members[torch.randperm(len(members), generator=draws)[:number]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def fingerprint(data: ArrayData) -> str:
    """SHA-256 of class names, labels and images: the same for equal data, wherever they were read from."""
    found = hashlib.sha256(repr((data.classes, data.images.shape, data.images.dtype)).encode())
    found.update(data.labels.numpy().data)
    for part in torch.split(data.images, 4096):
        found.update(part.contiguous().numpy().data)
    return found.hexdigest()
