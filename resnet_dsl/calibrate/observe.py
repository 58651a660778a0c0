"""Running a network on images and counting what its values are like, with little memory.

The values of a batch are given by ONNX Runtime, counted, and dropped. A batch has as many images as their values fit
in `budget`; where those of one image do not, the values are seen in groups, each in a pass over the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resnet_dsl.calibrate.histogram import Histogram, NotFiniteError
from resnet_dsl.calibrate.taps import TappedSession
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.evaluate.feed import Feed

BUDGET = 256 << 20
"""Bytes that the values of a batch may take."""

_MOST_IMAGES = 64  # in a batch: more are no faster


class Progress(Protocol):
    """Told how far the work is: a bar, or nothing."""

    def begin(self, count: int) -> None:
        """So many images there are."""
        ...

    def add(self, count: int) -> None:
        """So many more are done."""
        ...


class Silent:
    """Progress that nobody is told of."""

    def begin(self, count: int) -> None:
        pass

    def add(self, count: int) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Pass:
    """Values that are seen together, on so many images at a time."""

    names: tuple[str, ...]
    images: int


def observe(
    model: Path,
    names: Sequence[str],
    feed: Feed,
    *,
    threads: int | None = None,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Histograms of the named values of an ONNX file over all images of a feed.

    Raises CompileError: RD681 where the file cannot be run, RD682 where a value is no number, and what the feed raises.
    """
    told: Progress = progress or Silent()
    session = TappedSession(model, names, threads, optimise=True)
    passes = _passes(_sizes(session, feed), budget)
    told.begin(len(passes) * feed.images)
    found = {name: Histogram() for name in session.names}
    for each in passes:
        if len(passes) > 1:
            del session  # its memory, before that of the next is taken
            session = TappedSession(model, each.names, threads, optimise=True)
        for images, _ in feed.batches(each.images):
            for name, values in session.run(images).items():
                try:
                    found[name].add(values)
                except NotFiniteError:
                    raise _not_finite(name) from None
            told.add(len(images))
    return found


def _sizes(session: TappedSession, feed: Feed) -> Mapping[str, int]:
    """How many bytes each value takes for an image: as the file says, or as one image tells."""
    said = session.bytes_of_an_image()
    known = {name: size for name, size in said.items() if size is not None}
    if len(known) == len(said):
        return known
    images, _ = next(iter(feed.batches(1)))
    return {name: value.nbytes for name, value in session.run(images).items()}


def _passes(sizes: Mapping[str, int], budget: int) -> list[Pass]:
    """The values in their order, in as few groups as have room."""
    return [
        Pass(names, min(max(budget // max(1, size), 1), _MOST_IMAGES))
        for names, size in _groups(sizes, budget)
    ]


def _groups(sizes: Mapping[str, int], budget: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Groups of values with what they take together, each below the budget unless it is one value alone."""
    group: list[str] = []
    taken = 0
    for name, size in sizes.items():
        if group and taken + size > budget:
            yield tuple(group), taken
            group, taken = [], 0
        group.append(name)
        taken += size
    if group:
        yield tuple(group), taken


def _not_finite(name: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD682",
            f"`{name}` is infinite or not a number on some image",
            why="no range holds such numbers, and none can be scaled to them",
            hint="the training diverged: take an earlier checkpoint; or the images are not what the network takes: "
            "check their mean and std",
        )
    )
