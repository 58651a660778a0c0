"""Train a network on an image folder by a loop written by hand, and print images per second in the last epoch, as JSON.

Usage: training.py usual|careful FILE.py:NAME FOLDER BATCH EPOCHS

usual: what reimplementations of the paper's CIFAR nets do: float32, images (N, C, H, W), a DataLoader whose two
processes decode and transform each image with torchvision's transforms.
careful: what a person writes who knows torch well: all images in memory, cut and mirrored in batches, channels last,
and bfloat16 by autocast, which this processor has to have.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from compiler_tests.emitted import import_file

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


def usual_batches(folder: Path, batch: int) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    transform = v2.Compose([v2.RandomCrop(32, 4), v2.RandomHorizontalFlip(), *to_tensor])
    data = datasets.ImageFolder(str(folder / "train"), transform)
    loader = DataLoader(
        data, batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    return lambda: iter(loader)


def careful_batches(folder: Path, batch: int) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    data = datasets.ImageFolder(str(folder / "train"), v2.PILToTensor())
    pixels = torch.stack([image for image, _ in data])
    labels = torch.tensor(data.targets)
    mean, std = (255 * torch.tensor(part).view(1, 3, 1, 1) for part in (MEAN, STD))
    images = functional.pad((pixels - mean) / std, (4, 4, 4, 4))
    images = images.contiguous(memory_format=torch.channels_last)

    def epoch() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(labels))
        for start in range(0, len(labels) - batch + 1, batch):
            chosen = order[start : start + batch]
            top, left = torch.randint(9, (2, batch, 1))
            rows, columns = top + torch.arange(32), left + torch.arange(32)
            cut = images.permute(0, 2, 3, 1)[
                chosen[:, None, None], rows[:, :, None], columns[:, None]
            ].permute(0, 3, 1, 2)
            mirror = torch.rand(batch) < 0.5
            yield torch.where(mirror.view(-1, 1, 1, 1), cut.flip(3), cut), labels[chosen]

    return epoch


def main(kind: str, source: str, folder: str, batch: str, epochs: str) -> None:
    place, _, name = source.rpartition(":")
    torch.manual_seed(0)
    model: nn.Module = getattr(import_file(Path(place)), name)(num_classes=10)
    careful = kind == "careful"
    if careful:
        nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    make = careful_batches if careful else usual_batches
    batches = make(Path(folder), int(batch))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    speed = 0.0
    for _ in range(int(epochs)):
        count, started = 0, time.perf_counter()
        for images, labels in batches():
            with torch.autocast("cpu", torch.bfloat16, enabled=careful):
                scores = model(images)
            loss = functional.cross_entropy(scores.float(), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            count += len(labels)
        speed = count / (time.perf_counter() - started)
    print(json.dumps({"images_per_second": speed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
