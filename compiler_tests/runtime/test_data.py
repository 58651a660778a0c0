"""The sets without files, the division of the training images, and data that do not fit the network."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_dsl.runtime.data import (
    ArrayData,
    DataError,
    check_classes,
    check_fits,
    divided,
    fake_images,
    fingerprint,
    hold_out,
    load_digits_images,
)


def test_digits_are_divided_once_and_for_all_with_classes_in_equal_shares():
    train, test = load_digits_images("train"), load_digits_images("test")
    assert train.images.shape == (1437, 1, 8, 8)
    assert test.images.shape == (360, 1, 8, 8)
    assert train.images.dtype == torch.float32
    assert [float(train.images.min()), float(train.images.max())] == [0, 1]
    assert train.classes == tuple("0123456789")
    assert test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    known = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in known for image in test.images)
    # The division of the trainer's first version, by the labels that it begins with.
    assert train.labels[:8].tolist() == [3, 9, 1, 3, 1, 9, 4, 4]


def test_without_scikit_learn_the_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="python -m pip install scikit-learn"):
        load_digits_images("train")


def test_fake_images_follow_from_their_seed():
    data, same, other = (fake_images(7, (3, 4, 5), 3, seed) for seed in (1, 1, 2))
    assert data.images.shape == (7, 3, 4, 5)
    assert data.images.dtype == torch.uint8
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert data.classes == ("0", "1", "2")
    assert torch.equal(data.images, same.images)
    assert not torch.equal(data.images, other.images)


def test_images_of_another_size_are_told_with_the_input_to_write():
    data = fake_images(4, (1, 28, 28), 10, 0)
    check_fits(data, shape=(1, 28, 28), classes=10)
    with pytest.raises(DataError) as caught:
        check_fits(data, shape=(3, 32, 32), classes=10)
    assert str(caught.value) == (
        "the images are 1×28×28 (channels × height × width) and the network takes 3×32×32\n"
        "write `input: {channels: 1, size: 28}` in the spec, or take other data"
    )
    with pytest.raises(DataError, match=r"`input: {channels: 3, size: \[4, 5\]}`"):
        check_fits(fake_images(4, (3, 4, 5), 10, 0), shape=(3, 32, 32), classes=10)


def test_another_number_of_classes_is_told_with_the_number_to_write():
    with pytest.raises(DataError) as caught:
        check_fits(fake_images(40, (3, 8, 8), 10, 0), shape=(3, 8, 8), classes=100)
    assert str(caught.value) == (
        "the data have 10 classes (0, 1, 2, 3, 4, …) and the network tells 100 apart\n"
        "write `classes: 10` in the spec, or take other data"
    )
    with pytest.raises(DataError, match=r"have 1 class \(cat\)"):
        check_classes(("cat",), 2)


def test_what_is_held_out_and_what_remains_are_all_images_once():
    data = fake_images(103, (1, 2, 2), 10, 0)
    rest, held = hold_out(data, 20, seed=3)
    assert (len(rest), len(held)) == (83, 20)
    assert held.labels.bincount().tolist() == [2] * 10
    together = torch.cat([rest.images, held.images]).flatten(1).tolist()
    assert sorted(together) == sorted(data.images.flatten(1).tolist())
    assert rest.classes == held.classes == data.classes
    again, other = hold_out(data, 20, seed=3)[1], hold_out(data, 20, seed=4)[1]
    assert torch.equal(held.images, again.images)
    assert not torch.equal(held.images, other.images)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_each_class_gives_its_share_to_within_one_and_keeps_an_image(sizes, data):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    count = data.draw(st.integers(0, sum(sizes) - len(sizes)))
    rest, held = divided(labels, count, seed=0)
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert len(held) == count
    left = torch.bincount(labels[rest], minlength=len(sizes))
    assert left.min() >= 1
    shares = [size * count / len(labels) for size in sizes]
    if all(share <= size - 1 for share, size in zip(shares, sizes, strict=True)):
        taken = torch.bincount(labels[held], minlength=len(sizes)).tolist()
        assert all(abs(got - share) < 1 for got, share in zip(taken, shares, strict=True))


def test_more_than_the_classes_can_spare_is_not_held_out():
    with pytest.raises(DataError, match=r"of 6 training images, 5 cannot be held out"):
        divided(torch.tensor([0, 0, 0, 1, 1, 1]), 5, seed=0)


def test_the_fingerprint_changes_with_every_part_of_the_data():
    data = fake_images(5, (1, 2, 2), 3, 0)
    known = fingerprint(data)
    assert known == fingerprint(fake_images(5, (1, 2, 2), 3, 0))
    pixel = data.images.clone()
    pixel[4, 0, 1, 1] ^= 1
    others = [
        ArrayData(pixel, data.labels, data.classes),
        ArrayData(data.images, data.labels.flip(0), data.classes),
        ArrayData(data.images, data.labels, ("0", "1", "two")),
        ArrayData(data.images.reshape(5, 2, 2, 1), data.labels, data.classes),
        ArrayData(data.images.view(torch.int8), data.labels, data.classes),
    ]
    found = {fingerprint(other) for other in others}
    assert len(found) == 5
    assert known not in found


def test_the_fingerprint_is_of_the_images_and_not_of_how_memory_holds_them():
    data = fake_images(6, (3, 4, 4), 2, 0)
    last = data.images.contiguous(memory_format=torch.channels_last)
    assert fingerprint(ArrayData(last, data.labels, data.classes)) == fingerprint(data)
