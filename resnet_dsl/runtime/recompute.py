"""Depth for time: a stage that keeps few activations, and computes the others again for its gradient.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(stage: nn.Sequential) -> None:
    """Makes a stage keep the activations of about the square root of its depth, in place. Names and
    results stay, to the bit; it is run forward twice. `torch.compile` leaves the stage as it is.

    Raises TypeError for what is no nn.Sequential.
    """
    if type(stage) is not nn.Sequential:
        raise TypeError(f"a stage to recompute is an nn.Sequential, not {type(stage).__name__}")
    stage.__class__ = RecomputedStage


class RecomputedStage(nn.Sequential):
    """Blocks in segments, of which only the inputs are kept until the backward pass."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        blocks = list(self)
        if not torch.is_grad_enabled():
            return run_blocks(blocks, x)
        # A block keeps about four tensors as large as its input, so that √n / 2 blocks weigh as
        # much as the inputs of all 2·√n segments.
        length = max(1, round(math.sqrt(len(blocks)) / 2))
        for start in range(0, len(blocks), length):
            segment = blocks[start : start + length]
            contexts = partial(recompute_contexts, segment)
            x = checkpoint(run_segment, segment, x, use_reentrant=False, context_fn=contexts)
        return x


def run_segment(segment: list[nn.Module], x: Tensor) -> Tensor:
    """The blocks one after the other. The input is copied: to work on it in place, as a first layer
    may, would spoil what is kept."""
    return run_blocks(segment, x.clone())


def run_blocks(blocks: list[nn.Module], x: Tensor) -> Tensor:
    """The blocks one after the other."""
    for block in blocks:
        x = block(x)
    return x


def recompute_contexts(
    blocks: list[nn.Module],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What is around the first pass through the blocks, and around the second."""
    return nullcontext(), statistics_apart(blocks)


@contextmanager
def statistics_apart(blocks: list[nn.Module]) -> Iterator[None]:
    """Meanwhile, batch norms in training move running statistics that are forgotten: a batch that
    passes twice counts once."""
    norms = [module for block in blocks for module in block.modules()]
    norms = [norm for norm in norms if isinstance(norm, _BatchNorm) and norm.training]
    kept = [(norm, dict(norm.named_buffers())) for norm in norms]
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
