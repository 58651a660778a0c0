"""What is counted is what one counts by hand: crops, scales, mirrors, ensembles, each network on pixels of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.geometry import Crops, Geometry, Scales
from resnet_dsl.evaluate.images import HeldSource
from resnet_dsl.evaluate.scoring import Measured, Member, measure
from resnet_dsl.evaluate.views import batches
from resnet_dsl.runtime.data import ArrayData

CLASSES, COUNT = 6, 11
CPU = torch.device("cpu")
MEAN, STD = (
    torch.tensor([0.4, 0.5, 0.6])[:, None, None],
    torch.tensor([0.2, 0.3, 0.25])[:, None, None],
)
SIDE = 8

generator = torch.Generator().manual_seed(0)
IMAGES = torch.randint(256, (COUNT, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
LABELS = torch.arange(COUNT) % CLASSES
KERNEL = torch.randn(CLASSES, 3, 2, 3, generator=generator)
OTHER = torch.randn(CLASSES, 3, 3, 1, generator=generator)
SOURCE = HeldSource(ArrayData(IMAGES, LABELS, tuple("abcdef")))


def network(kernel: Tensor) -> Callable[[Tensor], Tensor]:
    """Images of any size to scores, which are other ones for the mirror."""
    return lambda x: functional.conv2d(x, kernel).relu().mean((2, 3))


def member(
    geometry: int = 0,
    *,
    kernel: Tensor = KERNEL,
    flip: bool = False,
    mean: Tensor = MEAN,
    std: Tensor = STD,
    score: Callable[[Tensor], Tensor] | None = None,
    pixels: int = 10_000,
) -> Member:
    return Member("a network", score or network(kernel), geometry, flip, mean, std, pixels)


def run(members: Sequence[Member], geometries: Sequence[Geometry], batch: int = 4) -> Measured:
    done: list[int] = []
    found = measure(
        members,
        batches(SOURCE, geometries, torch.arange(COUNT), batch),
        classes=CLASSES,
        top=3,
        device=CPU,
        progress=done.append,
    )
    assert sum(done) == COUNT
    return found


def standard(images: Tensor, mean: Tensor = MEAN, std: Tensor = STD) -> Tensor:
    return (images / 255 - mean) / std


def check(found: Measured, shares: Tensor) -> None:
    """The counts are those of `shares` (N, classes), the probabilities of all together."""
    right = shares.argmax(1) == LABELS
    assert found.together.right == right.sum()
    within = (shares.topk(3).indices == LABELS[:, None]).any(1)
    assert found.together.right_in_top == within.sum()
    assert found.together.images == COUNT
    loss = -shares[torch.arange(COUNT), LABELS].log().sum().item()
    assert found.together.loss == pytest.approx(loss, rel=1e-5)
    assert sum(map(sum, found.confusion)) == COUNT
    assert [sum(row) for row in found.confusion] == torch.bincount(LABELS).tolist()
    for label, told in zip(LABELS.tolist(), shares.argmax(1).tolist(), strict=True):
        assert found.confusion[label][told] > 0
    assert sum(found.confusion[each][each] for each in range(CLASSES)) == found.together.right


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_one_crop(batch):
    found = run([member()], [Crops((SIDE, SIDE), None)], batch)
    check(found, network(KERNEL)(standard(IMAGES)).softmax(1))
    assert found.members == (found.together,)


def test_ten_crops_are_the_mean_over_ten_crops():
    crops = v2.functional.ten_crop(v2.functional.resize(IMAGES, [10], antialias=True), [8, 8])
    shares = torch.stack([network(KERNEL)(standard(crop)).softmax(1) for crop in crops])
    found = run([member(flip=True)], [Crops((8, 8), 10, corners=True)])
    by_hand = shares.mean(0)
    assert found.together.right == (by_hand.argmax(1) == LABELS).sum()
    # PIL, which scales as in the training, rounds otherwise than torch does.
    loss = -by_hand[torch.arange(COUNT), LABELS].log().sum().item()
    assert found.together.loss == pytest.approx(loss, rel=2e-3)


def test_ten_crops_of_images_that_are_not_scaled_are_exact():
    crops = v2.functional.ten_crop(IMAGES, [6, 6])
    shares = torch.stack([network(KERNEL)(standard(crop)).softmax(1) for crop in crops])
    check(run([member(flip=True)], [Crops((6, 6), SIDE, corners=True)]), shares.mean(0))


@pytest.mark.parametrize("pixels", [1, 100, 10_000])
def test_several_scales_are_the_mean_over_the_scales_however_many_are_run_at_once(pixels):
    def scaled(side: int) -> Tensor:
        pictures = [SOURCE.sample(number)[0] for number in range(COUNT)]
        return torch.stack(
            [v2.functional.pil_to_tensor(v2.functional.resize(each, [side])) for each in pictures]
        )

    shares = [network(KERNEL)(standard(scaled(side))).softmax(1) for side in (6, 8, 12)]
    found = run([member(pixels=pixels)], [Scales((6, 8, 12))])
    check(found, torch.stack(shares).mean(0))


def test_an_ensemble_is_the_mean_of_the_softmaxes_each_on_its_own_pixels():
    mean, std = torch.tensor(0.1), torch.tensor(0.5)
    members = [
        member(),
        member(1, kernel=OTHER, mean=mean, std=std),
        member(0, kernel=-KERNEL, flip=True),
    ]
    found = run(members, [Crops((SIDE, SIDE), None), Crops((6, 6), SIDE)])
    inner = IMAGES[:, :, 1:7, 1:7]
    x = standard(IMAGES)
    mirrored = (network(-KERNEL)(x).softmax(1) + network(-KERNEL)(x.flip(3)).softmax(1)) / 2
    each = [
        network(KERNEL)(x).softmax(1),
        network(OTHER)(standard(inner, mean, std)).softmax(1),
        mirrored,
    ]
    check(found, torch.stack(each).mean(0))
    for counts, shares in zip(found.members, each, strict=True):
        loss = -shares[torch.arange(COUNT), LABELS].log().sum().item()
        assert counts.loss == pytest.approx(loss, rel=1e-5)
        assert counts.right == (shares.argmax(1) == LABELS).sum()


def test_a_network_twice_is_the_network():
    found = run([member(), member()], [Crops((SIDE, SIDE), None)])
    assert found.members[0] == found.members[1]
    assert found.together.right == found.members[0].right
    assert found.together.loss == pytest.approx(found.members[0].loss)


def test_a_mean_of_pixels_is_subtracted_and_of_other_sizes_the_channels():
    pixels = torch.rand(3, SIDE, SIDE, generator=generator)
    one = torch.ones(1, 1, 1)
    found = run([member(mean=pixels, std=one)], [Crops((SIDE, SIDE), None)])
    check(found, network(KERNEL)(IMAGES / 255 - pixels).softmax(1))
    found = run([member(mean=pixels, std=one)], [Crops((6, 6), SIDE)])
    means = pixels.mean((1, 2), keepdim=True)
    check(found, network(KERNEL)(IMAGES[:, :, 1:7, 1:7] / 255 - means).softmax(1))


def test_probabilities_are_taken_for_what_they_are():
    def score(x: Tensor) -> Tensor:
        return network(KERNEL)(x).softmax(1)

    given = member(score=score)
    check(run([given], [Crops((SIDE, SIDE), None)]), network(KERNEL)(standard(IMAGES)).softmax(1))
    assert given.probabilities
    logits = member()
    run([logits], [Crops((SIDE, SIDE), None)])
    assert not logits.probabilities


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    def score(x: Tensor) -> Tensor:
        return network(KERNEL)(x) * torch.tensor([1.0] * 5 + [bad])

    with pytest.raises(CompileError, match="the scores of `a network` are no numbers") as found:
        run([member(), member(score=score)], [Crops((SIDE, SIDE), None)])
    assert found.value.diagnostics[0].code == "RD676"


def test_networks_of_other_classes_than_the_images_are_refused():
    with pytest.raises(CompileError, match="tells 5 classes apart, and the images have 6") as found:
        run([member(kernel=KERNEL[:5])], [Crops((SIDE, SIDE), None)])
    assert found.value.diagnostics[0].code == "RD673"


def test_a_lack_of_memory_is_said():
    def score(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("many GiB")

    with pytest.raises(CompileError) as found:
        run([member(score=score)], [Crops((SIDE, SIDE), None)])
    assert found.value.diagnostics[0].code == "RD604"
    assert "--batch" in str(found.value.diagnostics[0].hint)
