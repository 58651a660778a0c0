"""Mixed batches are torchvision's with other partners, and do not depend on how they are split."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from resnet_dsl.runtime.mixing import (
    binary_loss,
    cutmix,
    mixup,
    mixup_or_cutmix,
    one_hot,
    partners,
    present,
    smoothed,
    step_dice,
)


def batch(count: int, height: int = 6, width: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, height, width, generator=generator)
    labels = torch.randint(5, (count,), generator=generator)
    return images.contiguous(memory_format=torch.channels_last), one_hot(labels, 5)


class Loaded(Random):
    """Dice that fall as they are told."""

    def __init__(self, share: float, row: int = 0, column: int = 0, first: float = 0.0) -> None:
        super().__init__(0)
        self.share, self.pixel, self.first = share, [row, column], first

    def betavariate(self, alpha: float, beta: float) -> float:
        return self.share

    def randrange(self, *_: int) -> int:  # type: ignore[override]
        return self.pixel.pop(0)

    def random(self) -> float:
        return self.first


def test_partners_are_neighbours():
    assert partners(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]
    images, _ = batch(6)
    assert torch.equal(partners(images), images[[1, 0, 3, 2, 5, 4]])


@given(share=st.floats(0, 1))
def test_mixup_is_torchvisions(share):
    """It mixes an image with the one before it: in a batch of two, its partner."""
    images, targets = batch(2)
    reference = v2.MixUp(num_classes=5)
    params = {"lam": share, "labels": targets, "batch_size": 2}
    found, mixed = mixup(images, targets, 0.2, Loaded(share))
    assert torch.allclose(found, reference.transform(images, params), atol=1e-6)
    assert torch.allclose(mixed, reference._mixup_label(targets, lam=share), atol=1e-6)


@given(
    share=st.floats(0, 1),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    place=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
)
def test_cutmix_is_torchvisions(share, size, place):
    images, targets = batch(2, *size)
    row, column = (int(part * length) for part, length in zip(place, size, strict=True))
    reference = v2.CutMix(num_classes=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference._dist, "sample", lambda _: share)
        drawn = iter([column, row])
        patch.setattr(torch, "randint", lambda *_, **__: torch.tensor([next(drawn)]))
        params = reference.make_params([images])
    params |= {"labels": targets, "batch_size": 2}
    found, mixed = cutmix(images, targets, 1.0, Loaded(share, row, column))
    assert torch.equal(found, reference.transform(images, params))
    label = reference._mixup_label(targets, lam=params["lam_adjusted"])
    assert torch.allclose(mixed, label, atol=1e-6)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_a_batch_mixes_as_its_even_parts_do(mix):
    images, targets = batch(12)
    whole = mix(images, targets, 1.0, step_dice(3, 1, 7))
    parts = [
        mix(images[start:end], targets[start:end], 1.0, step_dice(3, 1, 7))
        for start, end in ((0, 4), (4, 6), (6, 12))
    ]
    for together, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(together, torch.cat(pieces))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_mixing_leaves_the_batch_it_was_given(mix):
    images, targets = batch(4)
    before = images.clone(), targets.clone()
    found, mixed = mix(images, targets, 1.0, step_dice(0, 0, 1))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])
    assert not torch.equal(found, images)
    assert torch.allclose(mixed.sum(1), torch.ones(4))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("first", "chosen"), [(0.49, mixup), (0.5, cutmix)])
def test_one_of_the_two_is_chosen_each_with_its_alpha(first, chosen):
    class Noted(Loaded):
        alphas: tuple[float, float]

        def betavariate(self, alpha: float, beta: float) -> float:
            self.alphas = (alpha, beta)
            return 0.3

    images, targets = batch(4)
    dice = Noted(0.3, 3, 4, first)
    found, mixed = mixup_or_cutmix(images, targets, (0.1, 1.0), dice)
    expected = chosen(images, targets, 0.5, Loaded(0.3, 3, 4))
    assert torch.equal(found, expected[0])
    assert torch.equal(mixed, expected[1])
    assert dice.alphas == ((0.1, 0.1) if chosen is mixup else (1.0, 1.0))


def test_the_dice_of_a_step_fall_the_same_in_every_process_and_otherwise_in_others():
    assert step_dice(1, 2, 3).random() == step_dice(1, 2, 3).random()
    places = [(1, 2, 3), (2, 1, 3), (1, 3, 2), (12, 3, 3), (1, 23, 3), (1, 2, 33)]
    assert len({step_dice(*place).random() for place in places}) == len(places)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0])
def test_shares_have_the_moments_of_the_beta_distribution(alpha):
    shares = torch.tensor([step_dice(0, 1, step).betavariate(alpha, alpha) for step in range(5000)])
    deviation = math.sqrt(1 / (4 * (2 * alpha + 1)))
    assert shares.mean().item() == pytest.approx(0.5, abs=4 * deviation / math.sqrt(5000))
    assert shares.std().item() == pytest.approx(deviation, rel=0.03)


def test_smoothed_targets_give_the_loss_of_torchs_label_smoothing():
    scores = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    targets = one_hot(labels, 5)
    found = functional.cross_entropy(scores, smoothed(targets, 0.1))
    assert torch.allclose(found, functional.cross_entropy(scores, labels, label_smoothing=0.1))
    mixed = mixup(scores, targets, 1.0, step_dice(0, 0, 0))[1]
    found = functional.cross_entropy(scores, smoothed(mixed, 0.1))
    assert torch.allclose(found, functional.cross_entropy(scores, mixed, label_smoothing=0.1))


def test_both_classes_of_a_mix_are_present_but_the_one_with_a_small_share():
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, 1.0], [0.8, 0.2, 0.0]])
    expected = [[1, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert present(targets, 0.2).tolist() == expected
    assert present(smoothed(targets, 0.1)[:3], 0.2).tolist() == expected[:3]


def test_the_binary_loss_is_the_mean_over_images_and_classes():
    scores = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.6]])
    terms = [
        -target * math.log(1 / (1 + math.exp(-score)))
        - (1 - target) * math.log(1 / (1 + math.exp(score)))
        for score, target in zip(scores.flatten().tolist(), targets.flatten().tolist(), strict=True)
    ]
    assert binary_loss(scores, targets).item() == pytest.approx(sum(terms) / 4, rel=1e-6)
