"""Images that are held on the device, and given out in batches: for data that fit into its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from resnet_dsl.runtime.augment import draw_offsets, shifted
from resnet_dsl.runtime.chance import stream
from resnet_dsl.runtime.data import ArrayData
from resnet_dsl.runtime.data_images import centre_crop


class Held:
    """Images (N, C, H, W) and labels (N,) on a device."""

    def __init__(self, data: ArrayData, device: torch.device) -> None:
        self.images = data.images.to(device, memory_format=torch.channels_last)
        self.labels = data.labels.to(device)

    def batches(
        self, epoch: int, order: Tensor, positions: Iterable[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, H, W) and labels (B,) for each of `positions`, which are places (B,) in the
        `order` (N,) of the epoch."""
        order = order.to(self.labels.device)
        for here in positions:
            chosen = order[here.to(order.device)]
            yield self.images[chosen], self.labels[chosen]


class HeldAndShifted:
    """Images (N, C, H, W) and labels (N,) on a device, with `pad` pixels on each side, from which
    images of the old size are cut anywhere (He et al. 2015, section 4.2)."""

    def __init__(
        self,
        data: ArrayData,
        device: torch.device,
        pad: int,
        padded: Callable[[Tensor, int], Tensor],
        seed: int,
    ) -> None:
        self.size = data.images.shape[2:]
        self.pad, self.seed = pad, seed
        self.images = padded(data.images, pad).to(device)
        self.labels = data.labels.to(device)

    def batches(
        self, epoch: int, order: Tensor, positions: Iterable[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `Held`. Where images are cut follows from the seed and the epoch."""
        draws = stream("offsets", self.seed, epoch)
        order = order.to(self.labels.device)
        offsets = draw_offsets(len(order), self.pad, draws).to(order.device)
        height, width = self.size
        for here in positions:
            here = here.to(order.device)
            images = shifted(self.images, order[here], offsets[here], height, width)
            yield images, self.labels[order[here]]


def sample_held(data: ArrayData, index: int) -> tuple[Image.Image, int]:
    """An image by its number, grey or in colours, and its label."""
    image: Image.Image = v2.functional.to_pil_image(data.images[index])
    return image, int(data.labels[index])


def resized(data: ArrayData, size: tuple[int, int], resize: int) -> ArrayData:
    """The data as images of that height and width: their shorter side scaled to `resize` pixels, and
    of that the centre."""
    crop = centre_crop(size, resize)
    images = [crop(sample_held(data, index)[0]) for index in range(len(data))]
    return ArrayData(torch.stack(images), data.labels, data.classes)
