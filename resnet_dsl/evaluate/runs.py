"""What a training has left in its folder: weights, `result.json` at its end, and `manifest.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from safetensors import SafetensorError
from safetensors.numpy import load_file

from resnet_dsl.evaluate.refusal import refusal

BEST, LAST = "best.safetensors", "last.safetensors"
_MOST_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of a run, and what its files say; nothing where a file is not there, or cannot be read."""

    folder: Path
    result: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def said(self, key: str) -> Any:
        """What the result says, or else the manifest."""
        found = self.result.get(key)
        return self.manifest.get(key) if found is None else found

    @property
    def spec_hash(self) -> str | None:
        """The hash of the spec that was trained, where the run says it."""
        found = self.result.get("spec") or self.manifest.get("spec_sha256")
        return found if isinstance(found, str) and found else None

    def mean_image(self) -> tuple[float, ...]:
        """The mean image that the training subtracted, channel by channel and row by row; none where the run says of
        none. Raises CompileError RD671 where its file is not there, or damaged."""
        name = self.result.get("mean_image")
        if not isinstance(name, str):
            return ()
        file = self.folder / Path(name).name
        try:
            (image,) = load_file(file).values()
        except (OSError, ValueError, SafetensorError) as error:
            raise refusal(
                "RD671",
                f"`{file}` cannot be read",
                why=f"the training subtracted the image in it from its images: {error}",
                hint="put the file back, or evaluate the weights without the result.json beside them",
            ) from error
        return tuple(map(float, image.ravel()))

    def text(self, key: str) -> str | None:
        """As `said`, where it is text that is not empty."""
        found = self.said(key)
        return found if isinstance(found, str) and found else None

    def texts(self, key: str) -> tuple[str, ...]:
        """As `said`, where it is a list of texts."""
        found = self.said(key)
        is_list = isinstance(found, list) and all(isinstance(item, str) for item in found)
        return tuple(found) if is_list else ()

    def numbers(self, key: str) -> tuple[float, ...]:
        """As `said`, where it is a list of finite numbers."""
        found = self.said(key)
        items = found if isinstance(found, list) else []
        good = [float(item) for item in items if _is_number(item)]
        return tuple(good) if len(good) == len(items) else ()

    def accuracy_of(self, weights: Path) -> float | None:
        """The accuracy in percent that the run itself found on the test images with these weights."""
        if not self.holds(weights):
            return None
        key = {BEST: "best_test_accuracy", LAST: "test_accuracy"}.get(weights.name, "")
        found = self.result.get(key)
        return float(found) if _is_number(found) else None

    def holds(self, weights: Path) -> bool:
        """Whether the file is one that the run has written."""
        return weights.name in (BEST, LAST) and _same(weights.parent, self.folder)

    def checkpoint(self) -> Path:
        """The best weights, or else the last. Raises CompileError RD670 where there are none."""
        for name in (BEST, LAST):
            if os.path.isfile(self.folder / name):
                return self.folder / name
        raise refusal(
            "RD670",
            f"`{self.folder}` holds no weights",
            why=f"a training writes {BEST} and {LAST} after its first epoch",
            hint="let it train for longer, or give another folder",
        )


def run_at(folder: Path) -> Run | None:
    """The run in a folder, or in its folder `run`; None where neither is one."""
    for place in (folder, folder / "run"):
        names = ("result.json", "manifest.json", BEST, LAST)
        if any(os.path.isfile(place / name) for name in names):
            return Run(place, _read(place / "result.json"), _read(place / "manifest.json"))
    return None


def run_of(weights: Path) -> Run | None:
    """The run that has written a file of weights, as its name tells; None where it is no run's."""
    run = run_at(weights.parent)
    return run if run is not None and run.holds(weights) else None


def newest(root: Path) -> Run | None:
    """The run in `root`/*/run whose best weights are the newest."""
    found = {file: file.stat().st_mtime_ns for file in root.glob(f"*/run/{BEST}")}
    return run_at(max(found, key=lambda file: (found[file], file)).parent) if found else None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with file.open(encoding="utf-8") as stream:
            found = json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
