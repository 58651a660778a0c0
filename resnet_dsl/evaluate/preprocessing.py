"""What is done to an image before a network takes it, as far as it is known without reading any images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.normalise import standard_of
from resnet_dsl.evaluate.runs import run_of
from resnet_dsl.evaluate.subjects import Subject
from resnet_dsl.language.recipes import training

_SHOWN = 64  # numbers of a mean; of a mean image nothing is told that is not in its own file


@dataclass(frozen=True, slots=True)
class Preparation:
    """`steps`: `resize` is an image's shorter side before the centre `crop` [height, width] is cut, `mean` and `std`
    are of images in [0, 1], by channel; None where that is not known. `classes`: their names in the order of logits."""

    steps: Mapping[str, object] | None
    classes: tuple[str, ...] | None


def preparation(compilation: Compilation, weights: Path | None) -> Preparation:
    """What the training of `weights`, or else the spec's train section, says of images and classes."""
    found = training(compilation.spec, compilation.source)
    settings = {} if found is None else found.values
    run = run_of(weights) if weights is not None else None
    name = compilation.spec.name
    subject = Subject(name, weights or Path(name), compilation, run, settings)
    classes = (run.texts("classes") or None) if run is not None else None
    channels, height, width = compilation.program.input
    try:
        standard = standard_of(subject, channels, (height, width), None)
    except CompileError:
        return Preparation(None, classes)
    if standard.measured is not None or max(len(standard.mean), len(standard.std)) > _SHOWN:
        return Preparation(None, classes)
    resize = settings.get("resize")
    steps = {
        "resize": resize if isinstance(resize, int) else None,
        "crop": [height, width],
        "mean": list(standard.mean or (0.0,)),
        "std": list(standard.std or (1.0,)),
        "standardised_by": standard.source,
    }
    return Preparation(steps, classes)
