"""Timing whole processes, and the memory that each took by the kernel's own account."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 900.0


class RunError(Exception):
    """A measured command that did not end with status 0."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of a command: wall-clock seconds from start to exit, largest resident set, standard output. Of several
    runs the median time, the largest memory and the output of the last."""

    seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], *, limit: float = LIMIT_SECONDS) -> Measured:
    """Run `command` in the repository's root. Raises RunError with the end of its standard error.

    The memory is that of this one child (`wait4`). A child starts as a copy of the process that makes it, and the
    kernel counts that copy too, so the process that measures must stay small: it imports neither torch nor ONNX.
    """
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        timer = threading.Timer(limit, child.kill)
        timer.start()
        try:
            assert child.stdout is not None
            with child.stdout:
                output = child.stdout.read().decode(errors="replace")
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)  # it is reaped; Popen must not wait
        if child.returncode != 0:
            errors.seek(0)
            said = "\n".join(errors.read().decode(errors="replace").strip().splitlines()[-12:])
            text = f"{_shown(command)}\nended with status {child.returncode}\n{said or output}"
            raise RunError(text.rstrip())
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, usage.ru_maxrss * unit, output)


def repeat(command: Callable[[], Sequence[str]], runs: int) -> Measured:
    """Run what `command` gives `runs` times and take the median; a warm-up fills the file cache and is not counted.

    `command` is called anew for each run, so that each can be given an empty folder to write to.
    """
    run(command())
    found = [run(command()) for _ in range(runs)]
    seconds = statistics.median(item.seconds for item in found)
    return Measured(seconds, max(item.peak_bytes for item in found), found[-1].output)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def child(name: str, *arguments: str) -> list[str]:
    """The command of a module in children/, which does its work in a process of its own and prints JSON."""
    return python("-m", f"compiler_tests.bench.children.{name}", *arguments)


def resnet_dsl(*arguments: str) -> list[str]:
    """The installed command, as a person would type it; without one, what its script does."""
    script = Path(sys.executable).parent / "resnet-dsl"
    if script.exists():
        return [str(script), *arguments]
    return python("-c", "import sys; from resnet_dsl.cli import main; sys.exit(main())", *arguments)


def _shown(command: Sequence[str]) -> str:
    return " ".join(part if len(part) < 80 else f"{part[:77]}…" for part in command)
