"""What a run of the training script has left beside its weights: `result.json`."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

_MOST_BYTES = 1 << 20


def outcome_of(run: Path) -> dict[str, Any] | None:
    """What the result of a run says; None where there is none that can be read."""
    try:
        with (run / "result.json").open(encoding="utf-8") as file:
            found = json.loads(file.read(_MOST_BYTES))
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
