"""Training in several processes, started by torchrun: who is who, sums over all, and gradients that are averaged.

With one process there is no process group, and everything here does what it says for that one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Result = TypeVar("Result")


class ProcessError(Exception):
    """The processes cannot be started so, or not on this device. Its text says why, for the user."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int  # of this process among all, the first is 0
    local_rank: int  # of this process among those on its machine
    world: int  # how many there are
    device: torch.device  # of this process alone, unless it is the CPU


def start_processes(wanted: str | None = None) -> Processes:
    """Joins the processes that torchrun started, or stands alone, where it is started without.

    The device is the one wanted, or a GPU where there is one; of several processes, each has the
    GPU of its number on its machine. Raises ProcessError.
    """
    rank, local_rank, world = torchrun_numbers()
    device = find_device(wanted, local_rank, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise ProcessError(f"WORLD_SIZE is {world}, and {missing[0]} is not set: use torchrun")
        # What is on the CPU goes over gloo: to ask the others something does not wait for a GPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Processes(rank, local_rank, world, device)


def torchrun_numbers() -> tuple[int, int, int]:
    """Rank, rank on this machine, and number of processes, as torchrun says them; (0, 0, 1) where
    nothing says them. Raises ProcessError."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    said = [os.environ.get(name) for name in names]
    if said[0] is None and said[2] is None:
        return 0, 0, 1
    try:
        rank, local_rank, world = (int(value or "") for value in said)
    except ValueError:
        values = ", ".join(f"{name}={value}" for name, value in zip(names, said, strict=True))
        raise ProcessError(
            f"the environment says {values}: start with torchrun, which sets all three, or unset "
            "them to train in one process"
        ) from None
    if not 0 <= local_rank <= rank < world:
        raise ProcessError(
            f"the environment says RANK={rank}, LOCAL_RANK={local_rank}, WORLD_SIZE={world}, and "
            "no process can be that: start with torchrun"
        )
    return rank, local_rank, world


def find_device(wanted: str | None, local_rank: int, world: int) -> torch.device:
    """The device of this process. Raises ProcessError where there is none of that name."""
    try:
        device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ProcessError(f"--device {wanted}: torch knows no such device") from None
    if device.type not in ("cpu", "cuda"):
        raise ProcessError(f"--device {wanted}: this script runs on cpu and cuda")
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count()
    if world > 1 and device.index is not None:
        raise ProcessError(f"--device {wanted}: each process has its own GPU; write --device cuda")
    if world > 1 and 0 < count <= local_rank:
        raise ProcessError(
            f"more processes than GPUs on this machine: torchrun --nproc-per-node {count}"
        )
    index = local_rank if world > 1 else device.index or 0
    if index >= count:
        raise ProcessError(f"--device {wanted}: torch sees no such GPU here")
    return torch.device("cuda", index)


def stop_processes() -> None:
    """Leaves the others, at the end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_left(error: RuntimeError) -> bool:
    """Whether an error is that others have gone. On a CPU torch has no type of its own for it."""
    return isinstance(error, dist.DistError) or "/gloo/" in str(error)


def leave_at_once(words: str) -> None:
    """Ends this process with status 1. What ends by itself would wait for those that have gone."""
    print(words, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in float64: counts are exact."""
    result = tensor.detach().to(torch.float64, copy=True)
    if dist.is_initialized() and result.numel():
        dist.all_reduce(result)
    return result


def agreed(flag: bool) -> bool:
    """Whether the flag is set in any process; all have to ask."""
    return bool(total(torch.tensor(float(flag))))


def from_first(value: Any) -> Any:
    """What the first process gives here, in every one: anything that can be pickled."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def in_all(action: Callable[[], Result]) -> Result:
    """What an action gives in this process. Where it raises in any, it does in all, so that none
    waits for one that is gone: in the first process with the words of the first that failed, and
    elsewhere without words."""
    result, own = None, None
    try:
        result = action()
    except Exception as error:
        if not dist.is_initialized():
            raise
        own = error
    errors = from_each(None if own is None else (type(own), str(own)))
    for rank, found in enumerate(errors):
        if found is not None:
            kind, words = found
            said = f"process {rank}: {words}" if rank else words
            raise kind(said if dist.get_rank() == 0 else "") from own
    return cast(Result, result)


def from_each(value: Any) -> list[Any]:
    """What each process gives here, by rank: anything that can be pickled."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def by_machine(action: Callable[[], object], processes: Processes) -> None:
    """Has an action done by the first process, and then by the first of each other machine, which
    finds it done where they share a disk. All processes have to come here."""
    first = processes.rank == 0
    for turn in (first, processes.local_rank == 0 and not first):
        in_all(action if turn else tuple)


def copy_first(tensors: Iterable[Tensor]) -> None:
    """Gives tensors (of `state_dict().values()`, `buffers()`) the values of the first process."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor.detach(), 0)


def wrap_ddp(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with its gradients averaged over all processes while they are computed; alone, as
    it is. It begins with the weights of the first process.

    Running statistics stay those of each process: before a test, `copy_first(network.buffers())`,
    unless batch norm is synchronised.
    """
    if not dist.is_initialized():
        return network
    return DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


def average_ddp(model: Any, now: bool) -> None:
    """Whether gradients are averaged in the backward pass that follows, or only added up, as in
    all micro-batches of a step but the last. Said before the forward pass, to what `wrap_ddp` gave
    or `torch.compile` made of it."""
    if dist.is_initialized():
        model.require_backward_grad_sync = now
