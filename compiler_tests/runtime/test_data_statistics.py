"""Means and deviations over all pixels, and what is said of those that are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resnet_dsl.runtime.data import ArrayData, DataError, fake_images
from resnet_dsl.runtime.data_statistics import (
    channel_moments,
    channel_statistics,
    check_statistics,
    evenly_spaced,
    mean_image,
    mean_of_images,
)


def test_channels_and_images_have_the_statistics_that_numpy_gives():
    data = fake_images(700, (3, 5, 4), 2, 0)
    data.images[:, 1] //= 7
    pixels = data.images.numpy().astype(np.float64) / 255
    mean, std = channel_statistics(data)
    assert mean.shape == std.shape == (3, 1, 1)
    assert np.allclose(mean.flatten(), pixels.mean((0, 2, 3)), atol=1e-7)
    assert np.allclose(std.flatten(), pixels.std((0, 2, 3)), atol=1e-7)
    assert np.allclose(mean_image(data), pixels.mean(0), atol=1e-7)


def test_floats_from_0_to_1_count_as_they_are():
    data = fake_images(300, (1, 3, 3), 2, 0)
    floats = ArrayData(data.images.float() / 255, data.labels, data.classes)
    for ours, same in zip(channel_statistics(floats), channel_statistics(data), strict=True):
        assert torch.allclose(ours, same, atol=1e-6)
    assert torch.allclose(mean_image(floats), mean_image(data), atol=1e-6)


def test_batches_of_different_lengths_count_by_their_images():
    data = fake_images(50, (3, 2, 2), 2, 0)
    parts = [data.images[:3], data.images[3:]]
    assert torch.equal(channel_moments(parts)[0], channel_statistics(data)[0])
    assert torch.equal(mean_of_images(parts), mean_image(data))


def test_a_channel_that_never_varies_cannot_be_standardised():
    images = fake_images(9, (3, 4, 4), 2, 0).images
    images[:, 2] = 200
    with pytest.raises(DataError, match=r"the same everywhere.*\n.*`normalise: none`"):
        channel_moments([images])


MEASURED = (
    torch.tensor([0.49, 0.48, 0.45])[:, None, None],
    torch.tensor([0.25, 0.24, 0.26])[:, None, None],
)


def test_given_statistics_near_those_measured_pass_without_a_word():
    assert check_statistics(*MEASURED, (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)) == ""


def test_given_statistics_that_are_far_off_are_told():
    """Such as the mean of the images' deviations, which many scripts for CIFAR give for the deviation."""
    assert check_statistics(*MEASURED, (0.491, 0.482, 0.447), (0.2023, 0.1994, 0.2010)) == (
        "`mean` and `std` are not those of the training images: [0.49, 0.48, 0.45] and [0.25, 0.24, 0.26]"
    )
    assert check_statistics(*MEASURED, (0.5, 0.5, 0.5), (0.25, 0.24, 0.26)) != ""


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ((0.5,), (0.25, 0.24, 0.26), "`mean` has 1 numbers and the images have 3 channels"),
        ((125.3, 123.0, 113.9), (0.25, 0.24, 0.26), "`mean` is for pixels that count from 0 to 1"),
        ((0.5, 0.5, 0.5), (0.25, 0.0, 0.26), "`std` is for pixels that count from 0 to 1"),
    ],
)
def test_given_statistics_that_cannot_be_meant_are_refused(mean, std, said):
    with pytest.raises(DataError, match=said):
        check_statistics(*MEASURED, mean, std)


@pytest.mark.parametrize(
    ("count", "most"), [(10, 20), (10, 10), (10, 3), (1_281_167, 10_000), (1, 1)]
)
def test_a_sample_is_evenly_spaced(count, most):
    found = evenly_spaced(count, most)
    assert len(found) == min(count, most)
    assert 0 == found[0] <= found[-1] < count
    gaps = found.diff()
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)
