"""What rounding alone does to a whole network, by Monte Carlo arithmetic.

Beside the exact computation of a graph run `SEEDS` copies of it in which each result is off by as much as its operation
may be (`bounds.py`): Parker 1997, "Monte Carlo arithmetic: exploiting randomness in floating-point arithmetic"; Stott
Parker, Pierce & Eggert 2000, Comput. Sci. Eng. 2(4). How far the copies are from the exact values is what the rounding
of one more computation, the target's, does; that of a chain of hundreds of operations is found so, with all that
amplifies, averages or cancels it on the way, where bounds of single operations, multiplied up, say nothing any more.

The copies are computed in float32, whose own rounding adds what a computation has anyway, a tenth of the noise or less.
The errors of a target's rounding follow from what is rounded: equal numbers, as in an image's plain background, are off
by the same amount, so that a mean over them does not average it away. The noise is therefore a hash of the number (as
float32) and the copy, of unit variance.

Let e be a target's error, to first order a Gaussian vector, and e_s those of S copies of at least its covariance. Then
|e|² / mean |e_s|² has the heaviest tail where one direction has all variance, and is F(1, S) there, the square of
Student's t with S degrees of freedom. So |e| <= t sqrt(mean |e_s|²) but with probability `CHANCE`, for root mean
squares and for maxima. What a target computes otherwise than the reference even without rounding, with folded, rounded
or quantised weights and values, is the distance of its exact computation from the reference, and is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_dsl.ir.graph import LARGEST_CODE, Graph, Node
from resnet_dsl.ir.ops import Dequantize, Quantize
from resnet_dsl.verify.bounds import error_of
from resnet_dsl.verify.interpreter import apply
from resnet_dsl.verify.rounding import Arithmetic, student
from resnet_dsl.verify.walk import Numbers, Tick, computing, last_reads, silent

SEEDS = 8
CHANCE = 1e-4
"""Of each tensor, that rounding exceeds its bound."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A value computed exactly (N, …), and how far the copies are from it: root mean square and maximum."""

    exact: Tensor
    rms: float
    largest: float

    def bounds(self, reference: Tensor) -> tuple[float, float]:
        """What root mean square and maximum of a target's distance from the reference may be."""
        apart = (self.exact - reference).abs()
        t = student(SEEDS, CHANCE)
        return (
            float(apart.square().mean().sqrt()) + t * self.rms,
            float(apart.max()) + t * self.largest,
        )


def spread(
    graph: Graph,
    numbers: Numbers,
    images: Tensor,
    arithmetic: Arithmetic,
    kept: Callable[[Node], bool],
    tick: Tick = silent,
) -> dict[str, Spread]:
    """What rounding does to the values of the nodes that are to be kept, by name."""
    freed = last_reads(graph)
    values = {0: images.to(torch.float64)}
    copies = {0: images.to(torch.float32).repeat(SEEDS, 1, 1, 1)}
    found: dict[str, Spread] = {}
    for number, node in enumerate(graph.nodes, start=1):
        operands = [values[value] for value in node.inputs]
        constants = [numbers(item) for item in node.constants]
        exact = apply(node.op, operands, constants)
        single = [item.to(torch.float32) for item in constants]
        disturbed = apply(node.op, [copies[value] for value in node.inputs], single)
        if not isinstance(node.op, Quantize):
            none = [None] * len(operands)
            error = error_of(node.op, computing(node), operands, none, constants, exact, arithmetic)
            if error is not None:
                size = (error.variance + error.fixed.square()).sqrt_()
                disturbed = _disturb(disturbed, exact, size, number)
            if arithmetic.fused:
                disturbed = _with_biases(disturbed, graph, node, constants, number)
        values[number], copies[number] = exact, disturbed
        if kept(node):
            found[node.name] = _spread(exact, disturbed)
        for value in freed.get(number, ()):
            del values[value], copies[value]
        tick(1)
    return found


def _with_biases(
    copies: Tensor, graph: Graph, node: Node, constants: Sequence[Tensor], number: int
) -> Tensor:
    """The copies of what a layer of integers makes, whose bias is rounded to its sums' steps, the products of the
    scales of what it reads and of its weights: each channel is off by up to half a step. That is little, but makes the
    next value in codes another where it lies near the middle of two."""
    source = graph.nodes[node.inputs[0] - 1].op if node.inputs[0] else None
    encoded = bool(node.constants) and node.constants[0].encoding == "int8"
    if not (isinstance(source, Dequantize) and encoded and len(constants) > 1):
        return copies
    steps = constants[0].flatten(1).abs().amax(1) / LARGEST_CODE["int8"] * source.scale
    generator = torch.Generator().manual_seed(number)
    parts = torch.rand(SEEDS, 1, len(steps), generator=generator) - 0.5
    off = (parts * steps).reshape(SEEDS, 1, len(steps), *[1] * (copies.dim() - 2))
    split = copies.reshape(SEEDS, -1, *copies.shape[1:])
    return (split + off).to(torch.float32).reshape(copies.shape)


def _spread(exact: Tensor, copies: Tensor) -> Spread:
    off = (copies.reshape(SEEDS, *exact.shape) - exact).abs_()
    largest = off.flatten(1).amax(1)
    return Spread(exact, float(off.square_().mean().sqrt()), float(largest.square().mean().sqrt()))


def _disturb(copies: Tensor, exact: Tensor, size: Tensor, number: int) -> Tensor:
    """The copies, each with its own noise of this size. Rearranging a value may have left a view of it: what is given
    stays as it is."""
    bits = _mixed(exact.to(torch.float32).view(torch.int32) + number * 0x61C88647 % 2**31)
    result = copies.clone()
    for seed, copy in enumerate(result.reshape(SEEDS, *exact.shape), start=1):
        copy.addcmul_(_noise(bits, seed), size)
    return result


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser of MurmurHash3, on 32 bits that wrap around."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * -0x7A143595
    bits = (bits ^ ((bits >> 13) & 0x7FFFF)) * -0x3D4D51CB
    return bits ^ ((bits >> 16) & 0xFFFF)


def _noise(bits: Tensor, seed: int) -> Tensor:
    """Numbers of mean 0 and variance 1, uniform, that follow from bits and seed."""
    mixed = (bits ^ (seed * 0x3C6EF372 % 2**31)).mul_(-0x7A143595)
    mixed ^= (mixed >> 16) & 0xFFFF
    return mixed.mul_(-0x3D4D51CB).to(torch.float32).mul_(3**0.5 / 2**31)
