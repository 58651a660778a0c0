"""A training as a child process: its lines one by one, its end, and how it is stopped."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import resnet_dsl

PATIENCE_S = 120.0
"""How long a training that was asked to stop may take for its current step, and to save."""

_LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a run's training has printed; None when it has ended."""

    run: str
    text: str | None


def trainer() -> tuple[str, ...]:
    """The command that trains a spec. -P: no file in the working directory stands in for a module."""
    return (sys.executable, "-P", "-m", "resnet_dsl", "train")


class Child:
    """A training that runs. Its lines go to `lines` and, as they are, to the file `log`."""

    def __init__(
        self,
        run: str,
        command: Sequence[str],
        *,
        log: Path,
        lines: queue.Queue[Line],
        threads: int | None,
    ) -> None:
        self.run = run
        self._lines = lines
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._answer = ""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(threads),
            start_new_session=True,  # Ctrl-C is for us, and we ask it to stop
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_answer, args=(self._process.stdout,), daemon=True),
            threading.Thread(
                target=self._read_lines, args=(self._process.stderr, log), daemon=True
            ),
        ]
        for reader in self._readers:
            reader.start()
        self._ended = threading.Event()
        threading.Thread(target=self._tell_end, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its number, which is its session's as well."""
        return self._process.pid

    def wait(self) -> int:
        """Its exit status, once it has ended; negative for a signal."""
        self._ended.wait()
        return self._process.wait()

    def reason(self) -> str:
        """What it said of its failure: its diagnostics, or what the script has printed last where they say no more."""
        last = " / ".join(self._last)
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            errors = json.loads(self._answer)["errors"]
            told = [": ".join(filter(None, [one["message"], one.get("why")])) for one in errors]
            if not last or any(one.get("code") != _SCRIPT_FAILED for one in errors):
                return "; ".join(told) or last
        return last

    def ask_to_stop(self) -> None:
        """Let it finish its step, save, and end."""
        with suppress(OSError):
            self._process.terminate()

    def stop(self) -> None:
        """Ask it to stop, wait for that, and end by force what does not."""
        self.ask_to_stop()
        if not self._ended.wait(PATIENCE_S):
            self._kill()
            self._ended.wait()

    def _tell_end(self) -> None:
        if sys.platform != "win32":
            with suppress(ChildProcessError):  # until it has ended; its number stays taken
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._kill()  # of a trainer that was killed, the script would go on
        self._process.wait()
        for reader in self._readers:
            reader.join()
        self._ended.set()
        self._lines.put(Line(self.run, None))

    def _kill(self) -> None:
        """End by force whatever is left of the child's session."""
        if sys.platform == "win32":
            self._process.kill()
            return
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def _read_answer(self, stream: IO[str]) -> None:
        with stream:
            self._answer = stream.read()

    def _read_lines(self, stream: IO[str], log: Path) -> None:
        with stream:
            for text in stream:
                if line := text.rstrip():
                    self._last.append(line)
                    self._lines.put(Line(self.run, line))
                    with suppress(OSError), log.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")


_SCRIPT_FAILED = "RD653"


def _environment(threads: int | None) -> dict[str, str]:
    """Ours, in which our package is found, and a share of the cores."""
    root = str(Path(resnet_dsl.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    found = {**os.environ, "PYTHONPATH": path}
    if threads is not None:
        found.setdefault("OMP_NUM_THREADS", str(threads))
    return found
