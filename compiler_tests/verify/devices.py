"""Devices that compute a graph in ways of their own: every sum one term after another, rounded to a type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import Conv, Linear
from resnet_dsl.verify.exact import Departure, computed
from resnet_dsl.verify.interpreter import apply
from resnet_dsl.verify.rounding import Arithmetic
from resnet_dsl.verify.targets import About
from resnet_dsl.weights.store import Weights

STORED = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class SequentialDevice:
    """A graph whose convolutions and linear layers are added up term after term, each partial sum rounded to `sums`;
    every result is rounded to the type that the graph says. It says of itself that it adds up in float32."""

    def __init__(self, graph: Graph, weights: Weights, sums: torch.dtype) -> None:
        self.graph = graph
        self.weights = weights
        self.sums = sums
        self.about = About("device", "any", "Python")
        self.arithmetic = Arithmetic()

    def differing(self, weights: Weights) -> Sequence[Departure]:
        return ()

    def logits(self, images: Tensor) -> Tensor:
        return self.inner(images)[self.graph.nodes[self.graph.output - 1].name]

    def inner(self, images: Tensor) -> Mapping[str, Tensor]:
        values = [images]
        read = partial(computed, weights=self.weights)
        for node in self.graph.nodes:
            operands = [values[value].float() for value in node.inputs]
            constants = [read(item).float() for item in node.constants]
            if isinstance(node.op, Conv | Linear):
                found = self._sums(node.op, operands[0], constants)
            else:
                found = apply(node.op, operands, constants)
            values.append(found.to(STORED[node.dtype]))
        return {node.name: values[number] for number, node in enumerate(self.graph.nodes, 1)}

    def _sums(self, op: Conv[int] | Linear[int], x: Tensor, constants: list[Tensor]) -> Tensor:
        weight = constants[0].flatten(1).to(self.sums)
        if isinstance(op, Conv):
            assert op.groups == 1
            terms = functional.unfold(x, op.kernel, op.dilation, op.padding, op.stride)
        else:
            terms = x[:, :, None]
        total = torch.zeros(len(x), len(weight), terms.shape[2], dtype=self.sums)
        if len(constants) > 1:
            total += constants[1].to(self.sums)[:, None]
        for place in range(weight.shape[1]):
            product = weight[:, place, None] * terms[:, None, place].to(self.sums)
            total = (total + product).to(self.sums)
        if isinstance(op, Linear):
            return total[:, :, 0]
        height = (
            x.shape[2] + 2 * op.padding[0] - op.dilation[0] * (op.kernel[0] - 1) - 1
        ) // op.stride[0] + 1
        return total.reshape(len(x), len(weight), height, -1)
