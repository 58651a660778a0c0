"""Depth for time: a stage that keeps few activations, and computes the others again for its gradient.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". `torch.utils.checkpoint` keeps the graph of the first
pass, whose many small parts come to lie between the large tensors that are freed: on a CPU, half of the memory of a net
as deep as ResNet-1202 could then not be used again. Here the first pass has no graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


def recompute(stage: nn.Sequential) -> None:
    """Makes a stage keep the activations of about the square root of its depth, in place, by running
    it forward twice. `torch.compile` leaves it as it is.

    Names and results stay: to the bit, but for the order of sums where blocks share weights, or
    where something else reads the stage's input too. Raises TypeError for what is no nn.Sequential.
    """
    if type(stage) not in (nn.Sequential, RecomputedStage):
        raise TypeError(f"a stage to recompute is an nn.Sequential, not {type(stage).__name__}")
    stage.__class__ = RecomputedStage


class RecomputedStage(nn.Sequential):
    """Blocks in segments, of which only the inputs are kept until the backward pass."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return run_blocks(list(self), x)
        run: Callable[..., Tensor] = RecomputedSegment.apply
        for blocks in segments(list(self)):
            parameters = dict.fromkeys(p for block in blocks for p in block.parameters())
            x = run(blocks, x, *parameters)
        return x


class RecomputedSegment(torch.autograd.Function):
    """Blocks on x (N, C, H, W): first without a graph, and for the gradient once more, with one."""

    @staticmethod
    def forward(ctx: Any, blocks: list[nn.Module], x: Tensor, *parameters: Tensor) -> Tensor:
        kind = x.device.type
        ctx.blocks, ctx.parameters = blocks, parameters
        ctx.autocast = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.random = random_state(x.device)
        ctx.save_for_backward(x)
        return run_blocks(blocks, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        x = ctx.saved_tensors[0].detach().requires_grad_(needed[0])
        # The casts of weights that the first pass left in autocast's cache have no gradient.
        dtype, enabled = ctx.autocast
        autocast = torch.autocast(x.device.type, dtype, enabled, cache_enabled=False)
        random = random_from(ctx.random, x.device)
        with random, statistics_apart(ctx.blocks), autocast, torch.enable_grad():
            y = run_blocks(ctx.blocks, x)
        inputs = [tensor for tensor in (x, *ctx.parameters) if tensor.requires_grad]
        found = iter(torch.autograd.grad(y, inputs, grad))
        return None, *(next(found) if need else None for need in needed)


def segments(blocks: list[nn.Module]) -> Iterator[list[nn.Module]]:
    """Blocks in segments of equal length. A block keeps about four tensors as large as its input,
    so that √n / 2 blocks weigh as much as the inputs of all 2·√n segments."""
    length = max(1, round(math.sqrt(len(blocks)) / 2))
    for start in range(0, len(blocks), length):
        yield blocks[start : start + length]


def run_blocks(blocks: list[nn.Module], x: Tensor) -> Tensor:
    """The blocks one after the other, on a copy of x: a first layer that works in place would spoil
    what is kept."""
    x = x.clone()
    for block in blocks:
        x = block(x)
    return x


def random_state(device: torch.device) -> Tensor:
    """Where the random numbers of a device are."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def random_from(state: Tensor, device: torch.device) -> Iterator[None]:
    """Meanwhile, a device has the random numbers from a state on; afterwards, it goes on with its own."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if cuda else []):
        if cuda:
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
        yield


@contextmanager
def statistics_apart(blocks: list[nn.Module]) -> Iterator[None]:
    """Meanwhile, batch norms in training move running statistics that are forgotten: a batch that
    passes twice counts once."""
    norms = [module for block in blocks for module in block.modules()]
    norms = [norm for norm in norms if isinstance(norm, _BatchNorm) and norm.training]
    kept = [(norm, dict(norm.named_buffers())) for norm in dict.fromkeys(norms)]
    try:
        for norm, buffers in kept:
            for name, buffer in buffers.items():
                # Means and variances are only written here: it does not matter what was there.
                apart = torch.empty_like(buffer) if buffer.is_floating_point() else buffer.clone()
                setattr(norm, name, apart)
        yield
    finally:
        for norm, buffers in kept:
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
