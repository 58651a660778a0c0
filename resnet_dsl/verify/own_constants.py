"""The constants of one of our own ONNX files, bit for bit beside those that the weights make."""

from __future__ import annotations

import numpy as np

from resnet_dsl.backends.onnx.options import constants_of
from resnet_dsl.ir.graph import Graph
from resnet_dsl.verify.exact import Departure
from resnet_dsl.verify.onnx_file import OnnxFile
from resnet_dsl.weights.store import Weights, materialise


def differing(file: OnnxFile, graph: Graph, weights: Weights) -> list[Departure]:
    """The constants of a file that are not, to the bit, those of the graph with these weights."""
    blocks = {
        item.name: node.block or node.group for node in graph.nodes for item in node.constants
    }
    found: list[Departure] = []
    for constant in constants_of(graph):
        wanted = materialise(constant, weights)
        held = file.constant(constant.name)
        name = constant.name.removesuffix("_scale")
        block = blocks.get(constant.name, blocks.get(name, ""))
        if held is None or held.shape != wanted.shape or held.dtype != wanted.dtype:
            found.append(Departure(constant.name, block, wanted.size, wanted.size, float("inf")))
            continue
        wrong = int(np.count_nonzero(held != wanted))
        if wrong:
            found.append(Departure(constant.name, block, wrong, wanted.size, float("inf")))
    return found
