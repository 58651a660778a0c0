"""Batches are changed as single images would be, and what is drawn lies where it is said to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from resnet_dsl.runtime.augment import (
    alternate_flips,
    as_operand,
    cut_out,
    draw_boxes,
    draw_centres,
    draw_flips,
    draw_lights,
    draw_offsets,
    erased,
    imagenet_colours,
    lit,
    mirrored,
    padded_black,
    padded_reflect,
    principal_colours,
    shifted,
    standardised,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bytes_of(*shape: int) -> Tensor:
    images = torch.randint(256, shape, generator=seeded(), dtype=torch.uint8)
    return images.contiguous(memory_format=torch.channels_last)


def channels_last(images: Tensor) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("padded", "mode"), [(padded_black, "constant"), (padded_reflect, "reflect")]
)
def test_shifted_images_are_padded_and_cropped_one_by_one(padded, mode, channels, floats):
    images = bytes_of(5, channels, 6, 9)
    images = images / 255 if floats else images
    chosen, offsets = torch.tensor([4, 0, 0, 2]), draw_offsets(4, 3, seeded())
    found = shifted(padded(images, 3), chosen, offsets, 6, 9)
    for image, index, (top, left) in zip(found, chosen, offsets.tolist(), strict=True):
        wide = v2.functional.pad(images[index], [3, 3, 3, 3], padding_mode=mode)
        assert torch.equal(image, v2.functional.crop(wide, top, left, 6, 9))
    assert channels_last(padded(images, 3))
    assert channels_last(found)
    assert found.dtype == images.dtype


def test_offsets_reach_every_place_of_the_padding():
    offsets = draw_offsets(2000, 2, seeded())
    assert offsets.shape == (2000, 2)
    assert torch.unique(offsets).tolist() == [0, 1, 2, 3, 4]


def test_mirrored_images_are_those_of_the_mask():
    images, mask = bytes_of(4, 3, 5, 6), torch.tensor([True, False, False, True])
    found = mirrored(images, mask)
    for image, before, flips in zip(found, images, mask, strict=True):
        assert torch.equal(image, v2.functional.horizontal_flip(before) if flips else before)
    assert channels_last(found)


def test_half_of_the_images_are_mirrored():
    assert draw_flips(10_000, seeded()).float().mean().item() == pytest.approx(0.5, abs=0.02)


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_an_image_shows_both_sides_in_two_epochs_and_comes_back_after(seed, epoch):
    sides = alternate_flips(50, seed, epoch)
    assert torch.equal(alternate_flips(50, seed, epoch + 1), ~sides)
    assert torch.equal(alternate_flips(50, seed, epoch + 2), sides)


def test_the_first_sides_are_mixed_and_follow_from_the_seed():
    sides = alternate_flips(1000, 0, 0)
    assert 400 < sides.sum() < 600
    assert not torch.equal(sides, alternate_flips(1000, 1, 0))


@given(size=st.integers(1, 9), row=st.integers(0, 6), column=st.integers(0, 8))
def test_cut_out_clears_a_square_around_the_centre_and_nothing_else(size, row, column):
    found = cut_out(torch.ones(1, 2, 7, 9), torch.tensor([[row, column]]), size)
    expected = np.ones((2, 7, 9))
    top, left = row - size // 2, column - size // 2
    expected[:, max(top, 0) : top + size, max(left, 0) : left + size] = 0
    assert np.array_equal(found[0].numpy(), expected)


def test_centres_are_all_pixels():
    centres = draw_centres(2000, 3, 5, seeded())
    assert torch.unique(centres, dim=0).tolist() == [
        [row, column] for row in range(3) for column in range(5)
    ]


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    probability=st.floats(0, 1),
)
def test_boxes_are_empty_or_inside_the_image_and_smaller(seed, height, width, probability):
    top, left, bottom, right = draw_boxes(64, height, width, probability, seeded(seed)).unbind(1)
    assert ((top >= 0) & (bottom <= height) & (left >= 0) & (right <= width)).all()
    assert ((bottom - top < height) | (bottom == top)).all()
    assert ((right - left < width) | (right == left)).all()


def test_boxes_have_the_sizes_and_places_of_torchvision():
    """The means of height, width and corners; each of the 4000 draws of the other takes a while."""
    drawn = v2.RandomErasing(p=1)
    torch.manual_seed(0)
    params = [drawn.make_params([torch.zeros(3, 24, 32)]) for _ in range(4000)]
    expected = np.array([[p["i"], p["j"], p["i"] + p["h"], p["j"] + p["w"]] for p in params])
    found = draw_boxes(40_000, 24, 32, 1.0, seeded()).numpy()
    for column in range(4):
        error = expected[:, column].std() / math.sqrt(4000)
        assert found[:, column].mean() == pytest.approx(expected[:, column].mean(), abs=4 * error)
        assert found[:, column].std() == pytest.approx(expected[:, column].std(), rel=0.06)


def test_as_many_boxes_are_drawn_as_the_probability_says():
    top, _, bottom, _ = draw_boxes(20_000, 32, 32, 0.25, seeded()).unbind(1)
    assert (bottom > top).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_erased_images_are_erased_one_by_one():
    images = bytes_of(50, 3, 12, 16).float().add(1)
    boxes = draw_boxes(50, 12, 16, 0.7, seeded())
    found = erased(images, boxes)
    for image, before, (top, left, bottom, right) in zip(
        found, images, boxes.tolist(), strict=True
    ):
        box = (top, left, bottom - top, right - left)
        assert torch.equal(image, v2.functional.erase(before, *box, v=torch.zeros(3, 1, 1)))
    assert channels_last(found)


def test_lights_vary_as_the_colours_do():
    colours = imagenet_colours()
    lights = draw_lights(200_000, colours, 0.1, seeded())
    assert lights.shape == (200_000, 3)
    assert torch.allclose(lights.mean(0), torch.zeros(3), atol=2e-4)
    assert torch.allclose(torch.cov(lights.T), 0.01 * colours @ colours.T, rtol=0.02, atol=1e-6)


def test_the_directions_of_imagenet_are_orthonormal_and_the_first_is_of_brightness():
    colours = imagenet_colours()
    assert torch.allclose(
        colours.T @ colours, torch.diag(torch.tensor([0.2175, 0.0188, 0.0045]) ** 2), atol=2e-5
    )
    assert (colours[:, 0] < 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_principal_colours_are_those_of_the_covariance_of_all_pixels(channels):
    images = bytes_of(2300, channels, 2, 3)  # more than are read at once
    images[:, 0] = images[:, -1] // 2 + images[:, 0] // 2
    pixels = images.permute(1, 0, 2, 3).reshape(channels, -1).numpy() / 255
    found = principal_colours(images)
    covariance = np.atleast_2d(np.cov(pixels, bias=True))
    assert np.allclose(found @ found.T, covariance @ covariance, rtol=1e-4)
    variances = found.norm(dim=0).sort().values.numpy()
    assert np.allclose(variances, np.linalg.eigvalsh(covariance), rtol=1e-4)
    assert torch.allclose(principal_colours(images / 255).abs(), found.abs(), rtol=1e-3)


def test_lights_are_added_to_whole_channels_in_the_unit_of_the_images():
    images, lights = bytes_of(2, 3, 4, 5), torch.tensor([[0.1, 0.0, -0.2], [0.0, 0.5, 0.0]])
    expected = images / 255 + lights[:, :, None, None]
    assert torch.allclose(lit(images, lights) / 255, expected)
    assert torch.allclose(lit(images / 255, lights), expected)


@pytest.mark.parametrize("shape", [(), (3, 1, 1), (3, 4, 5), (1, 3, 4, 5)])
@pytest.mark.parametrize("floats", [False, True])
def test_standardised_images_have_the_mean_taken_off_and_are_divided(floats, shape):
    images = bytes_of(2, 3, 4, 5)
    images = images / 255 if floats else images
    before = images.clone()
    mean, std = torch.rand(shape, generator=seeded()), torch.rand(shape, generator=seeded()) + 0.1
    found = standardised(images, as_operand(mean, images), as_operand(std, images))
    unit = before if floats else before / 255
    assert torch.allclose(found, (unit - mean) / std, atol=1e-5)
    assert torch.equal(images, before)
    assert found.dtype == torch.float32
    assert channels_last(found)
    assert channels_last(as_operand(mean, images))


def test_what_is_drawn_for_an_epoch_follows_from_the_generator_alone():
    def draw(seed: int) -> list[Tensor]:
        generator = seeded(seed)
        return [
            draw_offsets(9, 4, generator).flatten(),
            draw_flips(9, generator),
            draw_centres(9, 8, 8, generator).flatten(),
            draw_boxes(9, 8, 8, 0.5, generator).flatten(),
            draw_lights(9, torch.eye(3), 0.1, generator).flatten(),
        ]

    torch.manual_seed(1)
    first = draw(7)
    torch.manual_seed(2)
    assert all(map(torch.equal, first, draw(7)))
    assert not any(map(torch.equal, first, draw(8)))
