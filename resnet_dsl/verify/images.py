"""The images that a verification runs on: those of the network's data, or noise where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_dsl.evaluate.feed import Feed

BATCH = 16


class Images(Protocol):
    """Images that are ready for the network."""

    @property
    def count(self) -> int: ...

    @property
    def about(self) -> str:
        """What they are, for people."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what they are."""
        ...

    @property
    def real(self) -> bool:
        """Whether they are data, and not noise."""
        ...

    def batches(self, size: int) -> Iterator[tuple[Tensor, NDArray[np.int64] | None]]:
        """Images (N, C, H, W) float32, and their labels (N,) where they have some."""
        ...


@dataclass(frozen=True, slots=True)
class Noise:
    """Normal numbers of mean 0 and variance 1, as standardised images have, from a seed."""

    count: int
    shape: tuple[int, int, int]
    seed: int = 0
    real: bool = False

    @property
    def about(self) -> str:
        return f"{self.count:,} images of noise"

    @property
    def digest(self) -> str:
        return sha256(f"noise {self.seed} {self.count} {self.shape}".encode()).hexdigest()

    def batches(self, size: int) -> Iterator[tuple[Tensor, None]]:
        draws = np.random.default_rng(self.seed)
        for start in range(0, self.count, size):
            number = min(size, self.count - start)
            drawn = draws.standard_normal((number, *self.shape), np.float32)
            yield torch.from_numpy(drawn), None


@dataclass(frozen=True)
class Data:
    """The images of a feed."""

    feed: Feed
    real: bool = True

    @property
    def count(self) -> int:
        return self.feed.images

    @property
    def about(self) -> str:
        return self.feed.about

    @property
    def digest(self) -> str:
        return self.feed.digest

    def batches(self, size: int) -> Iterator[tuple[Tensor, NDArray[np.int64] | None]]:
        for images, labels in self.feed.batches(size):
            yield torch.from_numpy(np.ascontiguousarray(images, np.float32)), labels


def first(images: Images, count: int) -> Tensor:
    """The first few of them, (N, C, H, W)."""
    found, _ = next(iter(images.batches(min(count, images.count))))
    return found[:count]
