"""Networks whose weights, gradients and optimiser state are spread over the processes (FSDP; Zhao et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint

from resnet_dsl.runtime.parallel import Processes, copy_first
from resnet_dsl.runtime.recompute import run_blocks, segments, statistics_apart

Blend: TypeAlias = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def wrap_fsdp(network: nn.Module, processes: Processes) -> nn.Module:
    """Spreads a network over the processes, in place: each block's weights are whole only while
    it runs. It begins with the weights of the first process. Names stay. One process keeps all."""
    if processes.world == 1:
        return network
    copy_first(network.state_dict().values())
    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for block in find_blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network, inner ones first: what has parts, and is an item of a sequence."""
    sequences = [module for module in network.modules() if isinstance(module, nn.Sequential)]
    blocks = [block for sequence in sequences for block in sequence if list(block.children())]
    return list(dict.fromkeys(reversed(blocks)))


def recompute_sharded(stage: nn.Sequential) -> None:
    """What `recompute` does, for a stage that is to be spread: by torch's own means, which know
    that a block's weights come and go. Said before the network is spread.

    Raises TypeError for what is no nn.Sequential.
    """
    if type(stage) not in (nn.Sequential, RecomputedShards):
        raise TypeError(f"a stage to recompute is an nn.Sequential, not {type(stage).__name__}")
    stage.__class__ = RecomputedShards


class RecomputedShards(nn.Sequential):
    """Blocks in segments, of which only the inputs are kept until the backward pass."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        for blocks in segments(list(self)):
            contexts = partial(recompute_contexts, blocks)
            x = checkpoint(run_blocks, blocks, x, use_reentrant=False, context_fn=contexts)
        return x


def recompute_contexts(
    blocks: list[nn.Module],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What is around the first pass through blocks, and around the second."""
    return nullcontext(), statistics_apart(blocks)


def average_fsdp(model: Any, now: bool) -> None:
    """Whether gradients are averaged in the backward pass that follows, or only added up, as in
    all micro-batches of a step but the last."""
    if dist.is_initialized():
        model.set_requires_gradient_sync(now)


def blend_sharded(blend: Blend) -> Blend:
    """The `multi_avg_fn` of an AveragedModel, for one of a spread network: weights are blended apart
    from running statistics, which are whole. The AveragedModel is made first, and its module spread
    as the network is."""

    def blended(averages: Sequence[Tensor], values: Sequence[Tensor], count: Any) -> None:
        pairs = list(zip(averages, values, strict=True))
        for spread in (True, False):
            chosen = [pair for pair in pairs if isinstance(pair[0], DTensor) is spread]
            if chosen:
                blend([average for average, _ in chosen], [value for _, value in chosen], count)

    return blended


def whole_state(network: nn.Module) -> dict[str, Any]:
    """The state dict of a spread network, on the CPU of the first process; elsewhere it is empty.
    All processes have to ask. On a CPU, it holds the running statistics themselves, no copies."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(network, options=options)


def load_whole_state(network: nn.Module, state: dict[str, Any]) -> None:
    """Spreads what `whole_state` gave the first process, from there."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=dist.is_initialized())
    set_model_state_dict(network, dict(state), options=options)


def whole_optimiser_state(network: nn.Module, optimiser: Optimizer) -> dict[str, Any]:
    """The state of the optimiser of a spread network, by names, as `whole_state` gives it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_optimizer_state_dict(network, optimiser, options=options)


def load_whole_optimiser_state(
    network: nn.Module, optimiser: Optimizer, state: dict[str, Any]
) -> None:
    """Spreads what `whole_optimiser_state` gave the first process, from there."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=dist.is_initialized())
    set_optimizer_state_dict(network, optimiser, state, options=options)
