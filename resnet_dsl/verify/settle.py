"""Weights of a seed as a training would have them after its first steps.

A network that has just been drawn says little: every normalisation divides by one, and what hundreds of blocks add up
leaves the range of float32. So the statistics of its normalisations are taken from images, as training takes them, one
after another from the input on. Few images make a poor variance, which is drawn halfway to the layer's mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resnet_dsl.ir.graph import Graph, Shape, Stored
from resnet_dsl.ir.ops import BatchNorm, FrozenBatchNorm, Init
from resnet_dsl.verify.exact import exact
from resnet_dsl.verify.interpreter import apply
from resnet_dsl.verify.walk import last_reads
from resnet_dsl.weights.store import Array, Weights

_SMALLEST = 1e-6
_IMAGES = 8


@dataclass(frozen=True, slots=True)
class SettledWeights:
    """Weights, some tensors of which are others."""

    source: Weights
    changed: Mapping[str, Array]

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        found = self.changed.get(key)
        return self.source.get(key, shape, fill) if found is None else found.copy()


def settled_on_noise(graph: Graph, weights: Weights) -> SettledWeights:
    """The weights with statistics of a few images of noise."""
    generator = torch.Generator().manual_seed(1)
    return settled(graph, weights, torch.randn(_IMAGES, *graph.input, generator=generator))


def settled(graph: Graph, weights: Weights, images: Tensor) -> SettledWeights:
    """The weights with statistics of the images for each normalisation of an unfolded graph; a fifth of each mean
    stays, so that means have something to do."""
    changed: dict[str, Array] = {}
    source = SettledWeights(weights, changed)
    freed = last_reads(graph)
    values = {0: images.to(torch.float64)}
    with torch.inference_mode():
        for number, node in enumerate(graph.nodes, start=1):
            operands = [values[value] for value in node.inputs]
            if isinstance(node.op, BatchNorm | FrozenBatchNorm):
                means, variances = _statistics(operands[0])
                for constant, numbers in zip(node.constants[2:], (means, variances), strict=True):
                    assert isinstance(constant.source, Stored)
                    changed[constant.source.key] = numbers.numpy().astype(np.float32)
            constants = [exact(item, source) for item in node.constants]
            values[number] = apply(node.op, operands, constants)
            for value in freed.get(number, ()):
                del values[value]
    return source


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    variances, means = torch.var_mean(x, (0, 2, 3), correction=0)
    return 0.8 * means, (variances + variances.mean()).div(2).clamp(min=_SMALLEST)
