"""How the images of a network are standardised: (image - mean) / std, of images in [0, 1]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path

from resnet_dsl.evaluate.geometry import Size
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.runs import Run, run_at
from resnet_dsl.evaluate.subjects import Subject

_MOST_CHANNELS = 16  # whose numbers are told
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.I)


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and std: a number for all channels, one for each, or (of the mean) one for each pixel; no numbers: images as
    they are. `source` says where they are from, for the user. With `measured` (`channel` or `pixel`) they are not known
    before the training images are read."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    source: str = ""
    measured: str | None = None

    def __str__(self) -> str:
        if self.measured is not None:
            return f"measured on the training images, by {self.source}"
        if not self.mean:
            return f"not standardised, by {self.source}"
        if len(self.mean) > _MOST_CHANNELS:
            return f"mean of each pixel, by {self.source}"
        return f"mean {_listed(self.mean)} and std {_listed(self.std)}, by {self.source}"


def option(name: str, text: str) -> tuple[float, ...]:
    """`0.485,0.456,0.406` as numbers. Raises CompileError RD671."""
    words = text.split(",")
    numbers = tuple(float(word) for word in words if _NUMBER.fullmatch(word))
    good = len(numbers) == len(words) and all(map(isfinite, numbers))
    if not good or (name == "--std" and min(numbers) <= 0):
        what = "above zero, " if name == "--std" else ""
        raise refusal(
            "RD671",
            f"`{text[:80]}` is no {name}",
            why=f"it is a number for each channel, {what}with commas between, for images from 0 to 1",
            hint="as in --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        )
    return numbers


def standard_of(
    subject: Subject,
    channels: int,
    size: Size | None,
    given: Standard | None,
    spec_hash: str | None = None,
) -> Standard:
    """What a network's images are standardised by: what its training has written down, the options, or what its spec
    says. `spec_hash` is that of an ONNX file.

    Raises CompileError RD671 where nothing says it, or what does is not for images of so many channels and of that size
    (height, width; None: any).
    """
    found = _known(subject, spec_hash) or given or _by_settings(subject.settings)
    if found is None:
        raise refusal(
            "RD671",
            f"it is not known how the images for `{subject.file}` are standardised",
            why="the result.json of its training is not beside it, and a network is useless on other images "
            "than it was trained on",
            hint="say it, for images from 0 to 1: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 are ImageNet's; "
            "--mean 0 --std 1 leaves images as they are",
        )
    for name, numbers in (("mean", found.mean), ("std", found.std)):
        if len(numbers) not in (0, 1, channels, channels * prod(size or ())):
            raise refusal(
                "RD671",
                f"the {name} has {len(numbers)} numbers, and the network takes {channels} channels",
                why=f"it is from {found.source}",
                hint=f"give --{name} a number for each channel, or one for all",
            )
    return found


def _known(subject: Subject, spec_hash: str | None) -> Standard | None:
    run = subject.run
    if run is None and subject.compilation is None:
        run = _beside(subject.file, spec_hash)
    if run is None:
        return None
    source = str(run.folder / "result.json")
    if image := run.mean_image():
        return Standard(image, (1.0,), source=source)
    mean, std = run.numbers("mean"), run.numbers("std")
    return Standard(mean, std, source=source) if mean and std else None


def _beside(graph: Path, spec_hash: str | None) -> Run | None:
    """The run whose result stands beside an ONNX file, or in the folder `run` there, unless it is of another spec."""
    run = run_at(graph.parent)
    if run is None or (spec_hash and run.spec_hash not in (None, spec_hash)):
        return None
    return run


def _by_settings(settings: Mapping[str, object]) -> Standard | None:
    """What the training section of a spec says."""
    kind = settings.get("normalise")
    mean, std = settings.get("mean"), settings.get("std")
    source = "the spec's train section"
    if kind == "none":
        return Standard(source=source)
    if isinstance(mean, list | tuple) and isinstance(std, list | tuple):
        return Standard(tuple(mean), tuple(std), source=source)
    return Standard(source=source, measured=kind) if isinstance(kind, str) else None


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
