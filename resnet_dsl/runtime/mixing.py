"""Images mixed with one another, their targets with them, and the losses of such targets.

A batch mixes within pairs of neighbours, 2 i and 2 i + 1, all with one share: as long as each process has an even
number of images, it does not matter how a batch is split. The share follows from the seed and the place of the step
alone, so that all processes, all micro-batches and a resumed run draw the same."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor
from torch.nn import functional


def step_dice(seed: int, epoch: int, step: int) -> random.Random:
    """The source of what is drawn once for a step of an epoch, in all processes and micro-batches."""
    return random.Random(f"{seed} {epoch} {step}")


def partners(values: Tensor) -> Tensor:
    """A batch (B, ...) in which neighbours have changed places: 1, 0, 3, 2, ...; B is even."""
    return values.view(len(values) // 2, 2, *values.shape[1:]).flip(1).flatten(0, 1)


def mixup(
    images: Tensor, targets: Tensor, alpha: float, dice: random.Random
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) and targets (B, classes), blended with their partners'; the own share is
    drawn from Beta(alpha, alpha) (Zhang et al., 2018)."""
    share = dice.betavariate(alpha, alpha)
    return (
        torch.lerp(partners(images), images, share),
        torch.lerp(partners(targets), targets, share),
    )


def cutmix(
    images: Tensor, targets: Tensor, alpha: float, dice: random.Random
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) with a box of their partners', and targets (B, classes) by area. The own
    share is drawn from Beta(alpha, alpha), and the centre of the box from all pixels; what lies
    outside is lost (Yun et al., 2019)."""
    height, width = images.shape[2:]
    side = math.sqrt(1 - dice.betavariate(alpha, alpha))
    tall, wide = int(side * height / 2), int(side * width / 2)  # half of it
    y, x = dice.randrange(height), dice.randrange(width)
    top, bottom = max(y - tall, 0), min(y + tall, height)
    left, right = max(x - wide, 0), min(x + wide, width)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = partners(images[:, :, top:bottom, left:right])
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, torch.lerp(partners(targets), targets, share)


def mixup_or_cutmix(
    images: Tensor, targets: Tensor, alphas: tuple[float, float], dice: random.Random
) -> tuple[Tensor, Tensor]:
    """One of the two, each with probability 1/2; `alphas` are mixup's and cutmix's."""
    if dice.random() < 0.5:
        return mixup(images, targets, alphas[0], dice)
    return cutmix(images, targets, alphas[1], dice)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (B,) as targets (B, classes): 1 for the image's class, and 0 for the others."""
    return functional.one_hot(labels, classes).float()


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Targets (B, classes) of which a share is spread over all classes (Szegedy et al., 2016)."""
    return (1 - smoothing) * targets + smoothing / targets.shape[1]


def present(targets: Tensor, threshold: float) -> Tensor:
    """Targets (B, classes) that say whether a class is in a mixed image: 1 where its share is above
    the threshold, and 0 elsewhere ("ResNet strikes back": 0.2)."""
    return (targets > threshold).float()


def binary_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """The binary cross entropy of scores (B, classes) against targets of the same shape, each class
    a question of its own; the mean over images and classes."""
    return functional.binary_cross_entropy_with_logits(scores, targets)
