"""How the child process tells the parent what happens: events, stages, the log, progress. Runs in the child process.

TensorRT has no type stubs, so its objects are `Any` here.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class Channel:
    """Standard output, kept for events: what libraries print goes to standard error from here on."""

    def __init__(self, output: str) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        self._output = Path(output)

    def send(self, event: str, **fields: Any) -> None:
        """One event, unbuffered: of a crash, the last lines are what matters."""
        line = json.dumps({"event": event, **fields}) + "\n"
        try:
            view = memoryview(line.encode("ascii"))
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self._abandon()

    def end_with_parent(self) -> None:
        """End this process once the parent is gone, which closes our standard input, even in the middle of a build."""

        def wait() -> None:
            with suppress(OSError, ValueError):
                while os.read(0, 4096):
                    pass
            self._abandon()

        threading.Thread(target=wait, daemon=True).start()

    def _abandon(self) -> None:
        """The parent is gone, and nobody wants the engine."""
        with suppress(OSError):
            self._output.unlink(missing_ok=True)
        os._exit(1)


class Stages:
    """Which stage the build is in, told to the parent, and how long each took."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._channel.send("stage", name=name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def logger(trt: Any, channel: Channel) -> Any:
    """A logger that passes every line on, and keeps the errors."""

    class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT has no stubs
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                self.errors.append(text)
            channel.send("log", severity=severity.name, text=text)

    return Log()


def monitor(trt: Any, channel: Channel) -> Any:
    """Progress as one fraction. Phases nest: a phase's step is as far as the phases inside it are."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # TensorRT has no stubs
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[int, int]] = {}
            self.sent = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (0, steps)

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.phases:
                self.phases[name] = (step + 1, self.phases[name][1])
            fraction = 0.0
            for done, steps in reversed(self.phases.values()):
                fraction = min(1.0, (done + fraction) / max(1, steps))
            if fraction >= self.sent + 0.01:
                self.sent = fraction
                channel.send("progress", fraction=round(fraction, 3))
            return True  # go on

    return Monitor()
