"""Images that are read when they are asked for are those that memory would hold."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

from compiler_tests.runtime.data_trees import (
    encoded,
    photograph,
    small_tree,
    write_archive,
    write_tree,
)
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_files import (
    check_file_sizes,
    fingerprint_files,
    hold_out_files,
    open_folder,
)
from resnet_dsl.runtime.data_folder import load_folder


@pytest.fixture(params=["folder", "archive"])
def path(request, tmp_path):
    if request.param == "folder":
        return write_tree(tmp_path / "set", small_tree())
    return write_archive(tmp_path / "set.tar", dict(reversed(small_tree().items())))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_the_one_that_memory_would_hold(path, channels):
    for split in ("train", "test"):
        held = load_folder(path, split, channels=channels, size=(8, 8), resize=None)
        files = pickle.loads(pickle.dumps(open_folder(path, split, channels=channels)))
        assert len(files) == len(held)
        assert files.classes == held.classes
        assert torch.equal(files.labels, held.labels)
        for index in range(len(files)):
            image, label = files.sample(index)
            assert label == held.labels[index]
            pixels = np.asarray(image).reshape(8, 8, channels)
            assert np.array_equal(pixels, held.images[index].permute(1, 2, 0))


def test_images_are_held_out_by_class(path):
    data = open_folder(path, "train", channels=3)
    rest, held = hold_out_files(data, 2, seed=0)
    assert (len(rest), len(held)) == (6, 2)
    assert held.labels.tolist() == [0, 1]
    assert sorted([*rest.names, *held.names]) == sorted(data.names)
    for part in (rest, held):
        for index, name in enumerate(part.names):
            assert part.content(index) == data.content(data.names.index(name))


def test_a_compressed_archive_says_what_to_do(tmp_path):
    path = write_archive(tmp_path / "set.tgz", small_tree(), "w:gz")
    with pytest.raises(
        DataError, match=r"is compressed, .*\nunpack it \(gunzip set.tgz\), or write"
    ):
        open_folder(path, "train", channels=3)


def test_a_file_that_is_gone_is_named(tmp_path):
    data = open_folder(write_tree(tmp_path, small_tree()), "train", channels=3)
    (tmp_path / data.names[3]).unlink()
    with pytest.raises(DataError, match=f"{tmp_path / data.names[3]} cannot be read: No such file"):
        data.sample(3)


def test_images_of_another_size_are_found_among_a_hundred(tmp_path):
    tree = {f"train/cat/{n:03}.png": encoded(photograph(0), "PNG") for n in range(250)}
    tree["train/cat/240.png"] = encoded(photograph(0, (9, 8)), "PNG")
    data = open_folder(write_tree(tmp_path, tree), "train", channels=3)
    with pytest.raises(
        DataError, match=r"train/cat/240.png is 8×9 pixels and the network takes 8×8\n"
    ):
        check_file_sizes(data, (8, 8))
    with pytest.raises(
        DataError, match=r"train/cat/000.png is 8×8 pixels and the network takes 8×9\n"
    ):
        check_file_sizes(data, (8, 9))
    os.remove(tmp_path / "train/cat/240.png")
    (tmp_path / "train/cat/000.png").write_bytes(b"damaged")
    check_file_sizes(open_folder(tmp_path, "train", channels=3), (8, 8))


def test_the_fingerprint_is_of_names_sizes_and_labels_wherever_they_stand(tmp_path):
    tree = small_tree()
    first = fingerprint_files(open_folder(write_tree(tmp_path / "a", tree), "train", channels=3))
    moved = fingerprint_files(
        open_folder(write_archive(tmp_path / "a.tar", tree), "train", channels=3)
    )
    assert first == moved
    other = dict(tree)
    other["train/cat/0.jpg"] += b"0"
    renamed = {name.replace("cat/0", "cat/00"): content for name, content in tree.items()}
    relabelled = {name.replace("cat/0", "dog/9"): content for name, content in tree.items()}
    found = {
        fingerprint_files(open_folder(write_tree(tmp_path / str(n), each), "train", channels=3))
        for n, each in enumerate((other, renamed, relabelled))
    }
    assert len(found) == 3
    assert first not in found
