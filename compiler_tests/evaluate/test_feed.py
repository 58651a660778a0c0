"""A feed gives the images that an evaluation sees, standardised, from any place that holds images."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compiler_tests.evaluate.tiny import RESIDUAL, compiled
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.feed import Feed, open_feed
from resnet_dsl.evaluate.geometry import Crops
from resnet_dsl.evaluate.images import chosen, open_source
from resnet_dsl.evaluate.normalise import Standard
from resnet_dsl.evaluate.request import DataChoice
from resnet_dsl.evaluate.views import batches
from resnet_dsl.runtime.augment import as_operand, standardised

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 0.75)
TRAINED = RESIDUAL + (
    f"train: {{recipe: digits, data: folder, path: nowhere, normalise: channel, mean: {list(MEAN)}, "
    f"std: {list(STD)}}}\n"
)
GREY = RESIDUAL.replace("channels: 3", "channels: 1").replace("classes: 7", "classes: 10")


@pytest.fixture
def network(tmp_path: Path) -> Compilation:
    return compiled(tmp_path, TRAINED)


def pixels(count: int, size: int = 8, seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    return draws.integers(0, 256, (count, 3, size, size), np.uint8)


def saved(folder: Path, array: np.ndarray, name: str = "images.npy") -> str:
    np.save(folder / name, array)
    return str(folder / name)


def all_of(feed: Feed, size: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    found = list(feed.batches(size))
    labels = [each for _, each in found if each is not None]
    assert len(labels) in (0, len(found))
    return np.concatenate([each for each, _ in found]), np.concatenate(labels) if labels else None


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (8, 8)) -> None:
    for seed, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        draws = np.random.default_rng(seed)
        Image.fromarray(draws.integers(0, 256, (*size, 3), np.uint8)).save(file)


def tree(folder: Path, splits: tuple[str, ...] = ("train", "test"), each: int = 2) -> Path:
    names = [
        f"{split}/class{label}/{number}.png"
        for split in splits
        for label in range(7)
        for number in range(each)
    ]
    write_images(folder, names)
    return folder


def refused(code: str, network: Compilation, place: str | None, *said: str) -> CompileError:
    with pytest.raises(CompileError) as caught:
        open_feed(network, None, place, "train", None)
    (found,) = caught.value.diagnostics
    assert found.code == code
    text = f"{found.message} {found.why} {found.hint}"
    assert all(word in text for word in said), text
    assert found.hint
    return caught.value


def test_floats_of_an_array_come_as_they_are(tmp_path, network):
    array = np.random.default_rng(1).normal(size=(7, 3, 8, 8)).astype(np.float32)
    feed = open_feed(network, None, saved(tmp_path, array), "train", None)
    images, labels = all_of(feed)
    np.testing.assert_array_equal(images, array)
    assert images.dtype == np.float32
    assert (feed.images, feed.labelled, feed.classes, labels) == (7, False, (), None)
    assert feed.preprocessing["mean"] is None
    json.dumps(feed.preprocessing)


def test_pixels_of_an_array_are_standardised_as_the_training_does(tmp_path, network):
    array = pixels(5)
    images, _ = all_of(open_feed(network, None, saved(tmp_path, array), "train", None))
    theirs = torch.from_numpy(array)
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    expected = standardised(theirs, as_operand(mean, theirs), as_operand(std, theirs))
    np.testing.assert_array_equal(images, expected.numpy())


def test_a_limit_takes_images_evenly_spaced(tmp_path, network):
    array = (
        np.zeros((10, 3, 8, 8), np.float32) + np.arange(10, dtype=np.float32)[:, None, None, None]
    )
    feed = open_feed(network, None, saved(tmp_path, array), "train", 4)
    images, _ = all_of(feed)
    assert images[:, 0, 0, 0].tolist() == [0, 2, 5, 7]
    assert "4 of 10" in feed.about
    assert open_feed(network, None, saved(tmp_path, array), "train", 99).images == 10


@pytest.mark.parametrize("big", [">f4", "<f4"])
def test_arrays_of_any_byte_order_and_layout_are_the_same_feed(tmp_path, network, big):
    array = np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype("<f4")
    plain = open_feed(network, None, saved(tmp_path, array), "train", None)
    other = open_feed(
        network, None, saved(tmp_path, np.asfortranarray(array.astype(big)), "b.npy"), "train", None
    )
    np.testing.assert_array_equal(all_of(plain)[0], all_of(other)[0])
    assert plain.digest == other.digest


def test_the_digest_tells_images_and_their_treatment_and_nothing_else(tmp_path, network):
    array = pixels(5)
    place = saved(tmp_path, array)
    (tmp_path / "other").mkdir()
    feed = open_feed(network, None, place, "train", None)
    elsewhere = open_feed(network, None, saved(tmp_path / "other", array), "test", None)
    assert feed.digest == elsewhere.digest
    assert len(feed.digest) == 64
    array[3, 2, 1, 0] ^= 1
    changed = open_feed(network, None, saved(tmp_path, array, "c.npy"), "train", None)
    fewer = open_feed(network, None, place, "train", 4)
    moved = compiled(tmp_path / "other", TRAINED.replace("[0.5, 0.25, 0.125]", "[0.5, 0.25, 0.1]"))
    treated = open_feed(moved, None, place, "train", None)
    digests = {feed.digest, changed.digest, fewer.digest, treated.digest}
    assert len(digests) == 4


def test_an_array_needs_no_torch(tmp_path, network):
    place = saved(tmp_path, pixels(2))
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None\n"
        "from pathlib import Path\n"
        "from resnet_dsl.compiler import compile_spec\n"
        "from resnet_dsl.evaluate.feed import open_feed\n"
        f"feed = open_feed(compile_spec(Path({str(tmp_path / 'tiny.yaml')!r})), None, {place!r}, 'train', None)\n"
        "print(sum(len(images) for images, _ in feed.batches(1)), feed.digest)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["2", open_feed(network, None, place, "train", None).digest]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3, 8, 8)), "float64"),
        (np.zeros((2, 3, 8, 8), np.complex64), "complex64"),
        (np.zeros((2, 3, 8, 9), np.float32), "2×3×8×9"),
        (np.zeros((3, 8, 8), np.float32), "3×8×8"),
        (np.full((2, 3, 8, 8), np.nan, np.float32), "image 0"),
        (np.full((2, 3, 8, 8), 1e20, np.float32), "at most"),
        (np.array([{}]), "whole"),
        (np.zeros((0, 3, 8, 8), np.float32), "0×3×8×8"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, network, array, said):
    refused("RD680", network, saved(tmp_path, array), said, "numpy.save")


def test_the_image_with_a_bad_number_is_named(tmp_path, network):
    array = np.zeros((9, 3, 8, 8), np.float32)
    array[5, 1, 1, 1] = np.inf
    refused("RD680", network, saved(tmp_path, array), "image 5")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:20],
        lambda content: b"",
        lambda content: b"PK\x03\x04" + content,
        lambda content: content.replace(b"(4, 3, 8, 8)", b"(4**9,3,8,8)"),
        lambda content: content.replace(b"(4, 3, 8, 8)", b"(-4,3,8, 8) "),
        lambda content: content.replace(b"(4, 3, 8, 8)", b"(9999999999,"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, network, damage):
    file = Path(saved(tmp_path, np.zeros((4, 3, 8, 8), np.float32)))
    file.write_bytes(damage(file.read_bytes()))
    refused("RD680", network, str(file))


def test_an_array_that_is_not_there_is_refused(tmp_path, network):
    refused("RD680", network, str(tmp_path / "no.npy"), "cannot be read")


def test_floats_that_look_like_pixels_are_noted(tmp_path, network):
    feed = open_feed(network, None, saved(tmp_path, pixels(2).astype(np.float32)), "train", None)
    assert any("uint8" in note for note in feed.notes)


def test_a_folder_comes_as_an_evaluation_sees_it(tmp_path, network):
    place = tree(tmp_path / "data")
    feed = open_feed(network, None, str(place), "test", None)
    images, labels = all_of(feed)
    source = open_source(DataChoice("folder", place, "test"), (3, 8, 8), 7)
    ((views, expected),) = list(batches(source, [Crops((8, 8), None)], chosen(source, None), 99))
    theirs = views[0][0][0][1]
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    np.testing.assert_array_equal(
        images, standardised(theirs, as_operand(mean, theirs), as_operand(std, theirs)).numpy()
    )
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels.tolist() == expected.tolist()
    assert feed.labelled
    assert feed.classes == tuple(f"class{label}" for label in range(7))
    assert open_feed(network, None, str(place), "train", None).digest != feed.digest


def test_a_folder_of_images_alone_has_no_labels(tmp_path, network):
    write_images(tmp_path / "flat", ["a.png", "b.jpg", "deep/er/c.png", ".hidden/d.png"])
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    feed = open_feed(network, None, str(tmp_path / "flat"), "train", None)
    assert (feed.images, feed.labelled) == (3, False)
    assert all_of(feed)[1] is None


def test_images_of_other_sizes_are_scaled_and_cropped(tmp_path, network):
    write_images(tmp_path / "flat", ["a.png"], (31, 17))
    write_images(tmp_path / "flat", ["b.png"], (9, 40))
    feed = open_feed(network, None, str(tmp_path / "flat"), "train", None)
    assert all_of(feed)[0].shape == (2, 3, 8, 8)
    assert feed.preprocessing["resize"] == 8


def test_class_folders_without_splits_have_labels_if_they_are_the_networks(tmp_path, network):
    write_images(tmp_path / "data", [f"class{label}/{n}.png" for label in range(7) for n in "ab"])
    feed = open_feed(network, None, str(tmp_path / "data"), "test", None)
    _, labels = all_of(feed)
    assert labels is not None
    assert labels.tolist() == [label for label in range(7) for _ in "ab"]
    write_images(tmp_path / "data", ["class9/a.png"])
    assert not open_feed(network, None, str(tmp_path / "data"), "test", None).labelled


def test_other_classes_are_noted_and_taken_without_labels(tmp_path, network):
    write_images(tmp_path / "data", ["train/cat/a.png", "train/dog/a.png"])
    feed = open_feed(network, None, str(tmp_path / "data"), "train", None)
    assert not feed.labelled
    assert "2 classes" in feed.notes[0]


def test_the_embedded_digits_need_no_place(tmp_path):
    text = GREY + "train: {recipe: digits}\n"
    network = compiled(tmp_path, text)
    own = open_feed(network, None, None, "test", None)
    images, labels = all_of(own, 100)
    assert (own.images, own.labelled, images.shape) == (360, True, (360, 1, 8, 8))
    assert labels is not None
    assert set(labels.tolist()) == set(range(10))
    assert abs(float(images.mean())) < 0.02
    named = open_feed(network, None, "digits", "test", None)
    np.testing.assert_array_equal(all_of(named, 7)[0], images)


def test_what_a_run_says_of_mean_and_std_counts(tmp_path, network):
    (tmp_path / "run").mkdir()
    weights = tmp_path / "run" / "best.safetensors"
    weights.touch()
    (tmp_path / "run" / "result.json").write_text(json.dumps({"mean": [0, 0, 0], "std": [1, 1, 2]}))
    feed = open_feed(network, weights, saved(tmp_path, pixels(2)), "train", None)
    assert feed.preprocessing["std"] == [1, 1, 2]
    np.testing.assert_allclose(
        all_of(feed)[0], pixels(2) / np.array([255, 255, 510])[:, None, None], 1e-6
    )


def test_where_nothing_says_the_standard_pixels_are_refused_unless_the_user_says_it(tmp_path):
    network = compiled(tmp_path)
    place = saved(tmp_path, pixels(2))
    refused("RD671", network, place, ".npy")
    given = Standard((0.0,), (1.0,), source="--mean and --std")
    feed = open_feed(network, None, place, "train", None, given)
    np.testing.assert_array_equal(all_of(feed)[0], pixels(2) / np.float32(255))


def test_a_mean_image_is_told_by_its_hash(tmp_path):
    network = compiled(
        tmp_path, RESIDUAL + "train: {recipe: digits, normalise: pixel, data: folder}\n"
    )
    feed = open_feed(network, None, str(tree(tmp_path / "data")), "train", None)
    assert len(str(feed.preprocessing["mean_image_sha256"])) == 64
    mean = feed.preprocessing["mean"]
    assert isinstance(mean, list)
    assert len(mean) == 3
    np.testing.assert_allclose(all_of(feed)[0].mean(0), 0, atol=1e-6)


def packed(archive: Path, folder: Path, mode: str) -> str:
    with tarfile.open(archive, mode) as file:  # type: ignore[call-overload]
        file.add(folder, "")
    return str(archive)


@pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz")])
def test_an_archive_is_the_folder_that_was_packed(tmp_path, network, ending, mode):
    place = tree(tmp_path / "data")
    archive = packed(tmp_path / f"data.{ending}", place, mode)
    folder = open_feed(network, None, str(place), "test", 9)
    found = open_feed(network, None, archive, "test", 9)
    np.testing.assert_array_equal(all_of(found)[0], all_of(folder)[0])
    assert found.digest == folder.digest
    assert found.labelled


def test_shards_are_known_by_their_files(tmp_path, network):
    folder = tmp_path / "samples"
    write_images(folder, ["0.png", "1.png", "2.png"])
    for number in range(3):
        (folder / f"{number}.cls").write_text(str(number))
    (tmp_path / "shards" / "train").mkdir(parents=True)
    packed(tmp_path / "shards" / "train" / "000.tar", folder, "w")
    feed = open_feed(network, None, str(tmp_path / "shards"), "train", None)
    images, labels = all_of(feed)
    assert images.shape == (3, 3, 8, 8)
    assert labels is not None
    assert sorted(labels.tolist()) == [0, 1, 2]
    assert feed.digest == open_feed(network, None, str(tmp_path / "shards"), "train", None).digest


def test_what_must_be_measured_needs_torch_and_says_so(tmp_path, monkeypatch):
    network = compiled(tmp_path, RESIDUAL + "train: {recipe: digits}\n")
    monkeypatch.setattr("resnet_dsl.evaluate.feed_scaling.find_spec", lambda name: None)
    refused("RD650", network, saved(tmp_path, pixels(2)), "torch", ".npy")
    refused("RD650", network, "digits", "torch")


@pytest.mark.parametrize("place", ["nowhere", "empty", "splits"])
def test_places_without_images_are_refused(tmp_path, network, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "splits" / "train").mkdir(parents=True)
    refused("RD672", network, str(tmp_path / place))


def test_a_network_that_says_of_no_images_asks_for_some(tmp_path):
    refused("RD672", compiled(tmp_path), None)


def test_digits_are_no_images_for_a_network_of_colours(network):
    refused("RD672", network, "digits", "channel")


def test_no_images_are_refused(tmp_path, network):
    with pytest.raises(CompileError) as caught:
        open_feed(network, None, saved(tmp_path, pixels(2)), "train", 0)
    assert caught.value.diagnostics[0].code == "RD672"


def test_damaged_images_are_named(tmp_path, network):
    write_images(tmp_path / "flat", ["a.png"])
    (tmp_path / "flat" / "b.png").write_bytes(b"no image")
    feed = open_feed(network, None, str(tmp_path / "flat"), "train", None)
    with pytest.raises(CompileError) as caught:
        list(feed.batches(2))
    assert caught.value.diagnostics[0].code == "RD672"
    assert "b.png" in caught.value.diagnostics[0].message
