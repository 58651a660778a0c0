"""Small image sets for tests: files of smooth noise, in folders and archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def photograph(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """An image of smooth noise, width by height."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    """The bytes of an image's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def small_tree(train: int = 4, test: int = 2, size: tuple[int, int] = (8, 8)) -> dict[str, bytes]:
    """Files by name: two classes, and so many images of each."""
    return {
        f"{split}/{kind}/{number}.jpg": encoded(photograph(100 * number + 10 * place + count, size))
        for split, count in (("train", train), ("test", test))
        for place, kind in enumerate(("cat", "dog"))
        for number in range(count)
    }


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a folder, which is made."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    """The files in an archive, in the order in which they are given: mode "w", or "w:gz"."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
