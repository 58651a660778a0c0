"""Views of images: what is cut where, and what arrives in which batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from compiler_tests.runtime.data_trees import encoded, photograph, write_archive, write_tree
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.geometry import Crops, Geometry, Scales
from resnet_dsl.evaluate.images import HeldSource, Source, chosen, open_source
from resnet_dsl.evaluate.request import DataChoice
from resnet_dsl.evaluate.views import batches, cut
from resnet_dsl.runtime.data import ArrayData, DataError
from resnet_dsl.runtime.data_images import centre_crop

SIZES = ((10, 9), (9, 12), (9, 9), (14, 9), (9, 12))  # width by height


def pixels(image: Image.Image) -> Tensor:
    found: Tensor = v2.functional.pil_to_tensor(image)
    return found


def held(count: int = 5, size: tuple[int, int] = (6, 5)) -> HeldSource:
    images = torch.randint(256, (count, 3, *size), dtype=torch.uint8)
    return HeldSource(ArrayData(images, torch.arange(count) % 2, ("cat", "dog")))


def of_sizes(folder: Path) -> dict[str, bytes]:
    files = {
        f"test/{'dog' if number > 1 else 'cat'}/{number}.png": encoded(
            photograph(number, size), "PNG"
        )
        for number, size in enumerate(SIZES)
    }
    train = {f"train/{name}/0.png": encoded(photograph(0), "PNG") for name in ("cat", "dog")}
    write_tree(folder, files | train)
    return files | train


def test_ten_crops_are_the_corners_and_the_centre_as_torchvision_cuts_them():
    image = photograph(3, (13, 10))
    found = cut(image, Crops((5, 6), 9, corners=True))
    expected = v2.functional.five_crop(pixels(v2.functional.resize(image, [9])), [5, 6])
    assert [each.tolist() for each in found] == [each.tolist() for each in expected]


@pytest.mark.parametrize("size", [(13, 10), (10, 13), (11, 11), (8, 8)])
def test_the_centre_is_the_training_s(size):
    image = photograph(1, size)
    (found,) = cut(image, Crops((7, 6), 8))
    assert found.tolist() == centre_crop((7, 6), 8)(image).tolist()


def test_scales_are_of_the_shorter_side():
    found = cut(photograph(1, (12, 6)), Scales((6, 3)))
    assert [tuple(each.shape) for each in found] == [(3, 6, 12), (3, 3, 6)]


def test_grey_images_and_floats_are_cut_likewise():
    grey = photograph(2, (8, 8), "L")
    (found,) = cut(grey, Crops((4, 4), 8))
    assert found.tolist() == [np.array(grey)[2:6, 2:6].tolist()]
    (floats,) = cut(pixels(grey) / 255, Crops((4, 4), 8))
    torch.testing.assert_close(floats, found / 255)


def test_an_image_of_another_size_is_refused_unless_it_is_to_be_scaled():
    with pytest.raises(
        DataError, match=r"images of 9×12 pixels, and the network takes 8×8\n--resize 9"
    ):
        cut(photograph(0, (12, 9)), Crops((8, 8), None))


def test_images_in_memory_come_as_they_are():
    source = held()
    found = list(batches(source, [Crops((6, 5), None), Crops((6, 5), 5)], torch.arange(5), 2))
    assert [labels.tolist() for _, labels in found] == [[0, 1], [0, 1], [0]]
    for views, _ in found:
        ((one,),), ((other,),) = views
        assert one[0] is None
        assert one[1] is other[1]
    together = torch.cat([views[0][0][0][1] for views, _ in found])
    assert together.tolist() == source.data.images.tolist()


def test_views_are_batched_by_geometry_and_grouped_by_size(tmp_path):
    of_sizes(tmp_path)
    source = open_source(DataChoice("folder", tmp_path), (3, 8, 8), 2)
    geometries: list[Geometry] = [Crops((8, 8), 9, corners=True), Scales((9, 4))]
    views, labels = zip(*batches(source, geometries, torch.arange(5), 4), strict=True)
    assert [each.tolist() for each in labels] == [[0, 0, 1, 1], [1]]
    crops, scales = views[0]
    assert [len(view) for view in crops] == [1] * 5
    assert all(group[0] is None and group[1].shape == (4, 3, 8, 8) for (group,) in crops)
    whole = {tuple(images.shape): places for places, images in scales[0]}
    assert {shape: places.tolist() for shape, places in whole.items() if places is not None} == {
        (1, 3, 9, 10): [0],
        (1, 3, 12, 9): [1],
        (1, 3, 9, 9): [2],
        (1, 3, 9, 14): [3],
    }
    image, _ = source.sample(2)
    assert scales[0][2][1][0].tolist() == cut(image, Scales((9,)))[0].tolist()


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
def test_files_are_the_same_wherever_they_lie(tmp_path, kind):
    files = of_sizes(tmp_path / "folder")
    place = tmp_path / "folder"
    if kind != "folder":
        place = write_archive(tmp_path / f"a.{kind}", files, "w:gz" if kind == "tar.gz" else "w")
    source = open_source(DataChoice("folder", place), (3, 8, 8), 2)
    assert (len(source), source.classes) == (5, ("cat", "dog"))
    for number, size in enumerate(SIZES):
        image, label = source.sample(number)
        assert isinstance(image, Image.Image)
        assert label == int(number > 1)
        assert pixels(image).tolist() == pixels(photograph(number, size)).tolist()


def test_images_in_memory_are_scaled_as_files_are():
    source = held(2, (9, 7))
    ((views, _),) = batches(source, [Crops((6, 6), 8)], torch.arange(2), 2)
    (found,) = cut(
        Image.fromarray(source.data.images[1].permute(1, 2, 0).numpy()), Crops((6, 6), 8)
    )
    assert views[0][0][0][1][1].tolist() == found.tolist()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_bad_image_ends_it_with_its_name(tmp_path, monkeypatch, threads):
    of_sizes(tmp_path)
    (tmp_path / "test/dog/3.png").write_bytes(b"no image")
    monkeypatch.setattr("os.cpu_count", lambda: threads)
    source = open_source(DataChoice("folder", tmp_path), (3, 8, 8), 2)
    with pytest.raises(CompileError, match=r"dog/3\.png") as found:
        list(batches(source, [Crops((8, 8), 9)], torch.arange(5), 2))
    assert found.value.diagnostics[0].code == "RD672"
    assert found.value.diagnostics[0].hint


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, [0, 1, 2, 3, 4]), (2, [0, 2]), (9, [0, 1, 2, 3, 4])]
)
def test_a_limit_takes_images_evenly_spaced(limit, expected):
    assert chosen(held(), limit).tolist() == expected


@pytest.mark.parametrize(
    ("choice", "classes", "said"),
    [
        (DataChoice("folder", None), 2, "nothing says where the images of `folder` lie"),
        (DataChoice("folder", Path("nowhere")), 2, "nowhere cannot be read"),
        (DataChoice("cifar10", Path("nowhere")), 10, "nowhere holds neither"),
        (DataChoice("digits", None), 7, "the images have 10 classes, and the network tells 7"),
    ],
)
def test_images_that_cannot_be_had_are_refused(choice, classes, said):
    with pytest.raises(CompileError, match=said) as found:
        open_source(choice, (1, 8, 8), classes)
    assert [item.code for item in found.value.diagnostics] == ["RD672"]


def test_noise_is_of_the_network_s_shape():
    source: Source = open_source(DataChoice("fake", None), (2, 5, 6), 3)
    image, _ = source.sample(0)
    assert isinstance(image, Tensor)
    assert tuple(image.shape) == (2, 5, 6)
    assert len(source.classes) == 3
