"""Views of images, cut by threads while a network runs on those before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from resnet_dsl.evaluate.geometry import Crops, Geometry, Scales, Size
from resnet_dsl.evaluate.images import HeldSource, Source, data_refused
from resnet_dsl.runtime.data import DataError

# Images of one size (b, C, h, w), and which of the batch they are (b,); None: all, in order.
Group: TypeAlias = tuple[Tensor | None, Tensor]
# One view of each image of a batch, such as the upper left corner: in groups by their size.
View: TypeAlias = list[Group]


def batches(
    source: Source, geometries: Sequence[Geometry], numbers: Tensor, size: int
) -> Iterator[tuple[list[list[View]], Tensor]]:
    """For `size` images at a time: the views of each geometry, and the labels (B,).

    Pixels are uint8, or floats in [0, 1]. Raises CompileError RD672.
    """
    if isinstance(source, HeldSource) and _are_whole(source.data.images, geometries):
        for part in torch.split(numbers, size):
            images = source.data.images[part]
            yield [[[(None, images)]] for _ in geometries], source.data.labels[part]
        return
    threads = os.cpu_count() or 1
    waiting: deque[Future[tuple[list[list[Tensor]], int]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            ahead = iter(numbers.tolist())
            for number in chain(ahead, [None] * len(numbers)):
                if number is not None:
                    waiting.append(pool.submit(_cut, source, geometries, number))
                    if len(waiting) < 2 * size:
                        continue
                if not waiting:
                    return
                done = [waiting.popleft().result() for _ in range(min(size, len(waiting)))]
                labels = torch.tensor([label for _, label in done])
                yield _collated([views for views, _ in done]), labels
        except DataError as error:
            raise data_refused(error) from error
        finally:
            for future in waiting:
                future.cancel()


def cut(image: Image.Image | Tensor, geometry: Geometry) -> list[Tensor]:
    """The views of one image (PIL's, or (C, H, W)): (C, h, w) each. Raises DataError where it is of another size than
    the network takes and is not to be scaled."""
    match geometry:
        case Scales(sides):
            return [_pixels(_scaled(image, side)) for side in sides]
        case Crops(size, resize, corners):
            if resize is None and _size(image) != size:
                raise DataError(
                    f"images of {_by(_size(image))} pixels, and the network takes {_by(size)}\n"
                    f"--resize {round(min(size) * 8 / 7)} scales the shorter side before the centre is "
                    f"cropped, and --resize {min(size)} crops the least"
                )
            pixels = _pixels(image if resize is None else _scaled(image, resize))
            return [_part(pixels, place, size) for place in _places(_size(pixels), size, corners)]


def _are_whole(images: Tensor, geometries: Sequence[Geometry]) -> bool:
    """Whether every geometry has one view, the image as it is."""
    size = _size(images)
    return all(
        isinstance(each, Crops)
        and not each.corners
        and each.size == size
        and each.resize in (None, min(size))
        for each in geometries
    )


def _cut(
    source: Source, geometries: Sequence[Geometry], number: int
) -> tuple[list[list[Tensor]], int]:
    image, label = source.sample(number)
    return [cut(image, geometry) for geometry in geometries], label


def _collated(images: list[list[list[Tensor]]]) -> list[list[View]]:
    """From image, geometry, view to geometry, view, groups of images."""
    by_geometry = zip(*images, strict=True)
    return [[_grouped(view) for view in zip(*views, strict=True)] for views in by_geometry]


def _grouped(images: Sequence[Tensor]) -> View:
    places: dict[Size, list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(_size(image), []).append(place)
    if len(places) == 1:
        return [(None, torch.stack(list(images)))]
    return [
        (torch.tensor(group), torch.stack([images[place] for place in group]))
        for group in places.values()
    ]


def _places(image: Size, size: Size, corners: bool) -> list[tuple[int, int]]:
    """Where crops begin: upper left, upper right, lower left, lower right, centre; or the centre alone."""
    bottom, right = image[0] - size[0], image[1] - size[1]
    centre = (round(bottom / 2), round(right / 2))
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), centre] if corners else [centre]


def _part(pixels: Tensor, place: tuple[int, int], size: Size) -> Tensor:
    (top, left), (height, width) = place, size
    return pixels[:, top : top + height, left : left + width]


def _scaled(image: Image.Image | Tensor, shorter: int) -> Image.Image | Tensor:
    """The image with its shorter side brought to that length, as torchvision does it."""
    scaled: Image.Image | Tensor = functional.resize(image, [shorter], antialias=True)
    return scaled


def _pixels(image: Image.Image | Tensor) -> Tensor:
    if isinstance(image, Tensor):
        return image
    pixels = torch.from_numpy(np.array(image))
    return pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


def _size(image: Image.Image | Tensor) -> Size:
    if isinstance(image, Tensor):
        return int(image.shape[-2]), int(image.shape[-1])
    return image.height, image.width


def _by(size: Size) -> str:
    return f"{size[0]}×{size[1]}"
