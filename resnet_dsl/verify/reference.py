"""The network that the spec says, in float64: what every target is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Constant, Graph
from resnet_dsl.verify.ends import ends
from resnet_dsl.verify.exact import exact
from resnet_dsl.verify.rounding import FLOAT32, Arithmetic
from resnet_dsl.verify.spread import Spread, spread
from resnet_dsl.verify.walk import Tick, run, silent
from resnet_dsl.weights.store import Weights

LARGEST = 1e12
"""Of the values at the ends of blocks. Bounds hold squares in float32, which ends at 3.4e38."""


@dataclass(frozen=True)
class Reference:
    """The network with its weights, and the images for which values are compared, (N, C, H, W) float32."""

    compilation: Compilation
    weights: Weights
    images: Tensor
    arithmetic: Arithmetic = FLOAT32
    tick: Tick = silent

    @cached_property
    def graph(self) -> Graph:
        """The inference graph as lowered: no normalisation folded, nothing rounded, nothing quantised."""
        return self.compilation.inference_graph(fold=False)

    @cached_property
    def ends(self) -> Mapping[str, str]:
        """The values at the ends of blocks and stages, and the block or stage of each, in order."""
        return ends(self.graph)

    @property
    def final(self) -> str:
        """The name of the logits' node."""
        return self.graph.nodes[self.graph.output - 1].name

    @cached_property
    def spreads(self) -> Mapping[str, Spread]:
        """The values at the ends in float64, and what float32 does to them.

        Raises CompileError RD694 where they leave the range in which that can be said.
        """
        found = spread(
            self.graph,
            self.numbers,
            self.images,
            self.arithmetic,
            lambda node: node.name in self.ends,
            self.tick,
        )
        for name, end in found.items():
            largest = float(end.exact.abs().max())
            if not largest <= LARGEST:
                raise _overflowing(self.ends[name], largest)
        return found

    def numbers(self, constant: Constant) -> Tensor:
        """The weights, as they are."""
        return exact(constant, self.weights)

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes) in float64, for any images."""
        with torch.inference_mode():
            found = run(self.graph, self.numbers, images, lambda node: node.name == self.final)
        return found[self.final]


def _overflowing(block: str, largest: float) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD694",
            f"the values of the network grow to {largest:.1e} in `{block}`",
            why="each block adds to what was before, and nothing has trained this network to keep it small; rounding "
            "errors grow along",
            hint="give the weights of a training: --weights FILE",
        )
    )
