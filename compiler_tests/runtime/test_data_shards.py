"""Shards are found, counted and indexed; an epoch's order mixes them, and each process reads its own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from compiler_tests.runtime.data_trees import encoded, photograph, write_archive
from resnet_dsl.runtime import data_shards
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_shards import (
    ShardData,
    expand_shards,
    fingerprint_shards,
    open_shards,
    shard_index,
    shard_order,
)


def samples(first: int, count: int, ending: str = "png") -> dict[str, bytes]:
    """Members of a shard: image and label of each sample, whose number says both."""
    kind = {"jpg": "JPEG", "jpeg": "JPEG"}.get(ending, ending.upper())
    found: dict[str, bytes] = {}
    for number in range(first, first + count):
        found[f"{number:06}.{ending}"] = encoded(photograph(number), kind)
        found[f"{number:06}.cls"] = b"%d\n" % (number % 10)
    return found


def write_shards(folder: Path, counts: list[int], name: str = "train") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    first = 0
    for shard, count in enumerate(counts):
        write_archive(folder / f"{name}-{shard:03}.tar", samples(first, count))
        first += count
    return folder


def numbers(ends: list[int]) -> ShardData:
    """Data of which only the order is asked."""
    return ShardData(tuple(map(Path, map(str, ends))), torch.tensor(ends), ("0",), 3)


def refusal(pattern: str | Path, split: str = "train", classes: int = 10) -> str:
    with pytest.raises(DataError) as caught:
        read_all(pattern, split, classes)
    return str(caught.value)


def read_all(pattern: str | Path, split: str, classes: int) -> None:
    data = open_shards(pattern, split, channels=3, classes=classes)
    for index in range(len(data)):
        data.sample(index)


def test_samples_are_numbered_through_all_shards(tmp_path):
    data = open_shards(write_shards(tmp_path, [3, 1, 4]), "train", channels=3, classes=10)
    assert len(data) == 8
    assert data.classes == tuple("0123456789")
    for number in (7, 0, 3, 2, 4, 1, 6, 5):
        image, label = data.sample(number)
        assert label == number
        assert np.array_equal(np.asarray(image), np.asarray(photograph(number)))


def test_labels_are_read_from_cls_or_from_json_and_images_of_any_kind(tmp_path):
    content = {ending: encoded(photograph(n), kind) for n, (ending, kind) in enumerate(KINDS)}
    members = {
        "a/1.jpg": content["jpg"],
        "a/1.cls": b"3",
        "a/2.json": b'{"label": 4, "cls": 0}',
        "a/2.JPEG": content["jpeg"],
        "b/2.json": b'{"cls": "5"}',
        "b/2.png": content["png"],
        "c.webp": content["webp"],
        "c.json": b'{"label": 1}',
        "c.cls": b"6",
        "c.txt": b"a caption",
        "c.mask.png": b"something else",
        "notes.json": b'{"version": 1}',
    }
    path = write_archive(tmp_path / "train.tar", members)
    data = open_shards(tmp_path, "train", channels=3, classes=10)
    assert shard_index(path).names.split("\n") == ["a/1", "a/2", "b/2", "c"]
    assert [data.sample(index)[1] for index in range(4)] == [3, 4, 5, 6]


KINDS = (("jpg", "JPEG"), ("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"))


def test_shards_are_found_by_folder_by_name_and_by_pattern(tmp_path):
    write_shards(tmp_path / "a" / "train", [2, 2], "x")
    write_shards(tmp_path / "a" / "val", [1], "x")
    write_shards(tmp_path / "b", [2, 2], "cifar-train")
    write_shards(tmp_path / "b", [1], "cifar-validation")
    pattern = (
        f"{tmp_path}/b/cifar-train-{{000..001}}.tar::{tmp_path}/b/cifar-validation-{{000..000}}.tar"
    )
    for where in (tmp_path / "a", tmp_path / "b", pattern):
        assert len(open_shards(where, "train", channels=3, classes=10)) == 4
        assert len(open_shards(where, "test", channels=3, classes=10)) == 1


def test_a_pattern_counts_with_the_zeros_that_it_has(tmp_path):
    for name in ("a-8", "a-9", "a-10", "b-08", "b-09", "b-10", "c-0-1", "c-1-1", "c-0-2", "c-1-2"):
        (tmp_path / f"{name}.tar").touch()

    def found(pattern: str) -> list[str]:
        return [path.stem for path in expand_shards(f"{tmp_path}/{pattern}.tar")]

    assert found("a-{8..10}") == ["a-8", "a-9", "a-10"]
    assert found("b-{08..10}") == ["b-08", "b-09", "b-10"]
    assert found("c-{0..1}-{1..2}") == ["c-0-1", "c-0-2", "c-1-1", "c-1-2"]
    assert found("a-9") == ["a-9"]
    with pytest.raises(
        DataError, match=r"of the 3 shards that .* stands for, 2 are not there: the first is"
    ):
        found("a-{9..11}".replace("9", "10").replace("11", "12"))
    for wrong in ("a-{9..8}", "a-{0..99999999}"):
        with pytest.raises(DataError, match="does not count from low to high"):
            found(wrong)


def test_where_no_shards_are_it_is_said_what_to_name(tmp_path):
    assert "has no shards for `train`: no .tar files in a folder of that name" in refusal(tmp_path)
    assert "is not a folder of shards\nname a folder, or two patterns" in refusal(
        tmp_path / "x.tar"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sizes.json", {"train-000.tar": 3, "train-001.tar": 1}),
        (
            "_info.json",
            {
                "splits": {
                    "train": {
                        "filenames": ["train-000.tar", "train-001.tar"],
                        "shard_lengths": [3, 1],
                    }
                }
            },
        ),
    ],
)
def test_counts_that_are_said_are_taken_without_reading_the_shards(
    tmp_path, monkeypatch, name, said
):
    write_shards(tmp_path, [3, 1])
    (tmp_path / name).write_text(json.dumps(said))

    def no(path: Path) -> int:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(data_shards, "count_samples", no)
    data = open_shards(tmp_path, "train", channels=3, classes=10)
    assert data.ends.tolist() == [3, 4]
    assert data.sample(3)[1] == 3


def test_a_count_that_is_wrong_is_noticed_when_the_shard_is_read(tmp_path):
    write_shards(tmp_path, [3, 1])
    (tmp_path / "sizes.json").write_text('{"train-000.tar": 4}')
    assert "train-000.tar has 3 samples, and was said to have 4\n" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", '{"a.tar": "many"}', '{"a.tar": -1}', '{"splits": {"train": {}}}', "[" * 100_000],
)
def test_a_file_of_counts_that_says_nothing_is_named(tmp_path, text):
    write_shards(tmp_path, [1])
    (tmp_path / "sizes.json").write_text(text)
    assert f"{tmp_path / 'sizes.json'} does not say how many samples the shards have" in refusal(
        tmp_path
    )


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"1.png": b"x"}, "1 has an image and no label\nbeside it belongs 1.cls with a number"),
        ({"1.png": b"x", "1.json": b'{"text": "cat"}'}, "1 has an image and no label"),
        ({"1.cls": b"1"}, "1 has no image (.jpg, .jpeg, .png, .webp)"),
        ({"1.png": b"x", "1.cls": b"cat"}, "1.cls is no label: invalid literal"),
        ({"1.png": b"x", "1.cls": b"-1"}, "1.cls is no label: they count from 0, and this is -1"),
        ({"1.png": b"x", "1.json": b"[1]"}, "1.json is no label"),
        ({"1.png": b"x", "1.json": b'{"label": 1.5}'}, "1.json is no label"),
        (
            {"1.png": b"x", "1.cls": b"10"},
            "1 is of class 10, and the network tells 10 apart, from 0 on",
        ),
        ({"1.png": b"x", "1.cls": b"1"}, "1 is not the image that its name says"),
        ({}, "have no samples"),
    ],
)
def test_a_shard_that_is_not_whole_is_named_with_the_sample(tmp_path, members, said):
    path = write_archive(tmp_path / "train.tar", members)
    found = refusal(tmp_path)
    assert found.startswith(str(path))
    assert said in found


def test_a_compressed_shard_says_what_to_do(tmp_path):
    write_archive(tmp_path / "train.tar", samples(0, 1), "w:gz")
    assert "is compressed, and shards are read at random\nunpack it with gunzip" in refusal(
        tmp_path
    )


@pytest.mark.parametrize("streams", [1, 2, 4, 8])
def test_an_epoch_has_every_sample_once_but_for_what_fills_no_batch(streams):
    data = numbers([30, 31, 75, 130, 131, 163])
    for epoch in range(5):
        order = shard_order(data, seed=1, epoch=epoch, batch=8, streams=streams, window=20)
        assert len(order) == 160
        assert len(set(order.tolist())) == 160
        assert 0 <= order.min() <= order.max() < 163


def test_the_order_follows_from_seed_and_epoch():
    data = numbers([50, 100, 150, 200])

    def order(seed: int, epoch: int) -> list[int]:
        return shard_order(data, seed=seed, epoch=epoch, batch=8, streams=2, window=30).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_without_a_window_shards_are_read_from_front_to_end():
    data = numbers(list(range(10, 110, 10)))
    order = shard_order(data, seed=0, epoch=0, batch=5, streams=1, window=0).tolist()
    begins = order[::10]
    assert order == [begin + n for begin in begins for n in range(10)]
    assert sorted(begins) == list(range(0, 100, 10))
    assert begins != sorted(begins)


def test_samples_move_by_at_most_the_window_and_most_of_them_do():
    data = numbers([1000])
    order = shard_order(data, seed=0, epoch=0, batch=10, streams=1, window=50)
    moved = (order - torch.arange(1000)).abs()
    assert moved.max() <= 50
    assert moved.float().mean() > 10


def test_each_slice_of_the_batches_reads_shards_of_its_own():
    """With 2 processes and 2 micro-batches, 4 slices of 4: of 16 shards each is read by one, but for cuts."""
    data = numbers([20 * (n + 1) + n % 3 for n in range(16)])
    order = shard_order(data, seed=0, epoch=0, batch=16, streams=4, window=64).reshape(-1, 4, 4)
    shards = torch.searchsorted(data.ends, order, right=True)
    readers = Counter(shard for k in range(4) for shard in set(shards[:, k].flatten().tolist()))
    assert sum(readers.values()) <= 16 + 3
    assert set(readers) == set(range(16))


def test_the_fingerprint_is_of_names_sizes_and_counts(tmp_path):
    def found(where: Path) -> str:
        return fingerprint_shards(open_shards(where, "train", channels=3, classes=10))

    first = found(write_shards(tmp_path / "a", [2, 2]))
    assert first == found(write_shards(tmp_path / "b", [2, 2]))
    assert first != found(write_shards(tmp_path / "c", [2, 3]))
    (tmp_path / "b" / "train-001.tar").rename(tmp_path / "b" / "train-002.tar")
    assert first != found(tmp_path / "b")
