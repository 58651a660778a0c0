"""Which views there are, and which are refused since they would say nothing."""

from __future__ import annotations

import pytest

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.geometry import (
    Crops,
    Scales,
    ViewOptions,
    check_views,
    geometry,
    scales_of,
)

NET = (224, 224)


@pytest.mark.parametrize(
    ("options", "size", "resize", "expected"),
    [
        (ViewOptions(), NET, None, Crops(NET, None)),
        (ViewOptions(), NET, 256, Crops(NET, 256)),
        (ViewOptions(resize=300), NET, 256, Crops(NET, 300)),
        (ViewOptions(crop_ratio=0.875), NET, None, Crops(NET, 256)),
        (ViewOptions(crop_ratio=1.0), NET, 256, Crops(NET, 224)),
        (ViewOptions(crop_ratio=0.95), NET, None, Crops(NET, 235)),
        (ViewOptions(size=288, crop_ratio=1.0), NET, None, Crops((288, 288), 288)),
        (ViewOptions(size=64, resize=64), None, None, Crops((64, 64), 64)),
        (ViewOptions(), (36, 28), 40, Crops((36, 28), 40)),
        (ViewOptions("ten"), NET, 256, Crops(NET, 256, corners=True)),
        (ViewOptions("scales"), NET, 256, Scales((224, 256, 384, 480, 640))),
        (ViewOptions("scales"), None, None, Scales((224, 256, 384, 480, 640))),
        (ViewOptions("scales", (32, 40)), (32, 32), None, Scales((32, 40))),
    ],
)
def test_views_follow_from_options_and_what_the_network_was_tested_with(
    options, size, resize, expected
):
    check_views(options)
    assert geometry(options, size, resize, "net") == expected


@pytest.mark.parametrize(
    ("options", "size", "resize", "said", "hint"),
    [
        (ViewOptions(), None, None, "the size of the images for `net` is not known", "--size 224"),
        (ViewOptions("ten"), NET, None, "larger than the crops", "--resize 256"),
        (ViewOptions("ten"), NET, 224, "larger than the crops", "--resize 256"),
        (ViewOptions(resize=200), NET, None, "images of 200 pixels are smaller", "--resize 224"),
        (
            ViewOptions("scales"),
            (32, 32),
            None,
            "the scales for `net` are not given",
            "--scales 32,37",
        ),
    ],
)
def test_views_that_the_network_has_not_got_are_refused(options, size, resize, said, hint):
    with pytest.raises(CompileError, match=said) as found:
        geometry(options, size, resize, "net")
    (item,) = found.value.diagnostics
    assert item.code == "RD674"
    assert hint in str(item.hint)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (ViewOptions(scales=(1, 2)), "RD702", "--scales would do nothing here"),
        (ViewOptions("ten", scales=(1, 2)), "RD702", "--scales would do nothing here"),
        (ViewOptions("scales", size=3), "RD702", "--size would do nothing here"),
        (ViewOptions("scales", resize=3), "RD702", "--resize would do nothing here"),
        (ViewOptions("scales", crop_ratio=0.5), "RD702", "--crop-ratio would do nothing here"),
        (ViewOptions("ten", flip=True), "RD702", "--flip does not go with --views ten"),
        (ViewOptions("ten", flip=False), "RD702", "--flip does not go with --views ten"),
        (ViewOptions(resize=3, crop_ratio=0.5), "RD702", "exclude each other"),
        (ViewOptions(crop_ratio=0.0), "RD674", "0.0 is no --crop-ratio"),
        (ViewOptions(crop_ratio=1.5), "RD674", "1.5 is no --crop-ratio"),
        (ViewOptions(crop_ratio=float("nan")), "RD674", "nan is no --crop-ratio"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, code, said):
    with pytest.raises(CompileError, match=said) as found:
        check_views(options)
    (item,) = found.value.diagnostics
    assert item.code == code
    assert item.why
    assert item.hint


def test_scales_are_lengths_with_commas():
    assert scales_of("224, 256,384") == (224, 256, 384)
    for text in ("", "224,", "0", "-3", "2.5", "a", "8,8", "٣", "9" * 400):
        with pytest.raises(CompileError, match="are no --scales"):
            scales_of(text)
