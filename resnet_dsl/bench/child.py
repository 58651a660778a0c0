"""A backend's process, from the side of the one that asks: whatever happens there, there is an answer here."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import resnet_dsl
from resnet_dsl.bench.messages import Answer, Failed, Load, Measure, Prepare, ask, told

WORKER = (sys.executable, "-P", "-m", "resnet_dsl.bench.worker")
"""-P: a file in the working directory must not stand in for a module of the same name."""

_LAST_LINES = 3
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that spin while they wait take the cores from whoever else is at work, and on a busy machine from each other,
which makes torch several times slower. None spins here, in any backend."""


class Child:
    """A process that measures one backend; it ends with the block that it is used in."""

    def __init__(self, threads: int, worker: Sequence[str] = WORKER) -> None:
        root = str(Path(resnet_dsl.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._child = subprocess.Popen(
            worker,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ
            | dict.fromkeys(_THREADS, str(threads))
            | _PATIENT
            | {"PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the parent, which ends the child
        )
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._gone: Failed | None = None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_answers, args=(self._child.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._child.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def gone(self) -> Failed | None:
        """Why there is no process any more, if there is none."""
        return self._gone

    def ask(self, request: Load | Prepare | Measure, limit_s: float) -> Answer:
        """The answer; `Failed` where the process ends, or takes longer than `limit_s` and is ended for it."""
        if self._gone is not None:
            return self._gone
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(ask(request))
            self._child.stdin.flush()
            answer = self._next(limit_s)
        except TimeoutError:
            self.end()
            self._gone = Failed("error", f"gave no answer for {limit_s:g} s, and was ended")
            return self._gone
        except OSError:
            answer = None
        if answer is None:
            self._gone = self._crashed()
            return self._gone
        return answer

    def end(self) -> None:
        """End the process, and whatever it started, if it has not ended itself."""
        if self._child.poll() is None:
            if sys.platform != "win32":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._child.pid, signal.SIGKILL)  # it leads a group of its own
            self._child.kill()
        self._child.wait()
        for reader in self._readers:
            reader.join(1.0)
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _next(self, limit_s: float) -> Answer | None:
        try:
            return self._answers.get(timeout=limit_s)
        except queue.Empty as error:
            raise TimeoutError from error

    def _read_answers(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in pipe:
                answer = told(line)
                if answer is not None:
                    self._answers.put(answer)
        self._answers.put(None)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in pipe:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._last.append(text[:160])

    def _crashed(self) -> Failed:
        """By which signal or with which status it ended, and its last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(2.0)
        status = self._child.poll()
        self.end()
        said = " / ".join(self._last)
        if status == -getattr(signal, "SIGKILL", 9):
            return Failed("memory", "its process was killed, as the system does without memory")
        how = f"its process ended with status {status}"
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                how = f"its process was ended by {signal.Signals(-status).name}"
        return Failed("error", f"{how}: {said}" if said else how)
