"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from the folder that torchvision makes or the archive it fetches."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from resnet_dsl.runtime.data import ArrayData, DataError


def load_cifar(path: Path, kind: str, split: str, *, download: bool) -> ArrayData:
    """The 50,000 images to "train" on or the 10,000 to "test", (N, 3, 32, 32) uint8.

    `path` is a folder that holds torchvision's folder or the archive of the data's own site
    (cifar-10-python.tar.gz), or is either of them; with `download`, a folder that torchvision fetches
    them into unless they are there. CIFAR-100 has its 100 fine classes. Raises DataError.

    The files are pickles, which may run code, so only those are opened whose MD5 is the published one.
    """
    known: type[CIFAR10] = CIFAR10 if kind == "cifar10" else CIFAR100
    listed: list[list[str]] = known.train_list if split == "train" else known.test_list
    wanted = {**dict(listed), known.meta["filename"]: known.meta["md5"]}
    place = find_cifar(path, known)
    if place is None and download:
        fetch_cifar(path, known)
        place = find_cifar(path, known)
    if place is None:
        raise DataError(
            f"{path} holds neither the folder {known.base_folder} nor the archive {known.filename}\n"
            f"--data names the folder that holds them; `download: true` fetches them from {known.url}"
        )
    files = (
        cifar_from_archive(place, wanted) if place.is_file() else cifar_from_folder(place, wanted)
    )
    opened: dict[str, dict[str, Any]] = {}
    for name, md5 in wanted.items():
        if hashlib.md5(files[name], usedforsecurity=False).hexdigest() != md5:
            raise DataError(
                f"{name} in {place} is not the published file (its MD5 is another), and is not "
                f"opened, since a pickle may run code\ndelete it and get {known.filename} from {known.url}"
            )
        opened[name] = pickle.loads(files[name], encoding="latin1")
    classes = tuple(opened.pop(known.meta["filename"])[known.meta["key"]])
    parts = list(opened.values())
    images = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = [
        label for part in parts for label in part["labels" if "labels" in part else "fine_labels"]
    ]
    return ArrayData(torch.from_numpy(images), torch.tensor(labels), classes)


def find_cifar(path: Path, known: type[CIFAR10]) -> Path | None:
    """The folder of the batches or the archive, at `path` or in it."""
    folder: Path = path / known.base_folder
    archive: Path = path / known.filename
    if path.is_file():
        return path
    if folder.is_dir() or archive.is_file():
        return folder if folder.is_dir() else archive
    return path if (path / known.meta["filename"]).is_file() else None


def fetch_cifar(path: Path, known: type[CIFAR10]) -> None:
    """Has torchvision download and unpack the data into the folder `path`."""
    try:
        known(root=path, download=True)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise DataError(
            f"{known.url} cannot be downloaded to {path}: {error}\n"
            f"get {known.filename} by other means, and name the folder that holds it with --data"
        ) from None


def cifar_from_folder(folder: Path, names: dict[str, str]) -> dict[str, bytes]:
    """The named files of a folder. Raises DataError."""
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None


def cifar_from_archive(archive: Path, names: dict[str, str]) -> dict[str, bytes]:
    """The named files of an archive, wherever in it they stand. Raises DataError."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as unpacked:
            for member in unpacked:
                name = member.name.rpartition("/")[2]
                if name in names and member.isreg() and member.size < 2**28:
                    content = unpacked.extractfile(member)
                    found[name] = content.read() if content else b""
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{archive} cannot be read as an archive of CIFAR: {error}") from None
    if missing := sorted(names.keys() - found.keys()):
        raise DataError(
            f"{archive} has no {missing[0]}: it is not the archive of CIFAR for Python\n"
            "an archive of image files is `data: folder`"
        )
    return found
