"""Random numbers: streams by name, and those that a network draws in training (dropout, drop path), which are kept with
the state of a run."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from resnet_dsl.runtime.parallel import Processes, from_each


def stream(*key: str | int) -> torch.Generator:
    """A generator for what is drawn under a key, such as "epoch", seed, number: the same numbers
    everywhere, and none that another key has."""
    text = " ".join(map(str, key)).encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return torch.Generator().manual_seed(seed)


def random_states(processes: Processes) -> list[Tensor]:
    """The state of torch's generator on the device of each process. All processes have to ask."""
    cuda = processes.device.type == "cuda"
    own = torch.cuda.get_rng_state(processes.device) if cuda else torch.get_rng_state()
    return from_each(own)


def restore_random(states: list[Tensor], processes: Processes) -> None:
    """Sets the generator of each process to what it was. With another number of processes, or on
    another kind of device, there is no such state, and none is set."""
    if len(states) != processes.world:
        return
    state = states[processes.rank]
    if processes.device.type == "cuda" and state.numel() == 16:
        torch.cuda.set_rng_state(state, processes.device)
    elif processes.device.type == "cpu" and state.numel() > 16:
        torch.set_rng_state(state)
