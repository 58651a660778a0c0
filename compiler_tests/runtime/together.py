"""Functions run by several processes at once, joined over gloo as torchrun joins them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn

from resnet_dsl.runtime.parallel import Processes, start_processes, stop_processes


def together(function: Callable[[Processes], Any], folder: Path, world: int = 2) -> list[Any]:
    """What a function of the top of a module returns in each of `world` new processes, by rank.

    It returns what torch.save takes. An exception in one of them is raised here, and ends the others.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_run, (function, folder, world, port), world)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


def _run(
    rank: int, function: Callable[[Processes], Any], folder: Path, world: int, port: int
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    processes = start_processes("cpu")
    torch.save(function(processes), folder / f"{rank}.pt")
    stop_processes()
