"""What is the matter with a block of an ONNX file of anybody's: its weights, or what is done with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.ir.graph import Constant, Graph
from resnet_dsl.ir.ops import BatchNorm, Conv, FrozenBatchNorm
from resnet_dsl.verify.ends import section
from resnet_dsl.verify.exact import exact
from resnet_dsl.verify.onnx_file import OnnxFile, Operator
from resnet_dsl.verify.reference import Reference

_SAME = {"fp32": 1e-5, "fp16": 2e-3}
"""How near numbers are that folding or rounding has made of the same: as a part of the largest."""
_FEW = 0.02
"""A tensor of which no more of its numbers are others is the spec's, with a few changed."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, order=True)
class _Match:
    """The constant of a file that is nearest to one of the spec's: how many numbers are further from the spec's than
    folding and rounding take them, of how many, and how far the furthest is, as a part of the largest number."""

    part: float
    distance: float
    wrong: int
    numbers: int
    name: str
    source: str


def diagnose(file: OnnxFile, reference: Reference, block: str) -> str:
    """One clause about a block of a file that departs from the spec in it."""
    held = _Held(file, _SAME["fp16" if "float16" in file.types.values() else "fp32"])
    graphs = (reference.graph, reference.compilation.inference_graph())
    plain, folded = (
        [held.nearest(item, reference) for item in _weights(graph, block)] for graph in graphs
    )
    matches = min((plain, folded), key=lambda found: max(found, default=None) or _NOTHING)
    if not matches:
        return f"`{block}` has no weights, so that it is its operations that differ"
    worst = max(matches)
    if not worst.wrong:
        said = _settings(file, reference, block, {item.name: item.source for item in matches})
        return said or (
            f"the weights of `{block}` are in the file, so that it is its operations that differ"
        )
    if not _any_weights(held, reference):
        return "none of the spec's weights is in the file: it holds those of another training"
    if worst.distance < _FEW and worst.part > _FEW:
        return (
            f"`{worst.name}` is in the file but for {worst.distance:.1%} of its largest number, as "
            "with another epsilon, or rounded on its way"
        )
    if worst.part <= _FEW:
        return (
            f"`{worst.name}` is in the file, with {worst.wrong:,} of {worst.numbers:,} numbers "
            "changed"
        )
    return f"`{worst.name}` is not in the file"


def _weights(graph: Graph, block: str) -> Iterator[Constant]:
    """The convolutions' and linear layers' weights of a section."""
    for node in graph.nodes:
        if section(node) == block and node.constants and len(node.constants[0].shape) > 1:
            yield node.constants[0]


_NOTHING = _Match(0.0, 0.0, 0, 0, "", "")


class _Held:
    """The floating-point constants of a file by shape; matrices may be transposed."""

    def __init__(self, file: OnnxFile, tolerance: float) -> None:
        self.file = file
        self.tolerance = tolerance
        self.names: dict[tuple[int, ...], list[str]] = {}
        for name, shape in file.shapes.items():
            for each in {shape, shape[::-1]} if len(shape) == 2 else {shape}:
                self.names.setdefault(each, []).append(name)

    def nearest(self, constant: Constant, reference: Reference) -> _Match:
        """The nearest of them to a constant of the spec."""
        wanted = exact(constant, reference.weights).numpy()
        scale = max(float(np.abs(wanted).max()), 1e-300)
        best = _Match(1.0, float("inf"), wanted.size, wanted.size, constant.name, "")
        for name in self.names.get(constant.shape, ()):
            for numbers in self._numbers(name, constant.shape):
                off = np.abs(numbers - wanted) / scale
                wrong = int(np.count_nonzero(off > self.tolerance))
                part = wrong / wanted.size
                found = _Match(part, float(off.max()), wrong, wanted.size, constant.name, name)
                best = min(best, found)
        return best

    def _numbers(self, name: str, shape: tuple[int, ...]) -> Iterator[Array]:
        found: NDArray[Any] | None = self.file.constant(name)
        if found is None or found.dtype.kind != "f":
            return
        for each in (found, found.T) if found.ndim == 2 else (found,):
            if each.shape == shape:
                yield each.astype(np.float64)


def _any_weights(held: _Held, reference: Reference) -> bool:
    """Whether any weight of the spec is in the file, folded or not."""
    graphs = (reference.graph, reference.compilation.inference_graph())
    return any(
        held.nearest(node.constants[0], reference).part <= _FEW
        for graph in graphs
        for node in graph.nodes
        if node.constants and len(node.constants[0].shape) > 1
    )


def _settings(
    file: OnnxFile, reference: Reference, block: str, sources: Mapping[str, str]
) -> str | None:
    """A setting of a convolution or normalisation of the block that is another in the file."""
    readers: dict[str, Operator] = {}
    for item in file.operators:
        for name in item.inputs[1:]:
            readers.setdefault(name, item)
    for node in reference.graph.nodes:
        if section(node) != block or not isinstance(node.op, Conv):
            continue
        operator = readers.get(sources.get(node.constants[0].name, ""))
        if operator is None or operator.kind != "Conv":
            continue
        for name, wanted in (
            ("strides", node.op.stride),
            ("pads", (*node.op.padding, *node.op.padding)),
            ("dilations", node.op.dilation),
        ):
            default = [0] * 4 if name == "pads" else [1, 1]
            found = list(operator.settings.get(name, default))
            if found != list(wanted):
                return f"`{node.name}` has {name} {_shown(wanted)}, and the file's `{operator.name}` {_shown(found)}"
    return _epsilon(file, reference, block)


def _epsilon(file: OnnxFile, reference: Reference, block: str) -> str | None:
    wanted = {
        node.op.eps
        for node in reference.graph.nodes
        if section(node) == block and isinstance(node.op, BatchNorm | FrozenBatchNorm)
    }
    found = {
        float(np.float32(item.settings.get("epsilon", 1e-5)))
        for item in file.operators
        if item.kind == "BatchNormalization"
    }
    others = sorted(found - {float(np.float32(eps)) for eps in wanted})
    if wanted and others:
        return f"its normalisations have epsilon {min(wanted):g}, and the file has ones with {others[0]:g}"
    return None


def _shown(numbers: Any) -> str:
    return "×".join(map(str, numbers))
