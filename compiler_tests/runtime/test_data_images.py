"""Image files become the pixels that PIL gives, whichever way they are decoded, or an error that names the file."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from compiler_tests.runtime.data_trees import encoded, photograph
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_images import (
    centre_crop,
    check_channels,
    decode_image,
    jpeg_shape,
    open_image,
)


def pixels(image: Image.Image) -> torch.Tensor:
    array = np.array(image)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_pils(kind, mode, channels):
    content = encoded(photograph(1, (13, 9), mode), kind)
    found = decode_image(content, "x", channels, (9, 13), None)
    expected = open_image(content, "x", channels)
    assert expected.mode == ("L" if channels == 1 else "RGB")
    assert found.dtype == torch.uint8
    assert torch.equal(found, pixels(expected))


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "1", "CMYK"])
def test_unusual_modes_become_colours(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    content = encoded(photograph(1, (6, 5)).convert(mode), kind)
    assert decode_image(content, "x", 3, (5, 6), None).shape == (3, 5, 6)


def test_jpeg_headers_are_read_and_nothing_else_is_taken_for_one():
    progressive = photograph(0, (33, 17))
    assert jpeg_shape(encoded(progressive)) == (3, 17, 33)
    assert jpeg_shape(encoded(progressive.convert("L"))) == (1, 17, 33)
    assert jpeg_shape(encoded(progressive.convert("CMYK"))) == (4, 17, 33)
    content = encoded(progressive)
    for end in range(len(content)):
        assert jpeg_shape(content[:end]) in (None, (3, 17, 33))
    for other in (b"", b"\xff\xd8", b"\xff\xd8\xff", encoded(progressive, "PNG"), bytes(100)):
        assert jpeg_shape(other) is None


def test_a_crop_is_the_middle_of_the_image_once_its_shorter_side_is_scaled():
    image = photograph(5, (40, 20))
    found = decode_image(encoded(image, "PNG"), "x", 3, (6, 8), centre_crop((6, 8), 10))
    scaled = image.resize((20, 10), Image.Resampling.BILINEAR)
    assert torch.equal(found, pixels(scaled.crop((6, 2, 14, 8))))


def test_an_image_of_another_size_is_named_with_what_to_write():
    with pytest.raises(DataError) as caught:
        decode_image(encoded(photograph(0, (10, 8))), "set: a/b.jpg", 3, (8, 8), None)
    assert str(caught.value) == (
        "set: a/b.jpg is 8×10 pixels and the network takes 8×8\n"
        "write `resize: 8` in the train section, to have images resized and cropped"
    )


def test_a_file_that_is_no_image_is_named():
    for content in (b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff"):
        with pytest.raises(DataError, match=r"^set: a.jpg is (not the image|damaged)"):
            decode_image(content, "set: a.jpg", 3, (8, 8), None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_that_is_cut_off_is_named(kind):
    content = encoded(photograph(3, (64, 64)), kind)
    with pytest.raises(DataError, match=r"^set: a.jpg is damaged: "):
        decode_image(content[: len(content) * 2 // 3], "set: a.jpg", 3, (64, 64), None)


def test_16_bits_a_colour_are_refused_since_they_would_be_cut_off():
    deep = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    with pytest.raises(
        DataError, match=r"^a.png has more than 8 bits a colour \(PIL's mode I;16\)"
    ):
        open_image(encoded(deep, "PNG"), "a.png", 3)


def test_an_image_that_would_unpack_to_absurdly_much_is_refused():
    size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    header = b"IHDR" + size
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    content += struct.pack(">II", zlib.crc32(header), 0) + b"IDAT" + bytes(8)
    with pytest.raises(DataError, match=r"^a.png is damaged: .*decompression bomb"):
        open_image(content, "a.png", 3)


def test_other_channels_than_images_have_are_refused():
    for channels in (1, 3):
        check_channels(channels)
    with pytest.raises(DataError, match="takes images of 4 channels"):
        check_channels(4)
