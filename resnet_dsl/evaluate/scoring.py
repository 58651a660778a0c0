"""The loop of an evaluation: scores of views, of networks, and of all networks together, counted without waiting for
the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.views import View
from resnet_dsl.runtime.augment import as_operand, standardised
from resnet_dsl.runtime.evaluation import (
    Score,
    best_classes,
    confusion,
    mean_scores,
    mirrored_scores,
    tally,
)

_LIKE_ONE = 1e-3
_SEEN = 4  # images that tell whether a network gives probabilities


@dataclass(eq=False)
class Member:
    """A network with all that turns views of uint8, or of floats in [0, 1], into its scores.

    `score` takes standardised images. `mean` and `std` are of images in [0, 1]: of channels (C, 1, 1), or `mean` of
    pixels (C, H, W), of which images of other sizes take the channels' means. `geometry` is the place of its views
    among those that are cut. At most `pixels` pixels of images are run at once.
    """

    name: str
    score: Score
    geometry: int
    flip: bool
    mean: Tensor
    std: Tensor
    pixels: int
    probabilities: bool | None = field(default=None, init=False)  # not known before the first image

    def scores(self, views: Sequence[View], count: int) -> Tensor:
        """Scores (count, classes): the mean over the views of each image, as `mean_scores`."""
        score = mirrored_scores(self._logits) if self.flip else self._logits
        return mean_scores([self._of_view(score, view, count) for view in views])

    def _of_view(self, score: Score, view: View, count: int) -> Tensor:
        found: Tensor | None = None
        for places, images in view:
            step = max(1, self.pixels // (images.shape[2] * images.shape[3]))
            parts = [score(self._standardised(part)) for part in torch.split(images, step)]
            scores = torch.cat(parts)
            if places is None:
                return scores
            if found is None:
                found = scores.new_empty(count, scores.shape[1])
            found[places.to(scores.device)] = scores
        assert found is not None
        return found

    def _standardised(self, images: Tensor) -> Tensor:
        images = images.to(self.mean.device, non_blocking=True)
        images = images.contiguous(memory_format=torch.channels_last)
        mean = self.mean
        if mean.ndim == 3 and mean.shape[1:] not in ((1, 1), images.shape[2:]):
            mean = mean.mean((1, 2), keepdim=True)
        return standardised(images, as_operand(mean, images), as_operand(self.std, images))

    def _logits(self, images: Tensor) -> Tensor:
        """The network's scores; those that are probabilities already, as their logarithms."""
        scores = self.score(images).float()
        if self.probabilities is None:
            seen = scores[:_SEEN]
            sums_to_one = (seen.sum(1) - 1).abs() < _LIKE_ONE
            self.probabilities = bool(((seen >= 0).all(1) & sums_to_one).all())
        return scores.clamp_min(1e-30).log() if self.probabilities else scores


@dataclass(frozen=True, slots=True)
class Counts:
    """What `tally` has summed up of one network, or of several together."""

    loss: float
    right: int
    right_in_top: int
    images: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The counts of each network, and (of several) of all together; how often images of each class (rows) were told to
    be of each (columns), by all together; and how long it took."""

    members: tuple[Counts, ...]
    together: Counts
    confusion: list[list[int]]
    seconds: float


def measure(
    members: Sequence[Member],
    batches: Iterable[tuple[list[list[View]], Tensor]],
    *,
    classes: int,
    top: int,
    device: torch.device,
    progress: Callable[[int], None],
) -> Measured:
    """Run networks on batches of views with labels. `progress` is told how many images are done, batch after batch.

    Raises CompileError: RD673 where networks differ in their classes, RD676 where scores are no numbers, RD604 where
    memory does not suffice.
    """
    sums = torch.zeros(len(members) + 1, 4, dtype=torch.float64, device=device)
    matrix = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    begun = time.perf_counter()
    with torch.inference_mode(), _memory_reported():
        for views, on_host in batches:
            labels = on_host.to(device, non_blocking=True)
            scores = [member.scores(views[member.geometry], len(labels)) for member in members]
            for member, each in zip(members, scores, strict=True):
                _check_classes(member, each, classes)
            together = mean_scores(scores) if len(scores) > 1 else scores[0]
            sums += torch.stack([tally(each, labels, top) for each in (*scores, together)])
            matrix += confusion(best_classes(together, 1)[:, 0], labels, classes)
            progress(len(labels))
        counted = [_counts(row) for row in sums.tolist()]
        seconds = time.perf_counter() - begun
    for member, counts in zip(members, counted, strict=False):
        if not isfinite(counts.loss):
            raise refusal(
                "RD676",
                f"the scores of `{member.name}` are no numbers",
                why="for some image they are infinite or not a number, and then nothing can be counted",
                hint="the training diverged: take an earlier checkpoint; or, for a graph in fp16, build it in fp32",
            )
    return Measured(tuple(counted[:-1]), counted[-1], matrix.tolist(), seconds)


def _check_classes(member: Member, scores: Tensor, classes: int) -> None:
    if scores.shape[1] != classes:
        raise refusal(
            "RD673",
            f"`{member.name}` tells {scores.shape[1]} classes apart, and the images have {classes}",
            hint="give networks and images of the same classes",
        )


def _counts(row: list[float]) -> Counts:
    loss, right, right_in_top, images = row
    return Counts(loss, round(right), round(right_in_top), round(images))


@contextmanager
def _memory_reported() -> Iterator[None]:
    """Turn memory that does not suffice into a diagnostic."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise refusal(
            "RD604",
            "the memory of the device does not suffice",
            why="all images of a batch are run at once",
            hint="give a smaller --batch",
        ) from error
