"""The numbers of a graph's constants: as mathematics has them, and what their rounding may change.

Folding is computed here once more, in float64 and by other lines than those which write files (`weights.store`), so
that a mistake there is found and not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_dsl.ir.graph import (
    LARGEST_CODE,
    Codes,
    Constant,
    FoldedBias,
    FoldedWeight,
    Graph,
    Norm,
    Scales,
    Shape,
    Stored,
    floating,
)
from resnet_dsl.verify.rounding import UNITS
from resnet_dsl.weights.store import Weights, materialise

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Departure:
    """A constant that is not what the weights make it: how many numbers of how many, and the largest error as a part
    of what rounding may do."""

    name: str
    block: str
    wrong: int
    numbers: int
    ratio: float


def exact(constant: Constant, weights: Weights) -> Tensor:
    """The numbers before any rounding, in float64; of an encoded constant, those that it encodes."""
    return torch.from_numpy(_exact(constant, weights)[0])


def computed(constant: Constant, weights: Weights) -> Tensor:
    """The numbers that a target computes with, in float64."""
    return torch.from_numpy(as_doubles(materialise(constant, weights), constant))


def as_doubles(numbers: NDArray[Any], constant: Constant) -> Doubles:
    """Numbers as a constant of this element type keeps them; bfloat16 comes as its bits."""
    if constant.dtype == "bfloat16":
        bits = np.left_shift(numbers.astype(np.uint32), 16, dtype=np.uint32)
        return bits.view(np.float32).astype(np.float64)
    return numbers.astype(np.float64)


def departures(graph: Graph, weights: Weights) -> list[Departure]:
    """The constants of a graph whose numbers are further from what they should be than rounding explains."""
    found: list[Departure] = []
    seen: set[str] = set()
    for node in graph.nodes:
        for constant in node.constants:
            if constant.name in seen:
                continue
            seen.add(constant.name)
            wanted, size = _exact(constant, weights)
            allowed = _allowed(constant, wanted, size)
            error = np.abs(as_doubles(materialise(constant, weights), constant) - wanted)
            wrong = int(np.count_nonzero(~(error <= allowed)))
            if wrong:
                ratio = float(np.max(error / np.maximum(allowed, 1e-300)))
                found.append(Departure(constant.name, node.block, wrong, wanted.size, ratio))
    return found


def _exact(constant: Constant, weights: Weights) -> tuple[Doubles, Doubles]:
    """The numbers, and the sizes that the roundings on the way to them are relative to."""
    source = constant.source
    match source:
        case Stored(key, fill):
            found = weights.get(key, constant.shape, fill).astype(np.float64)
            return found, np.abs(found)
        case FoldedWeight(weight, norm):
            factor = _factor(norm, constant.shape[:1], weights)
            factor = factor.reshape(-1, *[1] * (len(constant.shape) - 1))
            found = weights.get(weight.key, constant.shape, weight.fill) * factor
            return found, np.abs(found)
        case FoldedBias(bias, norm):
            shape = constant.shape
            factor = _factor(norm, shape, weights)
            mean, beta = _read(norm.mean, shape, weights), _read(norm.beta, shape, weights)
            before = _read(bias, shape, weights) if bias is not None else np.zeros(shape)
            found = (before - mean) * factor + beta
            return found, (np.abs(before) + np.abs(mean)) * np.abs(factor) + np.abs(beta)
        case Codes() | Scales():
            raise ValueError(f"`{constant.name}` is no operand of a node")
        case _:
            assert_never(source)


def _allowed(constant: Constant, wanted: Doubles, size: Doubles) -> Doubles:
    """By how much rounding may change a constant: the factor of folding is rounded to float32, and so is the product;
    then there is the rounding to the type that it is kept in, or to codes, half a step of its channel."""
    single, unit = UNITS["float32"], UNITS[floating(constant.dtype)]
    allowed: Doubles = 3 * single.roundoff * size + unit.roundoff * np.abs(wanted) + unit.tiny
    if constant.encoding is None:
        return allowed
    largest = np.abs(wanted.reshape(len(wanted), -1)).max(1)
    step = (largest / LARGEST_CODE[constant.encoding]).reshape(-1, *[1] * (wanted.ndim - 1))
    if constant.encoding == "float8_e4m3fn":  # four bits of mantissa; subnormals below 2**-6
        half = np.maximum(np.abs(wanted) * 2.0**-4, step * 2.0**-10)
    else:
        half = step / 2
    # The scale is rounded to the constant's type, which moves every number by its part.
    allowed += half * (1 + 8 * unit.roundoff) + 2 * unit.roundoff * np.abs(wanted)
    return allowed


def _factor(norm: Norm, shape: Shape, weights: Weights) -> Doubles:
    deviation: Doubles = np.sqrt(_read(norm.variance, shape, weights) + norm.eps)
    factor: Doubles = _read(norm.gamma, shape, weights) / deviation
    return factor


def _read(stored: Stored, shape: Shape, weights: Weights) -> Doubles:
    return weights.get(stored.key, shape, stored.fill).astype(np.float64)
