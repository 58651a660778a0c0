"""Calibrations on the disk: one safetensors file each, named by the hash of all that it follows from.

    least, largest, squares     (V,) float64
    count, zeros, exponent      (V,) int64
    counts                      (V, BINS) int64
    metadata                    `calibration`: JSON of what it is of; `sha256`: the hash of that and of the numbers

A file is read as one that anyone may have written: whatever is not as we write it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.calibrate.histogram import BINS, LARGEST_EXPONENT, LEAST_EXPONENT, Histogram

FORMAT = 1
"""To be raised with every change of what a file holds, or of how it is come by: older files are then made anew."""

_FLOATS = ("least", "largest", "squares")
_INTEGERS = ("count", "zeros", "exponent")
_MOST_COUNTED = 2**50  # numbers in a bin
_HEADER = 1 << 22  # bytes that a header may take beside its names


class DamagedError(Exception):
    """A file that is not as we write it, and why."""


@dataclass(frozen=True, slots=True)
class Key:
    """All that a calibration follows from: hashes of the ONNX graph with its weights and of the images, how many images
    there are, and the values' names. `spec` and `weights` are hashes for people, which the graph's implies."""

    model: str
    feed: str
    images: int
    names: tuple[str, ...]
    spec: str = ""
    weights: str = ""

    @property
    def file_name(self) -> str:
        said = [FORMAT, BINS, self.model, self.feed, self.images, self.names]
        return f"calibration.{sha256(json.dumps(said).encode()).hexdigest()[:16]}.safetensors"

    def as_dict(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "format": FORMAT,
            "model_sha256": self.model,
            "feed_sha256": self.feed,
            "spec_sha256": self.spec,
            "weights_sha256": self.weights,
            "images": self.images,
            "values": list(self.names),
        }


def store(folder: Path, key: Key, histograms: Mapping[str, Histogram]) -> str:
    """Write a calibration, which appears when it is whole; returns its hash. Raises CompileError RD602, RD603."""
    arrays = _arrays([histograms[name] for name in key.names])
    said = json.dumps(key.as_dict())
    digest = _digest(said, arrays)
    content = save(arrays, {"calibration": said, "sha256": digest})
    artifacts = Artifacts(folder)
    with artifacts.binary(key.file_name) as file:
        file.write(content)
    return digest


def stored(folder: Path, key: Key) -> tuple[dict[str, Histogram], str] | None:
    """What a folder holds of a calibration, and its hash; None where there is nothing. Raises DamagedError."""
    path = folder / key.file_name
    expected = len(key.names) * 8 * (BINS + len(_FLOATS) + len(_INTEGERS))
    try:
        if not path.exists():
            return None
        if path.stat().st_size > expected + _HEADER + 100 * sum(map(len, key.names)):
            raise DamagedError("it is larger than it can be")
        with safe_open(path, "numpy") as file:
            said: dict[str, str] = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise DamagedError(str(error)) from error
    _check(key, said, arrays)
    return dict(zip(key.names, _histograms(arrays), strict=True)), said["sha256"]


def _arrays(histograms: list[Histogram]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for name in _FLOATS:
        found[name] = np.array([getattr(each, name) for each in histograms], np.float64)
    for name in _INTEGERS:
        found[name] = np.array([getattr(each, name) for each in histograms], np.int64)
    found["counts"] = np.array([each.counts for each in histograms], np.int64)
    return found


def _histograms(arrays: dict[str, NDArray[Any]]) -> list[Histogram]:
    rows = zip(*(arrays[name].tolist() for name in (*_FLOATS, *_INTEGERS)), strict=True)
    return [
        Histogram(
            least=least,
            largest=largest,
            squares=squares,
            count=count,
            zeros=zeros,
            exponent=exponent,
            counts=np.array(counts),
        )
        for (least, largest, squares, count, zeros, exponent), counts in zip(
            rows, arrays["counts"], strict=True
        )
    ]


def _digest(said: str, arrays: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of what a file says and of its numbers."""
    found = sha256(said.encode())
    for name in (*_FLOATS, *_INTEGERS, "counts"):
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def _check(key: Key, said: dict[str, str], arrays: dict[str, NDArray[Any]]) -> None:
    """Raises DamagedError unless a file is of `key`, whole, and holds what histograms can hold."""
    number = len(key.names)
    for name in (*_FLOATS, *_INTEGERS, "counts"):
        shape = (number, BINS) if name == "counts" else (number,)
        kind = np.float64 if name in _FLOATS else np.int64
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != kind:
            raise DamagedError(f"it has no `{name}` of {shape} {np.dtype(kind)}")
    if said.get("calibration") != json.dumps(key.as_dict()):
        raise DamagedError("it is of other images or another network")
    if said.get("sha256") != _digest(said["calibration"], arrays):
        raise DamagedError("its hash is not that of what it holds")
    if not _is_possible(**arrays):
        raise DamagedError("it holds what no histogram can")


def _is_possible(
    least: NDArray[np.float64],
    largest: NDArray[np.float64],
    squares: NDArray[np.float64],
    count: NDArray[np.int64],
    zeros: NDArray[np.int64],
    exponent: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> bool:
    numbers = (least, largest, squares)
    if not all(np.isfinite(each).all() for each in numbers):
        return False
    if (counts < 0).any() or (counts > _MOST_COUNTED).any():
        return False
    if (exponent < LEAST_EXPONENT).any() or (exponent > LARGEST_EXPONENT).any():
        return False
    magnitude = np.maximum(largest, -least)
    return bool(
        (least <= largest).all()
        and (squares >= 0).all()
        and (magnitude < 2.0**exponent).all()
        and (zeros >= 0).all()
        and (zeros <= count).all()
        and (counts.sum(1) == count - zeros).all()
        and ((magnitude > 0) == (count > zeros)).all()
    )
