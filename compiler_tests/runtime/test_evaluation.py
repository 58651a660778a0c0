"""Scores are counted exactly, and processes can add their counts up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from resnet_dsl.runtime.evaluation import (
    best_classes,
    confusion,
    evaluate,
    mean_scores,
    mirrored_scores,
    tally,
)

CPU = torch.device("cpu")


def images(count: int = 7) -> Tensor:
    return torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(count))


def flat_scores(batch: Tensor) -> Tensor:
    """(B, 3, 4, 5) to (B, 15), which are other ones for the mirror."""
    return batch.mean(2).flatten(1)


def test_a_tally_is_what_one_counts_by_hand():
    scores = torch.tensor([[0.0, 2.0, 1.0], [5.0, 4.0, 3.0], [1.0, 2.0, 3.0]])
    loss, best, two, count = tally(scores, torch.tensor([1, 1, 0]), 2).tolist()
    assert (best, two, count) == (1, 2, 3)
    by_hand = (
        -math.log(math.exp(2) / (1 + math.e + math.exp(2)))
        - math.log(math.exp(4) / sum(math.exp(x) for x in (3, 4, 5)))
        - math.log(math.exp(1) / sum(math.exp(x) for x in (1, 2, 3)))
    )
    assert loss == pytest.approx(by_hand, rel=1e-6)


def test_of_less_than_five_classes_all_are_among_the_five_best():
    assert tally(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([2])).tolist()[1:] == [0, 1, 1]
    assert best_classes(torch.tensor([[1.0, 3.0, 2.0]]), 5).tolist() == [[1, 2, 0]]


def test_counts_of_parts_add_up_to_those_of_the_whole_whatever_the_parts():
    x = images(23)
    labels = torch.arange(23) % 15
    whole = evaluate(flat_scores, [(x, labels)], CPU)
    batches = [(x[a:b], labels[a:b]) for a, b in ((0, 4), (4, 9), (9, 10), (10, 23))]
    one, other = (evaluate(flat_scores, part, CPU) for part in (batches[:2], batches[2:]))
    assert whole.dtype == torch.float64
    assert (one + other)[1:].tolist() == whole[1:].tolist()
    assert (one + other)[0] == pytest.approx(whole[0].item(), rel=1e-12)
    assert whole[0].item() / 23 == pytest.approx(
        functional.cross_entropy(flat_scores(x).double(), labels).item(), rel=1e-6
    )


def test_no_images_count_nothing_and_no_gradient_is_kept():
    assert evaluate(flat_scores, [], CPU).tolist() == [0, 0, 0, 0]
    weight = torch.ones(1, requires_grad=True)
    found = evaluate(lambda x: flat_scores(weight * x), [(images(), torch.zeros(7).long())], CPU)
    assert not found.requires_grad


def test_scores_in_half_precision_are_summed_in_full():
    scores = torch.full((1000, 2), 7.0, dtype=torch.bfloat16)
    loss = tally(scores, torch.zeros(1000, dtype=torch.int64))[0].item()
    assert loss == pytest.approx(1000 * math.log(2), rel=1e-6)


def test_the_mean_of_scores_is_that_of_their_softmaxes():
    x = images(5)
    one, other = flat_scores(x), 3 * flat_scores(x.flip(2).sin())
    expected = (one.double().softmax(1) + other.double().softmax(1)) / 2
    found = mean_scores([one, other])
    torch.testing.assert_close(found.double().exp(), expected)
    torch.testing.assert_close(found.softmax(1), found.exp())
    torch.testing.assert_close(mean_scores([one]), one.log_softmax(1))


def test_a_mirrored_score_is_the_mean_over_both_and_the_same_for_both():
    x = images(5)
    score = mirrored_scores(flat_scores)
    expected = (flat_scores(x).softmax(1) + flat_scores(x.flip(3)).softmax(1)) / 2
    torch.testing.assert_close(score(x).exp(), expected)
    torch.testing.assert_close(score(x), score(x.flip(3)))
    assert not torch.allclose(flat_scores(x), flat_scores(x.flip(3)))


def test_a_confusion_has_what_is_in_its_rows_and_what_is_told_in_its_columns():
    told, labels = torch.tensor([2, 0, 0, 2, 2]), torch.tensor([0, 0, 1, 2, 0])
    assert confusion(told, labels, 3).tolist() == [[1, 0, 2], [1, 0, 0], [0, 0, 1]]
