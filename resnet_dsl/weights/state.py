"""The state dict of a network: its tensors in module order, as every target names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Graph, Shape, Stored
from resnet_dsl.ir.ops import BatchNorm, Init
from resnet_dsl.weights.order import COUNTER
from resnet_dsl.weights.save import TensorEntry
from resnet_dsl.weights.store import LoadedWeights, Weights


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One tensor of the state dict; a counter of batches is an int64 scalar that begins at zero."""

    key: str
    shape: Shape
    fill: Init | float
    counter: bool = False


def state(graph: Graph) -> tuple[StateTensor, ...]:
    """The tensors of an unfolded graph, in the order of its modules."""
    found: list[StateTensor] = []
    for node in graph.nodes:
        for constant in node.constants:
            if not isinstance(constant.source, Stored):
                raise ValueError(f"{constant.name} is folded: the state dict is lost")
            found.append(StateTensor(constant.name, constant.shape, constant.source.fill))
        if isinstance(node.op, BatchNorm):
            found.append(StateTensor(f"{node.name}.{COUNTER}", (), 0.0, counter=True))
    return tuple(found)


def entries(graph: Graph, weights: Weights) -> list[TensorEntry]:
    """What a file of the graph's state dict holds, each tensor made when its turn comes."""

    def load(tensor: StateTensor) -> NDArray[Any]:
        if tensor.counter:
            return np.zeros((), np.int64)
        return weights.get(tensor.key, tensor.shape, tensor.fill)

    return [
        TensorEntry(
            tensor.key,
            tensor.shape,
            "int64" if tensor.counter else "float32",
            partial(load, tensor),
        )
        for tensor in state(graph)
    ]


def check_numbers(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise CompileError for tensors that no network can compute with: RD513 where one holds infinity or what is not
    a number, RD512 where a variance is negative."""
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    negative = [
        name
        for name, array in arrays.items()
        if name.endswith("running_var") and name not in broken and (array < 0).any()
    ]
    hint = "the checkpoint is damaged, or its training diverged: take an earlier one"
    found = [
        Diagnostic(
            code, f"{len(names)} of {len(arrays)} tensors {what}, as `{names[0]}` does", hint=hint
        )
        for code, names, what in (
            ("RD513", broken, "hold infinity, or what is not a number"),
            ("RD512", negative, "hold a negative variance"),
        )
        if names
    ]
    if found:
        raise CompileError(found)


def from_file(path: Path, graph: Graph) -> tuple[LoadedWeights, str | None, list[str]]:
    """The weights of a file under the graph's names, the hash of the spec that they were saved with
    (of our own files alone), and what to tell about how they fit.

    Raises CompileError (RD5xx) where the file is no file of weights, or of another network.
    """
    from resnet_dsl.weights.load import load
    from resnet_dsl.weights.match import Expected, match

    checkpoint = load(path)
    expected = [
        Expected(tensor.key, tensor.shape, required=not tensor.counter) for tensor in state(graph)
    ]
    found = match(expected, checkpoint)
    check_numbers(found.arrays)
    arrays: Mapping[str, NDArray[Any]] = found.arrays
    notes = [*checkpoint.notes, found.report.summary(), *found.report.notes]
    return LoadedWeights(arrays), checkpoint.spec_hash, notes
