"""What a run of the training script has left beside its weights: its files, and what `result.json` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

from resnet_dsl.artifacts import Written

RESOLVED = "spec.json"
"""The spec with everything resolved, beside the script of the run."""
INITIAL = "initial.safetensors"
"""The weights that a fine-tuning begins with, likewise."""

MEAN_IMAGE = "mean_image.safetensors"

FILES = (
    "last.safetensors",
    "best.safetensors",
    "state.pt",
    "state.previous.pt",
    "state.old.pt",
    "metrics.jsonl",
    "result.json",
    "manifest.json",
    "curves.svg",
    "curves.png",
    MEAN_IMAGE,
)
"""What the script writes into the folder of a run, besides the events of TensorBoard."""

Stamp: TypeAlias = tuple[int, int]
_MOST_BYTES = 1 << 22


def stamps(run: Path) -> dict[str, Stamp | None]:
    """The stamps of the files that a run may have."""
    return {name: stamp(run / name) for name in FILES}


def files_of(run: Path, before: Mapping[str, Stamp | None]) -> Iterator[Written]:
    """The files of a run; `before` are their stamps from before it."""
    for name, then in before.items():
        file = run / name
        if (now := stamp(file)) is not None:
            yield Written(file, file.stat().st_size, "unchanged" if now == then else "written")


def stamp(file: Path) -> Stamp | None:
    """What is another once the file has been written; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def outcome_of(run: Path) -> dict[str, Any] | None:
    """What the result of a run says; None where there is none that can be read."""
    return read_json(run / "result.json")


def read_json(file: Path) -> dict[str, Any] | None:
    """A mapping in a file; None where there is none that can be read."""
    try:
        with file.open(encoding="utf-8") as opened:
            found = json.loads(opened.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def standardised(weights: Path, spec_hash: str) -> list[str]:
    """A note on the images that a network wants, where the result of its training stands beside its weights. The notes
    alone come of it: what is written depends on the weights, and not on their neighbours."""
    found = outcome_of(weights.parent)
    if found is None or found.get("spec") != spec_hash:
        return []
    files = [found.get(key) for key in ("weights", "best_weights")]
    if weights.name not in [Path(file).name for file in files if isinstance(file, str)]:
        return []
    if found.get("normalise") == "none":
        return ["the training took its images as they are, as numbers from 0 to 1"]
    if found.get("normalise") == "pixel":
        return [
            "the training subtracted the mean image from its images, of numbers from 0 to 1, and the network wants "
            f"such: {MEAN_IMAGE} beside the weights has it, as (C, H, W)"
        ]
    mean, std = _numbers(found.get("mean")), _numbers(found.get("std"))
    if not mean or not std:
        return []
    return [
        "the training standardised its images, and the network wants such: (image - mean) / std for each channel, "
        f"of images from 0 to 1, with mean {_listed(mean)} and std {_listed(std)} "
        "(in full in the `result.json` beside the weights)"
    ]


def _numbers(value: object) -> list[float]:
    """The numbers of a list of them; none where it is anything else."""
    items = value if isinstance(value, list) else []
    numbers = [float(item) for item in items if isinstance(item, float) and isfinite(item)]
    return numbers if len(numbers) == len(items) else []


def _listed(numbers: list[float]) -> str:
    shown = ", ".join(f"{number:.4g}" for number in numbers[:4])
    return shown if len(numbers) <= 4 else f"{shown}, …"
