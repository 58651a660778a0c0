"""Whether images can be varied, cropped and mixed as the settings say."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import TrainSettings


def problems(settings: TrainSettings) -> Iterator[Problem]:
    """What is wrong with the variations of training images, and with the size of test images."""
    yield from _streamed(settings)
    yield from _sizes(settings)
    yield from _ranges(settings)
    yield from _mixing(settings)


def _streamed(settings: TrainSettings) -> Iterator[Problem]:
    """What needs images one by one, and what needs to know which image is which."""
    one_by_one = {
        "crop": settings.crop != "none",
        "auto_augment": settings.auto_augment != "none",
        "colour_pca": settings.colour_pca > 0,
        "repeats": settings.repeats > 1,
    }
    for setting, used in one_by_one.items():
        if used and settings.memory:
            yield Problem(
                setting,
                f"`{setting}` does not go with `memory: true`",
                "images that are held in memory are varied in batches, by `pad`, `flip`, `cutout`, `erasing`, "
                "`mixup` and `cutmix`",
                f"write `memory: false`, or `{setting}: {_neutral(setting)}`",
            )
    by_order = {"repeats": settings.repeats > 1, "flip": settings.flip == "alternate"}
    for setting, used in by_order.items():
        if used and settings.data == "shards":
            shown = "flip: alternate" if setting == "flip" else setting
            yield Problem(
                setting,
                f"`{shown}` does not go with shards",
                "they are read in an order of their own, in which an image has no number",
                "write `flip: random`" if setting == "flip" else "write `repeats: 1`",
            )
    if settings.colour_pca and settings.input[0] != 3:
        yield Problem(
            "colour_pca",
            "images without red, green and blue have no colours to shift",
            hint="write `colour_pca: 0`",
        )


def _neutral(setting: str) -> str:
    return {"colour_pca": "0", "repeats": "1"}.get(setting, "none")


def _sizes(settings: TrainSettings) -> Iterator[Problem]:
    """Lengths in pixels."""
    height, width = settings.input[1:]
    if settings.train_size is not None and settings.crop == "none":
        yield Problem(
            "train_size",
            f"nothing makes training images {settings.train_size} pixels high and wide",
            hint="write `crop: area` or `crop: scale`, or `train_size: null`",
        )
    if settings.resize is not None:
        if settings.resize < max(height, width):
            yield Problem(
                "resize",
                f"from test images of {settings.resize} pixels no {height}×{width} can be cropped",
                hint=f"write `resize: {max(height, width)}` or more",
            )
        if settings.crop == "none" and not settings.memory:
            yield Problem(
                "resize",
                "test images are resized and cropped, and training images are not",
                hint="write `crop: area` or `crop: scale`, or `memory: true`, with which all are",
            )
    size = (settings.train_size,) * 2 if settings.train_size is not None else (height, width)
    if settings.pad and settings.crop != "none":
        yield Problem(
            "pad",
            f"images are cropped twice, by `pad` and by `crop: {settings.crop}`",
            hint="write `pad: 0`, or `crop: none`",
        )
    if settings.pad >= min(size):
        yield Problem(
            "pad",
            f"a `pad` of {settings.pad} pixels moves images of {size[0]}×{size[1]} out of sight",
            hint=f"write a `pad` below {min(size)}",
        )
    if settings.cutout >= min(size):
        yield Problem(
            "cutout",
            f"a `cutout` of {settings.cutout} pixels leaves nothing of images of {size[0]}×{size[1]}",
            hint=f"write a `cutout` below {min(size)}, such as {min(size) // 4}",
        )
    if settings.crop == "scale" and settings.scale_range[0] < max(size):
        yield Problem(
            "scale_range",
            f"an image whose shorter side is {settings.scale_range[0]} has no part of {size[0]}×{size[1]}",
            hint=f"begin `scale_range` at {max(size)} or more",
        )


def _ranges(settings: TrainSettings) -> Iterator[Problem]:
    """From a smaller number to a larger one."""
    ranges: dict[str, tuple[float, float]] = {
        "scale_range": settings.scale_range,
        "area_range": settings.area_range,
        "ratio_range": settings.ratio_range,
    }
    for setting, (low, high) in ranges.items():
        if low > high:
            yield Problem(
                setting,
                f"`{setting}` falls from {low:g} to {high:g}",
                hint=f"write [{high:g}, {low:g}]",
            )
    if settings.area_range[1] > 1:
        yield Problem(
            "area_range",
            f"a crop cannot have {settings.area_range[1]:g} times the area of its image",
            hint="write shares of the area, [0.08, 1]",
        )


def _mixing(settings: TrainSettings) -> Iterator[Problem]:
    """Mixed images are neighbours in a batch, two and two."""
    part = settings.batch_size // settings.accumulate
    mixed = "mixup" if settings.mixup else "cutmix"
    if (settings.mixup or settings.cutmix) and part % 2:
        what = "micro-batch" if settings.accumulate > 1 else "batch"
        yield Problem(
            "batch_size",
            f"`{mixed}` pairs the images of a {what}, and {part} is odd",
            hint=f"write a `batch_size` such as {(part + 1) * settings.accumulate}",
        )
