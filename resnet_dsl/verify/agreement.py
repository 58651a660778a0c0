"""Whether targets decide as the reference does: the class with the largest score, image for image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from resnet_dsl.verify.images import Images
from resnet_dsl.verify.reference import Reference


class Scores(Protocol):
    """Something that gives scores to images."""

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes)"""
        ...


@dataclass(slots=True)
class Agreement:
    """Of `images`, how many a target gives the reference's class; `excused` are those of the rest whose two best scores
    of the reference are so near that the error allowed to the target may swap them. `right` and `reference_right`
    count what agrees with the labels, None where there are none. `worst` is the largest distance between the two best
    scores of an image that is not excused."""

    images: int = 0
    agreed: int = 0
    excused: int = 0
    right: int | None = None
    reference_right: int | None = None
    worst: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether rounding explains each that differs."""
        return self.agreed + self.excused == self.images


def agreements(
    targets: Sequence[tuple[Scores, float]],
    reference: Reference,
    images: Images,
    size: int,
    tick: Callable[[int], None],
) -> list[Agreement]:
    """Run targets, each with what its scores may be off by, on images beside the reference, `size` at a time."""
    found = [Agreement() for _ in targets]
    for batch, labels in images.batches(size):
        wanted = reference.logits(batch).flatten(1)
        truth = None if labels is None else torch.from_numpy(labels)
        for (target, bound), counted in zip(targets, found, strict=True):
            with torch.inference_mode():
                scores = target.logits(batch).to(torch.float64).flatten(1)
            _count(counted, wanted, scores, truth, bound)
        tick(len(batch))
    return found


def _count(
    counted: Agreement, wanted: Tensor, scores: Tensor, truth: Tensor | None, bound: float
) -> None:
    own, best = scores.argmax(1), wanted.argmax(1)
    same = own == best
    counted.images += len(wanted)
    counted.agreed += int(same.sum())
    # A score is off by `bound` at most, so that two change places only if they are no further apart than twice that.
    apart = wanted.gather(1, best[:, None]) - wanted.gather(1, own[:, None])
    apart = apart.flatten()[~same]
    counted.excused += int((apart <= 2 * bound).sum())
    beyond = apart[apart > 2 * bound]
    if beyond.numel():
        counted.worst = max(counted.worst, float(beyond.max()))
    if truth is not None:
        counted.right = (counted.right or 0) + int((own == truth).sum())
        counted.reference_right = (counted.reference_right or 0) + int((best == truth).sum())
