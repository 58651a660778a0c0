"""CIFAR is read from the folder and from the archive, and nothing is unpickled but the published files."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from compiler_tests.runtime.data_trees import write_archive, write_tree
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_cifar import load_cifar


def pixels(seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def publish(monkeypatch, known, files: dict[str, object]) -> dict[str, bytes]:
    """The files as torchvision's class is told to know them, by name."""
    packed = {name: pickle.dumps(content) for name, content in files.items()}
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in packed.items()}
    names = {known.meta["filename"], "test", "test_batch"}
    monkeypatch.setattr(
        known, "train_list", [[name, md5[name]] for name in packed if name not in names]
    )
    monkeypatch.setattr(
        known, "test_list", [[name, md5[name]] for name in packed if name.startswith("test")]
    )
    monkeypatch.setattr(known, "meta", {**known.meta, "md5": md5[known.meta["filename"]]})
    return {f"{known.base_folder}/{name}": content for name, content in packed.items()}


@pytest.fixture
def cifar10(monkeypatch) -> dict[str, bytes]:
    return publish(
        monkeypatch,
        CIFAR10,
        {
            "batches.meta": {"label_names": ["plane", "car"]},
            "data_batch_1": {"data": pixels(1), "labels": [0, 1, 0]},
            "data_batch_2": {"data": pixels(2), "labels": [1, 1, 0]},
            "test_batch": {"data": pixels(3, 2), "labels": [1, 0]},
        },
    )


@pytest.fixture
def cifar100(monkeypatch) -> dict[str, bytes]:
    return publish(
        monkeypatch,
        CIFAR100,
        {
            "meta": {"fine_label_names": ["apple", "bear"], "coarse_label_names": ["fruit"]},
            "train": {"data": pixels(1), "fine_labels": [0, 1, 0], "coarse_labels": [0, 0, 0]},
            "test": {"data": pixels(3, 2), "fine_labels": [1, 0], "coarse_labels": [0, 0]},
        },
    )


def layouts(tmp_path: Path, files: dict[str, bytes], known) -> list[Path]:
    """Every path by which the same files may be named."""
    folder = write_tree(tmp_path / "folder", files)
    (tmp_path / "archive").mkdir()
    archive = write_archive(tmp_path / "archive" / known.filename, files, "w:gz")
    return [folder, folder / known.base_folder, archive.parent, archive]


def test_cifar10_is_the_same_from_the_folder_and_the_archive(tmp_path, cifar10):
    for path in layouts(tmp_path, cifar10, CIFAR10):
        train = load_cifar(path, "cifar10", "train", download=False)
        test = load_cifar(path, "cifar10", "test", download=False)
        assert train.classes == test.classes == ("plane", "car")
        assert train.labels.tolist() == [0, 1, 0, 1, 1, 0]
        assert train.labels.dtype == torch.int64
        expected = np.concatenate([pixels(1), pixels(2)]).reshape(6, 3, 32, 32)
        assert np.array_equal(train.images.numpy(), expected)
        assert np.array_equal(test.images.numpy(), pixels(3, 2).reshape(2, 3, 32, 32))


def test_the_images_are_those_that_torchvision_gives(tmp_path, cifar10):
    folder = write_tree(tmp_path, cifar10)
    theirs = CIFAR10(folder, train=True)
    ours = load_cifar(folder, "cifar10", "train", download=False)
    assert np.array_equal(ours.images.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert ours.labels.tolist() == theirs.targets


def test_cifar100_has_its_fine_classes(tmp_path, cifar100):
    for path in layouts(tmp_path, cifar100, CIFAR100):
        train = load_cifar(path, "cifar100", "train", download=False)
        assert train.classes == ("apple", "bear")
        assert train.labels.tolist() == [0, 1, 0]
        assert len(load_cifar(path, "cifar100", "test", download=False)) == 2


class Harm:
    """What a hostile pickle would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_is_not_the_published_one_is_never_unpickled(tmp_path, cifar10):
    harm = tmp_path / "harm"
    cifar10["cifar-10-batches-py/data_batch_2"] = pickle.dumps(Harm(harm))
    for path in layouts(tmp_path, cifar10, CIFAR10):
        with pytest.raises(DataError, match=r"data_batch_2 in .* is not the published file"):
            load_cifar(path, "cifar10", "train", download=False)
        assert len(load_cifar(path, "cifar10", "test", download=False)) == 2
    assert not harm.exists()


def test_where_there_is_no_cifar_it_is_said_what_is_looked_for(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError) as caught:
            load_cifar(path, "cifar100", "train", download=False)
        assert str(caught.value) == (
            f"{path} holds neither the folder cifar-100-python nor the archive "
            "cifar-100-python.tar.gz\n--data names the folder that holds them; `download: true` "
            "fetches them from https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
        )


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + bytes(40)])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path} cannot be read as an archive of CIFAR"):
        load_cifar(path, "cifar10", "train", download=False)


def test_an_archive_that_is_cut_off_is_refused(tmp_path, cifar10):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", cifar10, "w:gz")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cannot be read as an archive of CIFAR"):
        load_cifar(path, "cifar10", "test", download=False)


def test_another_archive_is_told_apart_from_cifars(tmp_path):
    path = write_archive(tmp_path / "images.tar.gz", {"train/cat/1.jpg": b""}, "w:gz")
    with pytest.raises(DataError, match=r"has no batches.meta: .*\n.*`data: folder`"):
        load_cifar(path, "cifar10", "test", download=False)


def test_torchvision_fetches_what_is_not_there(tmp_path, monkeypatch, cifar10):
    fetched = []

    def download(self: CIFAR10) -> None:
        fetched.append(self.root)
        write_tree(Path(self.root), cifar10)

    monkeypatch.setattr(CIFAR10, "download", download)
    for _ in range(2):
        assert len(load_cifar(tmp_path / "new", "cifar10", "train", download=True)) == 6
    assert fetched == [tmp_path / "new"]


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    def download(self: CIFAR10) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", download)
    with pytest.raises(
        DataError, match=r"cannot be downloaded to .*: no route to host\nget cifar-10"
    ):
        load_cifar(tmp_path, "cifar10", "train", download=True)
