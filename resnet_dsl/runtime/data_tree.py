"""Which images stand where in train/<class>/ and test/<class>/, in a folder or an archive."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from resnet_dsl.runtime.data import DataError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
TEST_FOLDERS = ("test", "val", "validation")


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of a split, by class and then by name; their labels (N,); the names of the classes."""

    files: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]


def is_image(name: str) -> bool:
    """Whether a path's ending says that the file is an image; hidden files and folders do not count."""
    return name.lower().endswith(IMAGE_ENDINGS) and "/." not in f"/{name}"


def names_in_folder(folder: Path) -> list[str]:
    """What stands in a folder, and in its folders train and test (val, validation) at any depth: paths
    from the folder on, those of folders with a slash at the end. Raises DataError."""

    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}")

    try:
        names = [f"{each.name}/" if each.is_dir() else each.name for each in os.scandir(folder)]
    except OSError as error:
        refuse(error)
    for split in {f"{name}/" for name in ("train", *TEST_FOLDERS)}.intersection(names):
        for place, folders, files in os.walk(folder / split, onerror=refuse, followlinks=True):
            within = os.path.relpath(place, folder).replace(os.sep, "/")
            names += [f"{within}/{name}/" for name in folders]
            names += [f"{within}/{name}" for name in files]
    return names


def tree_name(name: str) -> str:
    """A path in an archive, from the split's folder on, which may stand in a folder of its own:
    ./cifar/train/cat/1.jpg is train/cat/1.jpg."""
    splits = ("train", *TEST_FOLDERS)
    name = name.removeprefix("./")
    first, _, rest = name.partition("/")
    return rest if first not in splits and rest.partition("/")[0] in splits else name


def listing_of(names: Iterable[str], split: str, where: Path) -> Listing:
    """The files of "train" or "test" among `names`, which are paths as `names_in_folder` gives them.

    Classes are the folders of train, sorted as text (torchvision's order: "10" comes before "2").
    Raises DataError, which names the folder or archive `where` they stand, if the split or its images
    are missing, a class of train has none, or one of test is none of train.
    """
    found: dict[str, dict[str, list[str]]] = {}
    top: set[str] = set()
    for name in dict.fromkeys(names):
        first, _, rest = name.partition("/")
        kind, slash, file = rest.partition("/")
        top.add(first)
        if slash and not kind.startswith("."):
            files = found.setdefault(first, {}).setdefault(kind, [])
            if is_image(file):
                files.append(name)
    folder = "train" if split == "train" else next((f for f in TEST_FOLDERS if f in found), "test")
    if folder not in found:
        others = "" if folder == "train" else " (nor `val`, nor `validation`)"
        held = ", ".join(sorted(top)[:5]) + (", …" if len(top) > 5 else "")
        raise DataError(
            f"{where} has no folder `{folder}`{others} with a folder for each class; it holds "
            f"{held or 'nothing'}\nimages stand in train/<class>/ and test/<class>/"
        )
    known = found.get("train", found[folder])
    classes = tuple(sorted(known))
    if bad := next((name for name in classes if not name.isprintable()), None):
        raise DataError(f"{where} has a class whose name is no printable text: {bad!r}\nrename it")
    if stranger := next((name for name in sorted(found[folder]) if name not in known), None):
        raise DataError(
            f"{where} has the class `{stranger}` in {folder} and not in train\n"
            "name the class folders of both alike"
        )
    if empty := [name for name in classes if not known[name] and folder == "train"]:
        raise DataError(
            f"{where} has no images in {folder}/{empty[0]}\n"
            f"image files end in {', '.join(IMAGE_ENDINGS)}; take the folder away if there are none"
        )
    groups = [sorted(found[folder].get(name, ())) for name in classes]
    files = [name for group in groups for name in group]
    if not files:
        raise DataError(
            f"{where} has no images in {folder}; they end in {', '.join(IMAGE_ENDINGS)}"
        )
    sizes = torch.tensor([len(group) for group in groups])
    return Listing(tuple(files), torch.arange(len(classes)).repeat_interleave(sizes), classes)
