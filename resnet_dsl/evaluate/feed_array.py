"""Images in an .npy file, which stays on the disk: (N, C, H, W), float32 ready for the network, or uint8 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.refusal import refusal

if TYPE_CHECKING:
    from resnet_dsl.evaluate.feed import Raw

_LIKE_PIXELS = 30.0  # what a standardised image hardly reaches, and pixels from 0 to 255 do
_MOST = 1e6  # beyond it, nothing is an image
_CHUNK = 1 << 26  # bytes that are read at a time


@dataclass(frozen=True, eq=False)
class ArrayOrigin:
    """The images of `pixels` (N, C, H, W) whose numbers are `chosen`."""

    pixels: NDArray[Any]
    chosen: NDArray[np.int64]
    path: Path
    notes: tuple[str, ...] = ()

    classes: tuple[str, ...] = ()
    resize: int | None = None

    @property
    def are_pixels(self) -> bool:
        """Whether they are bytes, and are to be standardised."""
        return self.pixels.dtype == np.uint8

    @property
    def images(self) -> int:
        return len(self.chosen)

    @property
    def about(self) -> str:
        of = "" if self.images == len(self.pixels) else f" of {len(self.pixels):,}"
        return f"{self.images:,}{of} images in {self.path}"

    def batches(self, size: int) -> Iterator[Raw]:
        for begin in range(0, self.images, size):
            yield self._read(begin, size), None

    def contents(self) -> Iterator[memoryview]:
        for begin in range(self.images):
            yield np.ascontiguousarray(self._read(begin, 1)).data

    def _read(self, begin: int, count: int) -> NDArray[Any]:
        """Some of them, in the byte order of this machine."""
        found = self.pixels[self.chosen[begin : begin + count]]
        return found.astype(found.dtype.newbyteorder("="), copy=False)


def open_array(path: Path, shape: tuple[int, int, int], limit: int | None) -> ArrayOrigin:
    """The images of a file for a network that takes `shape` (C, H, W). Reads those that are taken, to check them.

    Raises CompileError RD680 where the file is not what `numpy.save` writes of such images.
    """
    try:
        pixels = open_memmap(path, mode="r")
    except OSError as error:
        raise _refused(f"`{path}` cannot be read", str(error.strerror or error)) from error
    except Exception as error:  # what damaged headers raise has no common class
        raise _refused(f"`{path}` is not a whole .npy of numbers", str(error)) from error
    _check_form(path, pixels, shape)
    count = len(pixels) if limit is None else min(limit, len(pixels))
    chosen = np.arange(count, dtype=np.int64) * len(pixels) // count
    found = ArrayOrigin(pixels, chosen, path)
    if found.are_pixels:
        return found
    largest = _largest(found)
    if largest <= _LIKE_PIXELS:
        return found
    note = (
        f"`{path}` reaches {largest:g}: floats are taken as ready for the network, and standardised images hardly do; "
        "save pixels as uint8, to have them standardised"
    )
    return ArrayOrigin(pixels, chosen, path, (note,))


def _check_form(path: Path, pixels: NDArray[Any], shape: tuple[int, int, int]) -> None:
    if pixels.dtype not in (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(">f4")):
        raise _refused(
            f"`{path}` holds {pixels.dtype} numbers",
            "images are float32, standardised and ready for the network, or uint8 pixels",
        )
    if pixels.ndim != 4 or pixels.shape[1:] != shape or not len(pixels):
        wanted = ", ".join(map(str, shape))
        raise _refused(
            f"`{path}` holds an array of {'×'.join(map(str, pixels.shape))}",
            f"the network takes images of (N, {wanted})",
        )


def _largest(found: ArrayOrigin) -> float:
    """The largest absolute number. Raises CompileError RD680 for what is no number, or beyond any image."""
    step = max(1, _CHUNK // max(1, found.pixels[0].nbytes))
    largest, seen = 0.0, 0
    for images, _ in found.batches(step):
        here = np.abs(images).reshape(len(images), -1).max(1)
        good = here <= _MOST  # false for what is no number, too
        if not good.all():
            place = int(found.chosen[seen + int(good.argmin())])
            raise _refused(
                f"image {place} of `{found.path}` holds {float(here[good.argmin()])}",
                f"numbers are finite, and at most {_MOST:g}",
            )
        largest, seen = max(largest, float(here.max())), seen + len(images)
    return largest


def _refused(message: str, why: str) -> CompileError:
    hint = "write it with numpy.save: an array (N, C, H, W) of float32 or uint8"
    return refusal("RD680", message, why=why, hint=hint)
