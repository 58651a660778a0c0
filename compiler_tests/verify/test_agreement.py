"""Decisions: what agrees, what is too near to tell, and what is another class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compiler_tests.verify import nets
from resnet_dsl.verify.agreement import Agreement, agreements
from resnet_dsl.verify.images import Noise
from resnet_dsl.verify.reference import Reference


@dataclass
class Shifted:
    """The reference's scores, with something added to those of one class."""

    reference: Reference
    shift: float

    def logits(self, images: Tensor) -> Tensor:
        scores = self.reference.logits(images)
        scores[:, 2] += self.shift
        return scores.float()


@dataclass(frozen=True)
class Labelled(Noise):
    """Noise whose class is always the same."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:  # type: ignore[override]
        for images, _ in super().batches(size):
            yield images, np.full(len(images), 2)


def counted(shift: float, bound: float, *, labels: bool = False) -> Agreement:
    reference = nets.reference(nets.PLAIN)
    kind = Labelled if labels else Noise
    told: list[int] = []
    (found,) = agreements(
        [(Shifted(reference, shift), bound)],
        reference,
        kind(12, (3, 16, 16)),
        5,
        told.append,
    )
    assert told == [5, 5, 2]
    return found


def test_the_same_scores_agree() -> None:
    found = counted(0.0, 0.0)
    assert (found.images, found.agreed, found.excused, found.holds) == (12, 12, 0, True)
    assert found.right is None


def test_a_large_error_that_is_not_allowed_is_a_departure() -> None:
    found = counted(100.0, 1e-3)
    assert found.agreed < 12
    assert found.excused == 0
    assert not found.holds
    assert found.worst > 2e-3


def test_what_the_bound_allows_is_excused_and_counted_apart() -> None:
    found = counted(100.0, 1e6)
    assert found.agreed + found.excused == 12
    assert found.excused > 0
    assert found.holds


def test_labels_are_counted_for_both() -> None:
    reference = nets.reference(nets.PLAIN)
    images = torch.cat([item for item, _ in Noise(12, (3, 16, 16)).batches(5)])
    own = int((reference.logits(images).argmax(1) == 2).sum())
    found = counted(100.0, 1e6, labels=True)
    assert found.right == 12
    assert found.reference_right == own < 12
