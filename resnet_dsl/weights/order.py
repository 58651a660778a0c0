"""Matching tensors whose names say nothing, by their order and shapes.

It is done only where it leaves one way:
1. the file keeps the order in which the modules were made. A torch checkpoint does; a safetensors file is sorted, and
   so is a list of names in alphabetical order in which `layer.10` comes before `layer.2`;
2. both have as many tensors (counters of batches aside), and each has the shape of the one in its place, over the
   whole network;
3. what a name does say agrees: a `bias` stands where a bias is expected, a name that the network knows stands in its
   own place, and a running variance is nowhere negative.

Per shape alone would not do: two batch normalisations of one width, made in another order than ours, would be swapped
without a trace. With the convolutions between them in the sequence, a different order shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

_KINDS = {
    "weight": "weight",
    "gamma": "weight",
    "scale": "weight",
    "kernel": "weight",
    "bias": "bias",
    "beta": "bias",
    "running_mean": "mean",
    "moving_mean": "mean",
    "running_var": "variance",
    "moving_var": "variance",
    "moving_variance": "variance",
}
COUNTER = "num_batches_tracked"


def by_order(
    expected: Sequence[tuple[str, tuple[int, ...]]],
    found: Mapping[str, NDArray[Any]],
    ordered: bool,
) -> dict[str, str] | str:
    """The found name of each expected one, both in their orders; or why that is not clear."""
    ours = [(name, shape) for name, shape in expected if kind(name) != COUNTER]
    theirs = [name for name in found if kind(name) != COUNTER]
    if len(ours) != len(theirs):
        aside = ", counters of batches aside" if len(theirs) < len(found) else ""
        return f"the file has {len(theirs)} tensors and the network {len(ours)}{aside}"
    if not ordered:
        return "a safetensors file is sorted by name, so the order of the layers is not in it"
    if theirs == sorted(theirs) and theirs != sorted(theirs, key=_natural):
        return "the file is sorted by name, so the order of the layers is not in it"
    known = {name for name, _ in ours}
    for (name, shape), other in zip(ours, theirs, strict=True):
        array = found[other]
        if tuple(array.shape) != shape:
            return f"`{other}` {tuple(array.shape)} stands where `{name}` {shape} is expected"
        if array.dtype.kind != "f":
            return f"`{other}` is of type {array.dtype}"
        says = _KINDS.get(kind(other))
        if says is not None and says != _KINDS.get(kind(name), says):
            return f"`{other}` stands where `{name}` is expected"
        if other in known and other != name:
            return f"`{other}` stands where `{name}` is expected"
        if _KINDS.get(kind(name)) == "variance" and array.size and float(array.min()) < 0:
            return f"`{other}` stands where `{name}` is expected, and a variance is not negative"
    return {name: other for (name, _), other in zip(ours, theirs, strict=True)}


def kind(name: str) -> str:
    """The last part of a name: `weight`, `bias`, `running_mean`, …"""
    return name.rpartition(".")[2]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sorting in which `layer2` comes before `layer10`."""
    return [
        (not part.isdigit(), int(part) if part.isdigit() else 0, part)
        for part in re.split(r"([0-9]+)", name)
    ]
