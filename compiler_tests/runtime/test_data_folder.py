"""Folders and archives of images are one and the same data, and what is wrong in them is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.datasets import ImageFolder

from compiler_tests.runtime.data_trees import (
    encoded,
    photograph,
    small_tree,
    write_archive,
    write_tree,
)
from resnet_dsl.runtime import data_folder
from resnet_dsl.runtime.data import ArrayData, DataError, fingerprint
from resnet_dsl.runtime.data_files import open_folder
from resnet_dsl.runtime.data_folder import load_folder, load_folders
from resnet_dsl.runtime.data_images import decode_image
from resnet_dsl.runtime.data_statistics import channel_statistics

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.gz"


def load(path: Path, split: str = "train", **changes: Any) -> ArrayData:
    settings: dict[str, Any] = {"channels": 3, "size": (8, 8), "resize": None} | changes
    return load_folder(path, split, **settings)


def refusal(path: Path, split: str = "train", **changes) -> str:
    with pytest.raises(DataError) as caught:
        load(path, split, **changes)
    return str(caught.value)


def test_a_folder_and_its_archives_are_the_same_data_in_whatever_order(tmp_path):
    tree = small_tree()
    folder = write_tree(tmp_path / "folder", tree)
    backwards = dict(reversed(tree.items()))
    nested = {f"./pets/{name}": content for name, content in tree.items()}
    paths = [
        folder,
        write_archive(tmp_path / "a.tar", tree),
        write_archive(tmp_path / "b.tar.gz", backwards, "w:gz"),
        write_archive(tmp_path / "c.tgz", nested, "w:gz"),
    ]
    for split, count in (("train", 4), ("test", 2)):
        found = [load(path, split) for path in paths]
        assert len({fingerprint(data) for data in found}) == 1
        assert found[0].labels.tolist() == [0] * count + [1] * count
        assert found[0].classes == ("cat", "dog")
    both = load_folders(paths[2], ("train", "test"), channels=3, size=(8, 8), resize=None)
    assert [fingerprint(data) for data in both] == [
        fingerprint(load(folder, split)) for split in ("train", "test")
    ]


def test_images_labels_and_classes_are_those_of_torchvisions_image_folder(tmp_path):
    names = ("10", "9", "Zebra", "ant")  # sorted as text
    tree = {
        f"train/{name}/{file}.png": encoded(photograph(7 * place + file), "PNG")
        for place, name in enumerate(names)
        for file in (10, 9, 1)
    }
    folder = write_tree(tmp_path, tree)
    theirs, ours = ImageFolder(folder / "train"), load(folder)
    assert ours.classes == tuple(theirs.classes)
    assert ours.labels.tolist() == theirs.targets
    for pixels, (path, _) in zip(ours.images, theirs.samples, strict=True):
        assert torch.equal(pixels, decode_image(Path(path).read_bytes(), "", 3, (8, 8), None))


@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_the_test_images_stand_in_test_or_val_or_validation(tmp_path, name):
    tree = {key.replace("test/", f"{name}/"): value for key, value in small_tree().items()}
    assert len(load(write_tree(tmp_path / "f", tree), "test")) == 4
    assert len(load(write_archive(tmp_path / "f.tar", tree), "test")) == 4


def test_a_test_folder_without_classes_gives_way_to_val(tmp_path):
    tree = {key.replace("test/", "val/"): value for key, value in small_tree().items()}
    tree["test/0001.jpg"] = encoded(photograph(0))
    assert len(load(write_tree(tmp_path, tree), "test")) == 4


def test_other_files_and_hidden_ones_are_left_aside(tmp_path):
    extra = {
        "README.md": b"",
        "train/cat/notes.txt": b"",
        "train/cat/._0.jpg": b"",
        "train/.x/1.jpg": b"",
    }
    tree = small_tree() | extra
    assert len(load(write_tree(tmp_path / "f", tree))) == 8
    assert len(load(write_archive(tmp_path / "f.tar", tree))) == 8


def test_of_a_file_that_an_archive_holds_twice_the_last_counts(tmp_path):
    """As for tar itself, whose `--append` replaces files so."""
    tree = small_tree()
    path = write_archive(tmp_path / "twice.tar", tree)
    tree["train/cat/0.jpg"] = encoded(photograph(99))
    write_archive(path, {"train/cat/0.jpg": tree["train/cat/0.jpg"]}, "a")
    once = write_archive(tmp_path / "once.tar", tree)
    assert fingerprint(load(path)) == fingerprint(load(once))
    assert open_folder(path, "train", channels=3).content(0) == tree["train/cat/0.jpg"]


def test_large_images_are_decoded_by_threads_and_come_out_the_same(tmp_path):
    kinds = [encoded(photograph(n, (128, 128)), "PNG") for n in range(7)]
    assert min(map(len, kinds)) > 8192
    files = {f"train/cat/{n:04}.png": kinds[n % 7] for n in range(600)}
    folder = write_tree(tmp_path, files)
    found = load(folder, size=(128, 128)).images
    expected = [decode_image(content, "", 3, (128, 128), None) for content in kinds]
    assert all(torch.equal(image, expected[n % 7]) for n, image in enumerate(found))


def test_images_of_another_size_are_named_or_resized(tmp_path):
    tree = small_tree(size=(20, 10))
    folder = write_tree(tmp_path, tree)
    assert f"{folder}: train/cat/0.jpg is 10×20 pixels" in refusal(folder)
    found = load(folder, resize=8)
    assert found.images.shape == (8, 3, 8, 8)
    assert load(folder, resize=8, channels=1).images.shape == (8, 1, 8, 8)


def test_a_damaged_image_is_named(tmp_path):
    tree = small_tree() | {"train/dog/9.jpg": b"\xff\xd8 no"}
    for path in (write_tree(tmp_path / "f", tree), write_archive(tmp_path / "f.tgz", tree, "w:gz")):
        assert refusal(path).startswith(f"{path}: train/dog/9.jpg is ")


def test_a_folder_without_splits_says_how_images_stand(tmp_path):
    write_tree(tmp_path / "pets", {"cat/1.jpg": b"", "dog/1.jpg": b""})
    assert refusal(tmp_path / "pets") == (
        f"{tmp_path / 'pets'} has no folder `train` with a folder for each class; it holds cat, dog\n"
        "images stand in train/<class>/ and test/<class>/"
    )
    assert "has no folder `test` (nor `val`, nor `validation`) with" in refusal(
        tmp_path / "pets", "test"
    )
    (tmp_path / "empty").mkdir()
    assert "it holds nothing" in refusal(tmp_path / "empty")
    archive = write_archive(tmp_path / "pets.tar", {"cat/1.jpg": b"", "dog/1.jpg": b""})
    assert "it holds cat, dog" in refusal(archive)


def test_a_class_without_images_is_named(tmp_path):
    folder = write_tree(tmp_path, small_tree() | {"train/emu/notes.txt": b""})
    assert f"{folder} has no images in train/emu\n" in refusal(folder)
    (folder / "train" / "emu" / "notes.txt").unlink()
    assert f"{folder} has no images in train/emu\n" in refusal(folder)
    assert load(folder, "test").classes == ("cat", "dog", "emu")


def test_a_class_of_test_that_is_none_of_train_is_named(tmp_path):
    tree = small_tree() | {"test/emu/1.jpg": encoded(photograph(0))}
    for path in (write_tree(tmp_path / "f", tree), write_archive(tmp_path / "f.tar", tree)):
        assert f"{path} has the class `emu` in test and not in train\n" in refusal(path, "test")


def test_test_images_have_the_labels_of_train_even_if_a_class_is_not_among_them(tmp_path):
    tree = {name: content for name, content in small_tree().items() if "test/cat" not in name}
    found = load(write_tree(tmp_path, tree), "test")
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [1, 1]


def test_a_class_name_that_cannot_be_printed_is_refused(tmp_path):
    folder = write_tree(tmp_path, {"train/a\nb/1.jpg": encoded(photograph(0))})
    assert "has a class whose name is no printable text: 'a\\nb'" in refusal(folder)


def test_what_is_not_there_or_cannot_be_read_is_named(tmp_path):
    assert (
        refusal(tmp_path / "no.tar")
        == f"{tmp_path / 'no.tar'} cannot be read: No such file or directory"
    )


def test_more_images_than_memory_holds_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(data_folder, "memory_size", lambda: 1000.0)
    folder = write_tree(tmp_path, small_tree())
    assert "more than this machine's memory holds\nwrite `memory: false`" in refusal(folder)


def test_other_channels_than_images_have_are_refused(tmp_path):
    assert "takes images of 4 channels" in refusal(tmp_path, channels=4)


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR.exists(), reason="the archive stands beside the repository only")
def test_the_jpeg_copy_of_cifar_is_loaded_whole():
    train, test = load_folders(CIFAR, ("train", "test"), channels=3, size=(32, 32), resize=None)
    assert train.images.shape == (50_000, 3, 32, 32)
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.classes[:3] == ("airplane", "automobile", "bird")
    mean, std = channel_statistics(
        train
    )  # of the originals: 0.4914 0.4822 0.4465, 0.2470 0.2435 0.2616
    assert torch.allclose(mean.flatten(), torch.tensor([0.4914, 0.4822, 0.4465]), atol=1e-3)
    assert torch.allclose(std.flatten(), torch.tensor([0.2470, 0.2435, 0.2616]), atol=3e-3)
