"""The weights of a verification: held once, and told by their hash."""

from __future__ import annotations

from resnet_dsl.ir.graph import Graph
from resnet_dsl.weights.state import state
from resnet_dsl.weights.store import LoadedWeights, RecordingWeights, Weights


def held(graph: Graph, weights: Weights) -> LoadedWeights:
    """All tensors of an unfolded graph, drawn or read once."""
    return LoadedWeights(
        {
            item.key: weights.get(item.key, item.shape, item.fill)
            for item in state(graph)
            if not item.counter
        }
    )


def digest(graph: Graph, weights: Weights) -> str:
    """SHA-256, in hexadecimal, of the state dict, as the files of all targets have it (`weights_sha256`)."""
    recorded = RecordingWeights(weights)
    for item in state(graph):
        if not item.counter:
            recorded.get(item.key, item.shape, item.fill)
    return recorded.digest()
