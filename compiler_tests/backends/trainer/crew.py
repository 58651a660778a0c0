"""Runs of emitted scripts by several processes that train together, each forked from one that has imported torch.

As the nursery does it for one process; and each here has the numbers that torchrun would give it.

    python -m compiler_tests.backends.trainer.crew      reads lines of JSON: {"folder", "arguments", "world", "double",
                                                        "stop": {rank: [signal, after so many steps]}}; answers each
                                                        with a list of {"status", "stdout", "stderr"}, by rank
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_tests.backends.trainer.nursery import Done, _become, _read

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 120  # for processes that wait for one that has gone
NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Crew:
    """The process that forks."""

    process: subprocess.Popen[str]

    def run(
        self,
        folder: Path,
        *arguments: str,
        world: int = 2,
        double: bool = False,
        stop: Mapping[int, tuple[signal.Signals, int]] | None = None,
    ) -> list[Done]:
        """Run the script of a folder in so many processes; in double, what has no type of its own is float64. With
        `stop`, some get a signal after so many steps of their optimiser."""
        request = {
            "folder": str(folder),
            "arguments": arguments,
            "world": world,
            "double": double,
            "stop": {rank: [int(number), step] for rank, (number, step) in (stop or {}).items()},
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return [Done(**each) for each in json.loads(self.process.stdout.readline())]

    def good(self, folder: Path, out: str, *arguments: str, **how: Any) -> Path:
        """Run it to a good end, of which the first process alone has told; the folder that it has written to."""
        first, *others = self.run(folder, *arguments, "--out", out, **how)
        assert (first.status, first.stderr) == (0, ""), first.stdout + first.stderr
        for other in others:
            assert (other.status, other.stdout, other.stderr) == (0, "", "")
        return folder / out


@contextmanager
def crew() -> Iterator[Crew]:
    """One that is there while it is needed."""
    command = [sys.executable, "-m", "compiler_tests.backends.trainer.crew"]
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield Crew(process)
        finally:
            process.kill()


def _serve() -> None:
    import matplotlib.figure  # noqa: F401
    import torch.distributed.fsdp
    import torch.utils.tensorboard  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


def _run(request: dict[str, Any]) -> list[dict[str, Any]]:
    world = request["world"]
    port = _free_port()
    with contextlib.ExitStack() as files:
        said = [
            [files.enter_context(tempfile.TemporaryFile()) for _ in range(2)] for _ in range(world)
        ]
        children: dict[int, int] = {}
        for rank in range(world):
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(said[rank][0].fileno(), 1)
                os.dup2(said[rank][1].fileno(), 2)
                if world > 1:
                    values = (rank, rank, world, "127.0.0.1", port)
                    os.environ.update(dict(zip(NAMES, map(str, values), strict=True)))
                _begin(request, request["stop"].get(str(rank)))
            children[child] = rank
        statuses = _ended(children)
        return [
            {"status": statuses[rank], "stdout": _read(out), "stderr": _read(err)}
            for rank, (out, err) in enumerate(said)
        ]


def _begin(request: dict[str, Any], stop: list[int] | None) -> None:
    """Run the script in this process, and end it."""
    import torch

    if request["double"]:
        torch.set_default_dtype(torch.float64)
    _become({**request, "signal": stop, "largest_file": None})


def _ended(children: dict[int, int]) -> dict[int, int]:
    """The statuses by rank, as a shell gives them. Whoever does not end is killed, some time after the first has."""
    statuses: dict[int, int] = {}
    end = float("inf")
    while len(statuses) < len(children):
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            time.sleep(0.01)
        else:
            end = min(end, time.monotonic() + PATIENCE_S)
            code = os.waitstatus_to_exitcode(status)
            statuses[children[child]] = code if code >= 0 else 128 - code
        if time.monotonic() > end:
            for child, rank in children.items():
                if rank not in statuses:
                    os.kill(child, signal.SIGKILL)
    return statuses


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    _serve()
