"""What happens to images one by one, in the processes that decode them: crops, and auto-augmentation.

Each transform takes an image of PIL, in colour or grey, and draws from torch's own generator; `v2.PILToTensor` after
them gives bytes, a quarter of what floats take on their way to the device. What a whole batch can have at once there
(flips, lights, erasing, mixing) is in `augment` and `mixing`."""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2


class ScaleCrop:
    """The paper's scale augmentation (section 3.4): the shorter side is scaled to a length drawn
    from a range, both ends included, and a part of size (height, width) is cut out anywhere. An
    image that would be smaller than the part is scaled to hold it."""

    def __init__(self, size: tuple[int, int], lengths: tuple[int, int]) -> None:
        self.height, self.width = size
        self.shortest, self.longest = lengths

    def __call__(self, image: Image.Image) -> Image.Image:
        length = int(torch.randint(self.shortest, self.longest + 1, ()))
        least = max(self.height / image.height, self.width / image.width)
        scale = max(length / min(image.size), least)
        height, width = round(scale * image.height), round(scale * image.width)
        top = int(torch.randint(height - self.height + 1, ()))
        left = int(torch.randint(width - self.width + 1, ()))
        # Only what is kept is scaled; its rim is blended with its neighbours, as if all were.
        y, x = image.height / height, image.width / width
        box = (left * x, top * y, (left + self.width) * x, (top + self.height) * y)
        return image.resize((self.width, self.height), Image.Resampling.BILINEAR, box)


def area_crop(
    size: tuple[int, int], areas: tuple[float, float], ratios: tuple[float, float]
) -> nn.Module:
    """Scale and aspect ratio augmentation (GoogLeNet): a part with a share of the image's area and
    a ratio of width to height drawn from two ranges, scaled to (height, width)."""
    crop: nn.Module = v2.RandomResizedCrop(size, areas, ratios)
    return crop


def trivial_augment() -> nn.Module:
    """One operation of any strength (TrivialAugment, wide; Müller and Hutter, 2021)."""
    augment: nn.Module = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    return augment


class RandAugment:
    """So many operations of a strength from 0 to 10, each drawn from all (Cubuk et al., 2020). The
    strength of each varies normally, by `deviation`, as in timm ("ResNet strikes back": 0.5)."""

    def __init__(self, operations: int, magnitude: float, deviation: float) -> None:
        self.operations, self.magnitude, self.deviation = operations, magnitude, deviation
        bilinear = v2.InterpolationMode.BILINEAR
        self.steps = [v2.RandAugment(1, step, interpolation=bilinear) for step in range(31)]

    def __call__(self, image: Image.Image) -> Image.Image:
        for _ in range(self.operations):
            magnitude = self.magnitude + self.deviation * float(torch.randn(()))
            image = self.steps[round(3 * min(max(magnitude, 0), 10))](image)
        return image
