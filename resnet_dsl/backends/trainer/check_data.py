"""Whether the data fit the network, and are described as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import TrainSettings

RD651: Final = "RD651"


@dataclass(frozen=True, slots=True)
class Known:
    """Data whose images are known before they are read: (C, H, W), how many classes, how many to train on."""

    title: str
    shape: tuple[int, int, int]
    classes: int
    images: int


KNOWN = {
    "digits": Known("scikit-learn's digits", (1, 8, 8), 10, 1437),
    "cifar10": Known("CIFAR-10", (3, 32, 32), 10, 50_000),
    "cifar100": Known("CIFAR-100", (3, 32, 32), 100, 50_000),
}


def problems(settings: TrainSettings) -> Iterator[Problem]:
    """What is wrong with where the images come from, and with what they are."""
    yield from _source(settings)
    known = KNOWN.get(settings.data)
    if known is not None:
        yield from _fit(settings, known)
        yield from _enough(settings, known)
    elif settings.input[0] not in (1, 3) and not (settings.data == "fake" and settings.memory):
        fake = settings.data == "fake"
        yield Problem(
            "data",
            f"the network takes images of {settings.input[0]} channels",
            f"{'without `memory`, those' if fake else 'those'} of a `{settings.data}` are read as grey or as colours",
            "write `memory: true`, with which images are varied in batches"
            if fake
            else "write `channels: 1` or `channels: 3` in the spec's `input`",
            RD651,
        )
    yield from _statistics(settings)


def _source(settings: TrainSettings) -> Iterator[Problem]:
    """Where the images lie, and whether they are held in memory."""
    data = settings.data
    if data not in ("digits", "fake") and settings.path is None:
        example = {"shards": "data/train-{0000..0146}.tar", "folder": "data/imagenet"}
        yield Problem(
            "data",
            f"`train` does not say where the data `{data}` lie",
            hint=f"write `path: {example.get(data, 'data')}`",
        )
    if data == "digits" and settings.path is not None:
        yield Problem(
            "path",
            "the data `digits` have no path",
            "they come with scikit-learn",
            "remove `path`, or name the data that lie there",
        )
    if data == "digits" and not settings.memory:
        yield Problem("memory", "the data `digits` are held in memory", hint="write `memory: true`")
    if data == "shards":
        if settings.memory:
            yield Problem(
                "memory",
                "shards are read one after the other, and not held in memory",
                hint="write `memory: false`, or give the images as a `folder`",
            )
        if settings.validation:
            yield Problem(
                "validation",
                "no images can be held out of shards",
                "which images a shard has is known only when it is read",
                "write `validation: 0`, and keep shards for the test that training does not see",
            )


def _fit(settings: TrainSettings, known: Known) -> Iterator[Problem]:
    """The image's shape, and the classes."""
    channels, *size = known.shape
    same = settings.input == known.shape
    scaled = settings.input[0] == channels and settings.resize is not None
    if (not same and not scaled) or settings.classes != known.classes:
        of_input = f"input: {{channels: {channels}, size: {size[0]}}}"
        yield Problem(
            "data",
            f"the network does not fit the data `{settings.data}`: it takes {_size(settings.input)} images "
            f"and tells {settings.classes} classes apart",
            f"{known.title} are {_size(known.shape)} images of {known.classes} classes"
            if settings.data == "digits"
            else f"{known.title} has {_size(known.shape)} images of {known.classes} classes",
            f"write `{of_input}` and `classes: {known.classes}`, "
            "or `data: fake` in the train section to try the network's speed",
            RD651,
        )


def _enough(settings: TrainSettings, known: Known) -> Iterator[Problem]:
    """Images for a batch, besides those that are held out."""
    left = known.images - settings.validation
    if settings.batch_size > left:
        held = f" besides the {settings.validation} held out" if settings.validation else ""
        yield Problem(
            "validation" if left <= 0 else "batch_size",
            f"a batch of {settings.batch_size} is more than the training images of `{settings.data}`",
            f"there are {max(left, 0)}{held}, and every batch is a full one",
            "write a smaller `validation`" if left <= 0 else "write a smaller `batch_size`",
            RD651,
        )


def _statistics(settings: TrainSettings) -> Iterator[Problem]:
    """What images are normalised by."""
    given = {"mean": settings.mean, "std": settings.std}
    for name, values in given.items():
        if values is None:
            continue
        if settings.normalise != "channel":
            yield Problem(
                name,
                f"`{name}` is not what `normalise: {settings.normalise}` works with",
                hint=f"remove `{name}`, or write `normalise: channel`",
            )
        elif len(values) != settings.input[0]:
            yield Problem(
                name,
                f"`{name}` has {_count(len(values), 'number')} for {_count(settings.input[0], 'channel')}",
                hint="write one number for each channel, black being 0 and white 1; or `null`: "
                "then they are measured",
                code=RD651,
            )
        elif any(not 0 <= value <= 1 for value in values):
            yield Problem(
                name,
                f"`{name}` is not within 0 and 1",
                "black is 0 and white 1",
                f"write {[round(value / 255, 4) for value in values]}"
                if all(0 <= value <= 255 for value in values)
                else "write one number from 0 to 1 for each channel",
            )
    if settings.normalise == "channel" and (settings.mean is None) != (settings.std is None):
        missing = "std" if settings.std is None else "mean"
        yield Problem(
            "mean" if missing == "std" else "std",
            f"one of `mean` and `std` is given, and `{missing}` is not",
            hint="write both, or neither: then they are measured on the training images",
        )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
