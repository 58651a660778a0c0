"""The weights that a fine-tuning begins with: a file's, under the network's names, with a new head where needed.

A head for another number of classes is told by compiling the same spec for that number: what then has another shape is
what depends on it, whatever the head is made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.commands.build import STRIDES_IN_POINTWISE, strides_in_pointwise
from resnet_dsl.commands.room import check_room
from resnet_dsl.commands.run import INITIAL
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph, Shape
from resnet_dsl.ir.ops import Init
from resnet_dsl.lower import lower
from resnet_dsl.passes.inline import inline
from resnet_dsl.render import safe
from resnet_dsl.weights.load import Checkpoint, load
from resnet_dsl.weights.match import Expected, Match, match
from resnet_dsl.weights.save import save_safetensors
from resnet_dsl.weights.state import check_numbers, entries, state
from resnet_dsl.weights.store import LoadedWeights, SeededWeights

_MOST_TRIED = 8


@dataclass(frozen=True, slots=True)
class Initial:
    """The weights, and what to say of them. What `loaded` lacks is drawn."""

    graph: Graph
    loaded: LoadedWeights
    drawn: SeededWeights
    notes: tuple[str, ...]
    origin: str
    spec_hash: str

    def get(self, key: str, shape: Shape, fill: Init | float) -> NDArray[np.float32]:
        """A tensor of the state dict."""
        source = self.loaded if key in self.loaded.tensors else self.drawn
        return source.get(key, shape, fill)

    def write(self, artifacts: Artifacts) -> None:
        """Write them as `initial.safetensors`. Raises CompileError."""
        tensors = entries(self.graph, self)
        check_room(
            artifacts.folder, INITIAL, ((item.name, 4 * prod(item.shape)) for item in tensors)
        )
        metadata = {"format": "pt", "spec_sha256": self.spec_hash, "from": self.origin}
        with artifacts.binary(INITIAL) as stream:
            save_safetensors(stream, tensors, metadata)


def initial_weights(compilation: Compilation, path: Path, seed: int) -> Initial:
    """What a network begins with that is given the weights of a file; a new head is drawn from the seed.

    Raises CompileError (RD5xx) where the file is no file of weights, or of another network.
    """
    checkpoint, graph = load(path), compilation.graph
    found, said = _fitted(compilation, checkpoint, seed)
    check_numbers(found.arrays)
    notes = [*checkpoint.notes, found.report.summary(), *found.report.notes, *said]
    if checkpoint.spec_hash is None and strides_in_pointwise(graph):
        notes.append(STRIDES_IN_POINTWISE)
    return Initial(
        graph,
        LoadedWeights(found.arrays),
        SeededWeights(seed),
        tuple(notes),
        safe(path.name),
        compilation.program.spec_hash,
    )


def _fitted(compilation: Compilation, checkpoint: Checkpoint, seed: int) -> tuple[Match, list[str]]:
    """The tensors that the network takes from the file, and what to say of those that it does not."""
    classes = compilation.spec.classes
    expected = _expected(compilation.graph)
    try:
        return match(expected, checkpoint), []
    except CompileError as error:
        refusal = error
    try:
        head = _differing(expected, _expected(_for_classes(compilation, classes + 1)))
    except CompileError:  # a network whose other parts depend on the classes too
        raise refusal from None
    new = f"`{_modules(head)}` is new, drawn from seed {seed}"
    for count in _class_counts([item for item in expected if item.name in head], checkpoint):
        try:
            found = match(_expected(_for_classes(compilation, count)), checkpoint)
        except CompileError:
            continue
        kept = {name: array for name, array in found.arrays.items() if name not in head}
        return Match(kept, found.report), [
            f"{new}: the file's tells {count} classes apart, and the network {classes}"
        ]
    headless = [
        Expected(item.name, item.shape, item.required and item.name not in head)
        for item in expected
    ]
    try:
        return match(headless, checkpoint), [f"{new}: the file has none"]
    except CompileError:
        raise refusal from None


def _for_classes(compilation: Compilation, count: int) -> Graph:
    """The same network for another number of classes."""
    other = compilation.spec.model_copy(update={"classes": count})
    return inline(lower(other, compilation.source))


def _expected(graph: Graph) -> list[Expected]:
    return [Expected(item.key, item.shape, required=not item.counter) for item in state(graph)]


def _differing(one: Sequence[Expected], other: Sequence[Expected]) -> frozenset[str]:
    shapes = {item.name: item.shape for item in other}
    return frozenset(item.name for item in one if shapes.get(item.name) != item.shape)


def _class_counts(head: Sequence[Expected], found: Mapping[str, NDArray[Any]]) -> Iterator[int]:
    """How many classes the file may be for: the rows of what has as many columns as the network's head.

    The counts that come up least are tried first: a network has one head, and many other layers.
    """
    columns = {prod(item.shape[1:]) for item in head if len(item.shape) > 1}
    own = {item.shape[0] for item in head if item.shape}
    counts: dict[int, int] = {}
    for array in found.values():
        if array.ndim > 1 and prod(array.shape[1:]) in columns and array.shape[0] not in own:
            counts[array.shape[0]] = counts.get(array.shape[0], 0) + 1
    return iter(sorted(counts, key=lambda count: counts[count])[:_MOST_TRIED])


def _modules(names: frozenset[str]) -> str:
    return "`, `".join(sorted({name.rpartition(".")[0] for name in names}))
