"""One image: from the bytes of its file to pixels, with errors that name the file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from resnet_dsl.runtime.data import DataError, times

# An image to pixels (C, H, W).
Crop: TypeAlias = Callable[[Image.Image], Tensor]

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF")
IMAGE_MODES = {1: "L", 3: "RGB"}  # by number of channels


def open_image(content: bytes, name: str, channels: int) -> Image.Image:
    """The image in a file's `content`, grey for one channel and RGB for three; what the file says about
    its orientation is left aside, as torchvision does. Raises DataError with the file's `name`.

    PIL refuses what would unpack to 179 million pixels and more (`Image.MAX_IMAGE_PIXELS`).
    """
    try:
        image = Image.open(io.BytesIO(content), formats=IMAGE_FORMATS)
        mode = image.mode
        if mode[0] not in "IF":
            return image.convert(IMAGE_MODES[channels])
    except UnidentifiedImageError:
        raise DataError(f"{name} is not the image that its name says\ntake it away") from None
    except Exception as error:  # what damaged files raise has no common class
        raise DataError(f"{name} is damaged: {error}\nreplace it, or take it away") from None
    raise DataError(
        f"{name} has more than 8 bits a colour (PIL's mode {mode}), which would be cut off\n"
        "convert such images to 8 bits"
    )


def check_channels(channels: int) -> None:
    """Raises DataError unless image files can have so many channels."""
    if channels not in IMAGE_MODES:
        raise DataError(
            f"the network takes images of {channels} channels, and image files are read with 1 (grey) "
            "or 3 (colour)\nwrite `channels: 3` in the spec's input"
        )


def centre_crop(size: tuple[int, int], resize: int) -> nn.Module:
    """Of an image, the middle of that height and width once its shorter side is `resize` pixels long,
    as a tensor (C, H, W) of bytes."""
    crop: nn.Module = v2.Compose([v2.Resize(resize), v2.CenterCrop(size), v2.PILToTensor()])
    return crop


class OfSize:
    """Takes an image as it is. Raises DataError if that is not of the given height and width."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        found = image.height, image.width
        if found != self.size:
            raise DataError(
                f"an image is {times(found)} pixels and the network takes {times(self.size)}\n"
                f"write `resize: {min(self.size)}` and a `crop` in the train section"
            )
        return image


def decode_image(
    content: bytes, name: str, channels: int, size: tuple[int, int], crop: Crop | None
) -> Tensor:
    """An image file as (C, H, W) uint8 of that height and width: by `crop`, or as it is without one.

    Raises DataError with the file's `name` if it is damaged or, without `crop`, of another size.
    """
    if crop is None and jpeg_shape(content) == (channels, *size):
        try:  # the same decoder as PIL's with less around it, which for small images is most of the time
            pixels: Tensor = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            return pixels
        except RuntimeError:
            pass  # PIL says what is wrong
    image = open_image(content, name, channels)
    if crop is not None:
        return crop(image)
    height, width = image.height, image.width
    if (height, width) != size:
        raise DataError(
            f"{name} is {times((height, width))} pixels and the network takes {times(size)}\n"
            f"write `resize: {min(size)}` in the train section, to have images resized and cropped"
        )
    return torch.from_numpy(np.array(image)).reshape(height, width, channels).permute(2, 0, 1)


def jpeg_shape(content: bytes) -> tuple[int, int, int] | None:
    """Channels, height and width as a JPEG file's frame header says (ITU T.81, B.2.2); None for others."""
    at = 2 if content[:2] == b"\xff\xd8" else len(content)
    while at + 9 < len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = content[at + 5 : at + 7], content[at + 7 : at + 9]
            return content[at + 9], int.from_bytes(height), int.from_bytes(width)
        at += 2 + length
    return None
