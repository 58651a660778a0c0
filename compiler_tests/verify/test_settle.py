"""A network that was drawn, with statistics as training gives it."""

from __future__ import annotations

import numpy as np
import torch

from compiler_tests.verify import nets
from resnet_dsl.verify.numbers import digest, held
from resnet_dsl.verify.settle import settled
from resnet_dsl.verify.walk import run
from resnet_dsl.weights.store import SeededWeights

DEEP = """\
name: net
input: {channels: 3, size: 8}
classes: 5
stem: cifar
stages:
  - {block: basic, depth: 60, width: 16}
head: classifier
"""


def largest(spec: str, *, settle: bool) -> float:
    """The largest value of a network on noise."""
    compilation = nets.compiled(spec)
    graph = compilation.inference_graph(fold=False)
    weights = held(compilation.graph, SeededWeights(0))
    images = nets.images(compilation, 8)
    source = settled(graph, weights, images) if settle else weights
    from resnet_dsl.verify.exact import exact

    with torch.inference_mode():
        found = run(graph, lambda item: exact(item, source), images, lambda node: True)
    return max(float(value.abs().max()) for value in found.values())


def test_what_sixty_blocks_add_up_stays_small() -> None:
    assert largest(DEEP, settle=False) > 1e8
    assert largest(DEEP, settle=True) < 200


def test_only_statistics_are_others_and_none_is_what_a_fold_would_not_feel() -> None:
    compilation = nets.compiled(nets.PLAIN)
    weights = held(compilation.graph, SeededWeights(0))
    images = nets.images(compilation, 8)
    found = settled(compilation.inference_graph(fold=False), weights, images)
    changed = held(compilation.graph, found).tensors
    for key, tensor in weights.tensors.items():
        if key.endswith(("running_mean", "running_var")):
            assert not np.isclose(changed[key], tensor, atol=1e-4).all(), key
        else:
            assert np.array_equal(changed[key], tensor), key
    assert digest(compilation.graph, found) != digest(compilation.graph, weights)
