"""Images as a network takes them, standardised, as NumPy arrays: to calibrate, to verify and to measure with.

    feed = open_feed(compilation, weights, "photos", split="train", limit=512)
    for images, labels in feed.batches(64):     # (N, C, H, W) float32; (N,) int64, or None

Image files are read as an evaluation reads them (`images`, `views`, `statistics`), with torch; an .npy needs none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.analysis.values import shapes
from resnet_dsl.compiler import Compilation
from resnet_dsl.evaluate.feed_scaling import Scaling, check_torch, scaling_of
from resnet_dsl.evaluate.geometry import Size
from resnet_dsl.evaluate.normalise import Standard
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.request import Split
from resnet_dsl.evaluate.runs import run_of
from resnet_dsl.evaluate.subjects import Subject
from resnet_dsl.language.recipes import training

Images: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]
# Images (N, C, H, W) as they are read, uint8 or floats, and their labels (N,).
Raw: TypeAlias = tuple[NDArray[np.uint8] | Images, Labels | None]

_SHOWN = 64  # numbers of a mean that JSON tells; a mean image is told by its hash


class Origin(Protocol):
    """Where the images of a feed come from, and which of them are taken."""

    @property
    def images(self) -> int:
        """How many are taken."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names in the order of the labels; none where images have no labels."""
        ...

    @property
    def about(self) -> str:
        """What the images are, for people."""
        ...

    @property
    def resize(self) -> int | None:
        """What the shorter side is scaled to before the centre is cropped; None: images have the network's size."""
        ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def batches(self, size: int) -> Iterator[Raw]: ...

    def contents(self) -> Iterator[bytes | memoryview]:
        """What is read, in its order: the bytes of files, or of pixels."""
        ...


@dataclass(frozen=True)
class Feed:
    """Images for a network. `size` is the height and width of the crop; without `scaling`, images come standardised."""

    origin: Origin
    size: Size
    scaling: Scaling | None

    @property
    def images(self) -> int:
        """How many images there are."""
        return self.origin.images

    @property
    def labelled(self) -> bool:
        """Whether batches have labels."""
        return bool(self.origin.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels; none where images have no labels."""
        return self.origin.classes

    @property
    def about(self) -> str:
        """What the images are, for people."""
        return self.origin.about

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the images."""
        return self.origin.notes

    @property
    def preprocessing(self) -> dict[str, object]:
        """What is done to an image, as JSON: `resize` is its shorter side before the centre `crop` [height, width] is
        cut, `mean` and `std` are of images in [0, 1]; null where nothing is done, or the images came ready. A mean
        image is told as the mean of each channel, beside its hash."""
        said: dict[str, object] = {
            "resize": self.origin.resize,
            "crop": list(self.size),
            "mean": None,
            "std": None,
            "standardised_by": "the images come standardised",
        }
        if self.scaling is not None:
            mean = self.scaling.mean
            if mean.size > _SHOWN:
                said["mean_image_sha256"] = sha256(mean.tobytes()).hexdigest()
                mean = mean.mean((1, 2))
            said["mean"] = [float(number) for number in mean.ravel()]
            said["std"] = [float(number) for number in self.scaling.std.ravel()]
            said["standardised_by"] = self.scaling.source
        return said

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the files or pixels that are read and of what is done to them: the same for the
        same images, wherever they lie. Reads them all, once."""
        told = {name: value for name, value in self.preprocessing.items() if "_by" not in name}
        found = sha256(json.dumps([self.images, self.classes, told]).encode())
        for content in self.origin.contents():
            found.update(sha256(content).digest())
        return found.hexdigest()

    def batches(self, size: int) -> Iterator[tuple[Images, Labels | None]]:
        """Images (N, C, H, W) and labels (N,), `size` at a time; each time from the beginning.

        Raises CompileError RD672 where an image is damaged.
        """
        for images, labels in self.origin.batches(size):
            if self.scaling is None:
                yield np.ascontiguousarray(images, np.float32), labels
            else:
                yield self.scaling.applied(images), labels


def open_feed(
    compilation: Compilation,
    weights: Path | None,
    place: str | None,
    split: Split,
    limit: int | None,
    standard: Standard | None = None,
) -> Feed:
    """The images that `place` names, for the network of a spec, which `weights` may have been trained for.

    `place` is None for what the network was trained on; `digits`, or `fake` for noise; an image folder, with or without
    folders for splits and classes; an archive; a folder of CIFAR or of shards; or an .npy of (N, C, H, W), which is
    float32 that is ready for the network, or uint8 pixels. `limit` takes so many of them, evenly spaced. `standard` is
    what the user says of mean and std, and counts where nothing else is known.

    Raises CompileError: RD650 without torch, where it is needed; RD671 where it is not known how images are
    standardised; RD672 for images that cannot be read or do not fit; RD680 for an .npy that does not.
    """
    if limit is not None and limit < 1:
        raise refusal("RD672", f"{limit} images are none", hint="give a number from 1 on")
    subject = _subject(compilation, weights)
    _, height, width = shape = compilation.program.input
    if place is not None and place.endswith(".npy"):
        from resnet_dsl.evaluate.feed_array import open_array

        array = open_array(Path(place), shape, limit)
        scaling = None
        if array.are_pixels:
            scaling = scaling_of(subject, shape, standard, None)
        return Feed(array, (height, width), scaling)
    check_torch()
    from resnet_dsl.evaluate.feed_images import open_images

    origin = open_images(subject, place, split, limit, shape, _classes(compilation))
    scaling = scaling_of(subject, shape, standard, origin.training)
    return Feed(origin, (height, width), scaling)


def _classes(compilation: Compilation) -> int | None:
    """How many classes the network tells apart; None where it is no classifier."""
    output = shapes(compilation.graph)[compilation.graph.output]
    classes = compilation.program.classes
    return classes if output == (classes,) else None


def _subject(compilation: Compilation, weights: Path | None) -> Subject:
    """The network as an evaluation knows it, with the run that its weights are from."""
    found = training(compilation.spec, compilation.source)
    return Subject(
        compilation.spec.name,
        weights or Path(compilation.spec.name),
        compilation,
        run_of(weights) if weights is not None else None,
        {} if found is None else found.values,
    )
