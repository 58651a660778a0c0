"""Runs of emitted scripts, each in a process of its own that begins with torch imported already.

A process is started once, imports what scripts import, and waits. For each run it forks: the child changes to the
folder of the script and runs it as `python train.py …` would. So a run takes a fraction of a second where an
interpreter of its own would take four.

    python nursery.py        reads lines of JSON: {"folder", "arguments", "signal": [number, after so many steps],
                             "largest_file": bytes, "drawn"}; answers each with {"status", "stdout", "stderr"}
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    """How a run has ended: its status as a shell gives it, and what it has said."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Nursery:
    """The process that forks."""

    process: subprocess.Popen[str]

    def run(
        self,
        folder: Path,
        *arguments: str,
        stop: tuple[signal.Signals, int] | None = None,
        largest_file: int | None = None,
        drawn: bool = False,
    ) -> Done:
        """Run the script of a folder. With `stop` it gets a signal after so many steps of its optimiser; no file of it
        can be longer than `largest_file` bytes, as on a disk that is full. Unless it is to be `drawn`, which takes as
        long as all the rest, matplotlib and tensorboard are not installed."""
        request = {
            "folder": str(folder),
            "arguments": arguments,
            "signal": None if stop is None else [int(stop[0]), stop[1]],
            "largest_file": largest_file,
            "drawn": drawn,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.process.stdout.readline()))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """One that is there while it is needed."""
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def _serve() -> None:
    import matplotlib.figure  # noqa: F401
    import sklearn.model_selection  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                _become(request)
            _, status = os.waitpid(child, 0)
            status = os.waitstatus_to_exitcode(status)
            said = [_read(stdout), _read(stderr)]
        status = status if status >= 0 else 128 - status
        print(json.dumps({"status": status, "stdout": said[0], "stderr": said[1]}), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Run the script in this process, and end it."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    status: object = 1
    try:
        os.chdir(request["folder"])
        sys.argv = ["train.py", *request["arguments"]]
        sys.path.insert(0, request["folder"])
        if request["signal"] is not None:
            number, last = request["signal"]
            steps = iter(range(1, last + 1))

            def stop(*_: object) -> None:
                if next(steps, None) == last:
                    os.kill(os.getpid(), number)

            register_optimizer_step_post_hook(stop)
        if not request.get("drawn"):
            sys.modules |= dict.fromkeys(["matplotlib", "torch.utils.tensorboard"])  # type: ignore[arg-type]
        if request["largest_file"] is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
        runpy.run_path("train.py", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0)


def _read(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode()
    return text


if __name__ == "__main__":
    _serve()
