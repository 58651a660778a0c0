"""Random changes of images, a batch at a time on the device that trains.

Images are (B, C, H, W), bytes or float32 in [0, 1], stored channels last. Chance is separate from change: what is
drawn comes from functions named `draw_...`, on the CPU and for a whole epoch, so that an epoch is the same on every
device and however its batches are split over processes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# Directions and variances of the colours of ImageNet in [0, 1], as AlexNet's followers use them.
IMAGENET_COLOURS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
IMAGENET_COLOUR_VARIANCES = (0.2175, 0.0188, 0.0045)


def padded_black(images: Tensor, pad: int) -> Tensor:
    """Images (N, C, H, W) with `pad` black pixels on each side."""
    wide = functional.pad(images, (pad, pad, pad, pad))
    return wide.contiguous(memory_format=torch.channels_last)


def padded_reflect(images: Tensor, pad: int) -> Tensor:
    """Images (N, C, H, W) that go on for `pad` pixels beyond each side as in a mirror; that is less
    than H and W."""
    wide = functional.pad(images, (pad, pad, pad, pad), mode="reflect")
    return wide.contiguous(memory_format=torch.channels_last)


def draw_offsets(count: int, pad: int, generator: torch.Generator) -> Tensor:
    """Where to cut images with `pad` pixels on each side: (count, 2), row and column."""
    return torch.randint(2 * pad + 1, (count, 2), generator=generator)


def shifted(images: Tensor, chosen: Tensor, offsets: Tensor, height: int, width: int) -> Tensor:
    """Of padded images (N, C, H + 2 pad, W + 2 pad) the chosen ones (B,), cut at offsets (B, 2) to
    (B, C, H, W)."""
    # A view of every cut, of which whole rows are copied.
    cuts = images.unfold(2, height, 1).unfold(3, width, 1)
    return cuts[chosen, :, offsets[:, 0], offsets[:, 1]]


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """Which images are mirrored, (count,): each with probability 1/2."""
    return torch.rand(count, generator=generator) < 0.5


def alternate_flips(count: int, seed: int, epoch: int) -> Tensor:
    """Which images are mirrored in an epoch, (count,): each in every second one, so that two epochs
    in a row show both sides. The side that an image begins with is drawn from the seed, once."""
    generator = torch.Generator().manual_seed(~seed)  # a stream that no epoch has
    return draw_flips(count, generator) ^ (epoch % 2 == 1)


def mirrored(images: Tensor, mask: Tensor) -> Tensor:
    """Images (B, C, H, W), mirrored left to right where the mask (B,) says so."""
    return torch.where(mask[:, None, None, None], images.flip(3), images)


def draw_centres(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Pixels (count, 2), row and column, of images of that size."""
    rows = torch.randint(height, (count,), generator=generator)
    columns = torch.randint(width, (count,), generator=generator)
    return torch.stack((rows, columns), 1)


def cut_out(images: Tensor, centres: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) without a square of `size` pixels around centres (B, 2), which may lie
    partly outside (DeVries and Taylor, 2017)."""
    first = centres - size // 2
    return erased(images, torch.cat((first, first + size), 1))


def draw_boxes(
    count: int, height: int, width: int, probability: float, generator: torch.Generator
) -> Tensor:
    """Boxes (count, 4) to erase: top, left, bottom, right; empty ones where nothing is.

    They cover 2 to 33 % of an image and are 0.3 to 3.3 times as high as wide (Zhong et al., 2017);
    the first of ten tries that is smaller than the image is taken.
    """
    area, ratio = torch.rand((2, count, 10), generator=generator)
    area = height * width * (0.02 + (0.33 - 0.02) * area)
    ratio = torch.exp(math.log(0.3) + math.log(3.3 / 0.3) * ratio)
    heights, widths = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (heights < height) & (widths < width)
    first = fits.byte().argmax(1, keepdim=True)
    taken = (torch.rand(count, generator=generator) < probability) & fits.any(1)
    tall, wide = heights.gather(1, first)[:, 0] * taken, widths.gather(1, first)[:, 0] * taken
    down, right = torch.rand((2, count), generator=generator)
    top, left = (down * (height - tall + 1)).floor(), (right * (width - wide + 1)).floor()
    return torch.stack((top, left, top + tall, left + wide), 1).long()


def erased(images: Tensor, boxes: Tensor) -> Tensor:
    """Images (B, C, H, W) with zeros in the boxes (B, 4): top, left, bottom, right. In standardised
    images zero is the mean."""
    top, left, bottom, right = boxes[:, :, None].unbind(1)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top) & (rows < bottom)
    in_columns = (columns >= left) & (columns < right)
    return images * ~(in_rows[:, None, :, None] & in_columns[:, None, None, :])


def imagenet_colours() -> Tensor:
    """How the colours of ImageNet vary, for `draw_lights`: (3, 3)."""
    return torch.tensor(IMAGENET_COLOURS) * torch.tensor(IMAGENET_COLOUR_VARIANCES)


def principal_colours(images: Tensor) -> Tensor:
    """How the colours of images (N, C, H, W) vary, for `draw_lights`: (C, C), of which each column
    is a principal direction of all pixels in [0, 1] times the variance along it."""
    channels = images.shape[1]
    total = torch.zeros(channels, dtype=torch.float64, device=images.device)
    products = torch.zeros((channels, channels), dtype=torch.float64, device=images.device)
    for part in torch.split(images, 1000):
        pixels = part.movedim(1, 3).reshape(-1, channels).double()
        total += pixels.sum(0)
        products += pixels.T @ pixels
    mean = total / (images.numel() / channels)
    covariance = products / (images.numel() / channels) - torch.outer(mean, mean)
    if images.dtype == torch.uint8:
        covariance /= 255**2
    variances, directions = torch.linalg.eigh(covariance)
    colours: Tensor = (directions * variances).float()
    return colours


def draw_lights(count: int, colours: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """What to add to the channels of images in [0, 1], (count, C): each column of `colours` (C, C)
    times a normal number of deviation sigma (AlexNet, section 4.1, where it is 0.1)."""
    amounts = sigma * torch.randn((count, len(colours)), generator=generator)
    return amounts @ colours.T.cpu()


def lit(images: Tensor, lights: Tensor) -> Tensor:
    """Images (B, C, H, W) under other lights (B, C): float32, in the unit of the images."""
    unit = 255 if images.dtype == torch.uint8 else 1
    return images + unit * lights[:, :, None, None]


def as_operand(values: Tensor, images: Tensor) -> Tensor:
    """A mean or deviation of images in [0, 1], one number (), of channels (C, 1, 1) or of pixels
    (C, H, W), in the unit, size and place of `images`: (1, C, H, W), with which a CPU is five times
    faster than with fewer numbers."""
    unit = 255 if images.dtype == torch.uint8 else 1
    wide = (unit * values).to(images.device).expand(1, *images.shape[1:])
    return wide.contiguous(memory_format=torch.channels_last)


def standardised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (B, C, H, W) as float32 of mean 0 and deviation 1; `mean` and `std` are in their unit,
    as from `as_operand`."""
    return (images - mean).div_(std)
