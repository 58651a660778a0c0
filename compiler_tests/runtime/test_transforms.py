"""Crops are those of whole images scaled before; each transform takes colour and grey, and can go to a worker."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from resnet_dsl.runtime.transforms import (
    RandAugment,
    ScaleCrop,
    area_crop,
    trivial_augment,
)


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A smooth image with some noise: what scaling is for."""
    rng = np.random.default_rng(0)
    y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    waves = 100 + 60 * np.sin(x / 9 + np.arange(3)) + 40 * np.cos(y / 7)
    pixels = (waves + rng.normal(0, 15, (height, width, 3))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("width", "height"), [(90, 60), (61, 97), (50, 50), (30, 20)])
def test_a_scale_crop_is_a_crop_of_the_scaled_image(width, height, mode):
    image, crop = photograph(width, height, mode), ScaleCrop((32, 40), (40, 75))
    shorter = min(width, height)
    for seed in range(20):
        torch.manual_seed(seed)
        found = crop(image)
        torch.manual_seed(seed)
        length = int(torch.randint(40, 76, ()))
        scale = max(length / shorter, 32 / height, 40 / width)
        high, wide = round(scale * height), round(scale * width)
        top, left = int(torch.randint(high - 31, ())), int(torch.randint(wide - 39, ()))
        whole = v2.functional.resize(image, [high, wide])
        expected = v2.functional.crop(whole, top, left, 32, 40)
        difference = np.asarray(found).astype(int) - np.asarray(expected).astype(int)
        assert found.size == (40, 32)
        assert found.mode == mode
        assert abs(difference).max() <= 2  # levels, since each of two passes rounds
        assert abs(difference).mean() < 0.3


def test_every_length_of_the_range_and_every_place_of_the_crop_is_drawn(monkeypatch):
    drawn = set()

    def resize(image, size, resample, box):
        scale = size[0] / (box[2] - box[0])
        drawn.add((round(image.width * scale), round(box[0] * scale), round(box[1] * scale)))

    monkeypatch.setattr(Image.Image, "resize", resize)
    torch.manual_seed(0)
    image, crop = photograph(16, 16), ScaleCrop((6, 7), (7, 9))
    for _ in range(600):
        crop(image)
    places = [
        (length, x, y) for length in (7, 8, 9) for x in range(length - 6) for y in range(length - 5)
    ]
    assert sorted(drawn) == places


def test_an_image_smaller_than_the_crop_is_scaled_to_hold_it():
    assert ScaleCrop((64, 48), (10, 20))(photograph(30, 31)).size == (48, 64)


AREA_CROP = area_crop((24, 24), (0.35, 1.0), (3 / 4, 4 / 3))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "parts",
    [
        [ScaleCrop((24, 24), (30, 40))],
        [AREA_CROP],
        [AREA_CROP, trivial_augment()],
        [AREA_CROP, RandAugment(2, 7, 0.5)],
    ],
    ids=["scale", "area", "trivial", "rand"],
)
def test_a_chain_gives_bytes_and_follows_from_the_seed_in_a_worker_too(parts, mode):
    chain = v2.Compose([*parts, v2.PILToTensor()])
    sent = pickle.loads(pickle.dumps(chain))
    image = photograph(60, 45, mode)
    found = []
    for seed in range(40):
        torch.manual_seed(seed)
        found.append(chain(image))
        torch.manual_seed(seed)
        assert torch.equal(sent(image), found[-1])
        assert found[-1].shape == (len(mode), 24, 24)
        assert found[-1].dtype == torch.uint8
    assert len({each.numpy().tobytes() for each in found}) > 20


def test_an_area_crop_takes_the_shares_and_ratios_it_is_given():
    crop = area_crop((8, 8), (0.25, 0.25), (1.0, 1.0))
    ramp = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1)))
    torch.manual_seed(0)
    for _ in range(20):
        row = np.asarray(crop(ramp)).astype(int)[0]
        assert abs((row[-1] - row[0]) - 28) <= 1  # half the width: 32 columns on 8


@pytest.mark.parametrize("magnitude", [0, 2, 7, 10])
def test_rand_augment_without_deviation_is_torchvisions(magnitude, monkeypatch):
    """Which draws no normal numbers, so that they are left out here too."""
    monkeypatch.setattr(torch, "randn", lambda shape: torch.zeros(shape))
    image = photograph(20, 16)
    ours = RandAugment(2, magnitude, 0.0)
    theirs = v2.RandAugment(2, 3 * magnitude, interpolation=v2.InterpolationMode.BILINEAR)
    for seed in range(30):
        torch.manual_seed(seed)
        found = np.asarray(ours(image))
        torch.manual_seed(seed)
        assert np.array_equal(found, np.asarray(theirs(image)))


def test_the_strength_of_rand_augment_varies_around_its_own_and_stays_in_its_range():
    drawn: list[int] = []

    def strengths(magnitude: float, deviation: float) -> np.ndarray:
        """Of 2000 operations, from 0 to 30."""
        drawn.clear()
        augment = RandAugment(2, magnitude, deviation)
        augment.steps = [partial(noted, step) for step in range(31)]
        for _ in range(1000):
            augment(photograph(4, 4))
        return np.array(drawn)

    def noted(step: int, image: Image.Image) -> Image.Image:
        drawn.append(step)
        return image

    torch.manual_seed(0)
    found = strengths(7, 0.5)
    assert len(found) == 2000
    assert abs(found.mean() - 21) < 0.2
    assert abs(found.std() - np.hypot(1.5, 12**-0.5)) < 0.1  # rounded
    assert set(strengths(6, 0)) == {18}
    assert strengths(10, 1).max() == 30
    assert strengths(0, 1).min() == 0
    assert len(strengths(0, 1)) == 2000
