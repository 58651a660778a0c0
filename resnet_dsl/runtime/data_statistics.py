"""The mean and the standard deviation that images are standardised by. Pixels count from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from resnet_dsl.runtime.data import ArrayData, DataError


def channel_statistics(data: ArrayData) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over all pixels of the data, (C, 1, 1) float32 each."""
    return channel_moments(torch.split(data.images, 256))


def mean_image(data: ArrayData) -> Tensor:
    """The mean of all images, pixel by pixel: (C, H, W) float32."""
    return mean_of_images(torch.split(data.images, 256))


def channel_moments(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over batches (B, C, H, W) of uint8, or of floats in
    [0, 1]: (C, 1, 1) float32 each, from sums in float64. Raises DataError if a channel never varies."""
    number, total, squares, scale = 0, torch.zeros(()), torch.zeros(()), 1
    for batch in batches:
        scale = 255 if batch.dtype == torch.uint8 else 1
        pixels = batch.transpose(0, 1).flatten(1).double()
        number += pixels.shape[1]
        total = total + pixels.sum(1)
        squares = squares + pixels.square().sum(1)
    mean = total / number
    std = (squares / number - mean.square()).clamp(min=0).sqrt()
    if not (std > 1e-6 * scale).all():
        raise DataError(
            "a channel of the training images is the same everywhere, and cannot be standardised\n"
            "look at the images, or write `normalise: none`"
        )
    return (mean / scale).float()[:, None, None], (std / scale).float()[:, None, None]


def mean_of_images(batches: Iterable[Tensor]) -> Tensor:
    """The mean over batches (B, C, H, W) of uint8, or of floats in [0, 1], pixel by pixel: (C, H, W)
    float32, from sums in float64."""
    number, total, scale = 0, torch.zeros(()), 1
    for batch in batches:
        scale = 255 if batch.dtype == torch.uint8 else 1
        number += len(batch)
        total = total + batch.sum(0, dtype=torch.float64)
    return (total / (number * scale)).float()


def check_statistics(
    mean: Tensor, std: Tensor, given_mean: Sequence[float], given_std: Sequence[float]
) -> str:
    """What is to be said of a mean and a standard deviation that were given, beside those measured,
    (C, 1, 1): nothing, if they are near. Raises DataError if they cannot be meant."""
    for name, given in (("mean", given_mean), ("std", given_std)):
        if len(given) != len(mean):
            raise DataError(
                f"`{name}` has {len(given)} numbers and the images have {len(mean)} channels\n"
                f"write one for each, or `{name}: null` to have it measured"
            )
        if not all(0 <= value <= 1 for value in given) or (name == "std" and not all(given)):
            raise DataError(
                f"`{name}` is for pixels that count from 0 to 1, and {list(given)} is not\n"
                f"divide it by 255, or write `{name}: null` to have it measured"
            )
    off = (torch.tensor(given_mean) - mean.flatten()).abs().max().item()
    ratio = (torch.tensor(given_std) / std.flatten()).log().abs().max().item()
    if off < 0.02 and ratio < 0.05:
        return ""
    measured = [[round(value, 4) for value in each.flatten().tolist()] for each in (mean, std)]
    return f"`mean` and `std` are not those of the training images: {measured[0]} and {measured[1]}"


def evenly_spaced(count: int, most: int = 10_000) -> Tensor:
    """At most `most` of the numbers below `count`, evenly spaced: enough images to measure statistics."""
    number = min(count, most)
    return torch.arange(number) * count // number
