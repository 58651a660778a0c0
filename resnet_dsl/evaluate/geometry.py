"""Which parts of an image a network sees: one crop, ten, or the whole image at several scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.refusal import refusal

Kind: TypeAlias = Literal["center", "ten", "scales"]
Size: TypeAlias = tuple[int, int]

PAPER_SCALES = (224, 256, 384, 480, 640)
_PAPER_SIZE = 224


@dataclass(frozen=True, slots=True)
class Crops:
    """Parts of `size` (height, width): the centre, and with `corners` the four corners before it. The shorter side of
    the image is brought to `resize` pixels first; without, the image has the crop's size."""

    size: Size
    resize: int | None
    corners: bool = False

    @property
    def count(self) -> int:
        return 5 if self.corners else 1


@dataclass(frozen=True, slots=True)
class Scales:
    """The whole image, its shorter side brought to each of these lengths in turn (He et al. 2015, section 3.4)."""

    sides: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.sides)


Geometry: TypeAlias = Crops | Scales


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What the user says of views; None is what the network was trained with."""

    kind: Kind = "center"
    scales: tuple[int, ...] | None = None
    flip: bool | None = None
    size: int | None = None
    resize: int | None = None
    crop_ratio: float | None = None


def check_views(options: ViewOptions) -> None:
    """Raises CompileError RD702 for options that would do nothing, RD674 for numbers that cannot be."""
    useless: dict[str, bool] = {}
    why = ""
    if options.kind == "scales":
        why = "with --views scales a network sees whole images, at the --scales"
        useless = {
            "--size": options.size is not None,
            "--resize": options.resize is not None,
            "--crop-ratio": options.crop_ratio is not None,
        }
    else:
        useless["--scales"] = options.scales is not None
        why = "it says the sizes for --views scales"
    if given := [name for name, is_given in useless.items() if is_given]:
        hint = "leave it out" + (", or add --views scales" if "--scales" in useless else "")
        raise refusal("RD702", f"{given[0]} would do nothing here", why=why, hint=hint)
    if options.kind == "ten" and options.flip is not None:
        why = "the ten crops are five, and the mirrors of the five"
        raise refusal("RD702", "--flip does not go with --views ten", why=why, hint="leave it out")
    if options.resize is not None and options.crop_ratio is not None:
        why = "both say how large the image is before it is cropped"
        raise refusal(
            "RD702", "--resize and --crop-ratio exclude each other", why=why, hint="leave one out"
        )
    if options.crop_ratio is not None and not 0 < options.crop_ratio <= 1:
        raise refusal(
            "RD674",
            f"{options.crop_ratio} is no --crop-ratio",
            why="it is the crop's part of the image's shorter side, above 0 and up to 1",
            hint="0.875 is usual: 224 of 256 pixels",
        )


def scales_of(text: str) -> tuple[int, ...]:
    """`224,256` as lengths in pixels. Raises CompileError RD674."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= len(word) <= 5 for word in words):
        raise _no_scales(text)
    sides = tuple(map(int, words))
    if min(sides) < 1 or len(set(sides)) != len(sides):
        raise _no_scales(text)
    return sides


def _no_scales(text: str) -> CompileError:
    return refusal(
        "RD674",
        f"`{text[:80]}` are no --scales",
        why="they are lengths in pixels, each once, with commas between",
        hint="as in --scales 224,256,384,480,640",
    )


def geometry(
    options: ViewOptions, input_size: Size | None, resize: int | None, name: str
) -> Geometry:
    """The views of a network whose input is of `input_size` (None: any), and which was tested with `resize`.

    Raises CompileError RD674 where the options do not go with it; `name` is the network's, for the message.
    """
    if options.kind == "scales":
        return Scales(_scales(options, input_size, name))
    size = (options.size, options.size) if options.size is not None else input_size
    if size is None:
        raise refusal(
            "RD674",
            f"the size of the images for `{name}` is not known",
            why="the graph takes images of any size",
            hint="say it with --size, as in --size 224",
        )
    shorter = _shorter(options, size, resize)
    if options.kind == "ten" and (shorter is None or shorter <= min(size)):
        seen = "images have the size of the crops" if shorter is None else f"{shorter} pixels"
        raise refusal(
            "RD674",
            "ten crops need images that are larger than the crops",
            why=f"crops are {size[0]}×{size[1]}, and the shorter side of an image: {seen}; "
            "all crops would be one and the same",
            hint=f"scale images up with --resize {round(min(size) * 8 / 7)}, or give --views center --flip",
        )
    if shorter is not None and shorter < min(size):
        raise refusal(
            "RD674",
            f"images of {shorter} pixels are smaller than crops of {size[0]}×{size[1]}",
            why=f"--resize {shorter} is the shorter side before the crop",
            hint=f"give at least --resize {min(size)}, or a smaller --size",
        )
    return Crops(size, shorter, corners=options.kind == "ten")


def _shorter(options: ViewOptions, size: Size, resize: int | None) -> int | None:
    """The shorter side before the crop: an option's, or in the proportion that the network was tested with."""
    if options.resize is not None:
        return options.resize
    if options.crop_ratio is not None:
        return int(min(size) / options.crop_ratio + 1e-6)
    return resize


def _scales(options: ViewOptions, input_size: Size | None, name: str) -> tuple[int, ...]:
    if options.scales is not None:
        return options.scales
    if input_size not in (None, (_PAPER_SIZE, _PAPER_SIZE)):
        assert input_size is not None
        raise refusal(
            "RD674",
            f"the scales for `{name}` are not given",
            why=f"the paper's ({', '.join(map(str, PAPER_SCALES))}) are for networks of {_PAPER_SIZE}×{_PAPER_SIZE} "
            f"images, and this one takes {input_size[0]}×{input_size[1]}",
            hint=f"say them: --scales {min(input_size)},{round(min(input_size) * 8 / 7)}",
        )
    return PAPER_SCALES
