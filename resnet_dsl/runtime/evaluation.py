"""How good scores are: sums over images, which processes can add up, and scores of several views of one image.

Scores are logits (B, classes), or logarithms of probabilities, which are logits too: their softmax gives them back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

# Images (B, C, H, W) to scores (B, classes).
Score: TypeAlias = Callable[[Tensor], Tensor]


def evaluate(
    score: Score, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> Tensor:
    """What `tally` says of all batches, images (B, C, H, W) with labels (B,), together: (4,)
    float64 on the device. Those of several processes add up to that of all their images.

    Nothing is read back on the way. The network is in evaluation mode already.
    """
    total = torch.zeros(4, dtype=torch.float64, device=device)
    with torch.no_grad():  # and not inference_mode: what FSDP gathers in it, training cannot use
        for images, labels in batches:
            total += tally(score(images), labels)
    return total


def tally(scores: Tensor, labels: Tensor, top: int = 5) -> Tensor:
    """Of scores (B, classes): the sum of the cross entropy, how often the label (B,) is the best
    class, how often one of the `top` best, and how many images there are: (4,) float64."""
    scores = scores.float()
    found = best_classes(scores, top) == labels[:, None]
    loss = functional.cross_entropy(scores, labels, reduction="none").double().sum()
    number = torch.full_like(loss, len(labels))
    return torch.stack([loss, found[:, 0].sum(), found.sum(), number])


def best_classes(scores: Tensor, number: int) -> Tensor:
    """The best classes of scores (B, classes), best first: (B, number), or all if there are fewer."""
    return scores.topk(min(number, scores.shape[1])).indices


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often images of each class (rows) were told to be of each (columns): (classes, classes)
    int64, of predicted classes (B,) and labels (B,)."""
    pairs = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def mean_scores(scores: Sequence[Tensor]) -> Tensor:
    """The mean of several softmaxes, of scores (B, classes) each, as its logarithm."""
    logarithms = torch.stack([each.float().log_softmax(1) for each in scores])
    return logarithms.logsumexp(0) - math.log(len(scores))


def mirrored_scores(score: Score) -> Score:
    """Scores averaged over an image and its mirror."""
    return lambda images: mean_scores([score(images), score(images.flip(3))])
