"""The process that measures one backend: `python -m resnet_dsl.bench.worker`.

It reads requests on standard input and answers on standard output (see messages.py), until its input ends. What
libraries print goes to standard error. Nothing heavy is imported before `load` names the backend.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING

from resnet_dsl.bench.messages import (
    Answer,
    Failed,
    FailureKind,
    Load,
    Loaded,
    Measure,
    Prepare,
    Prepared,
    asked,
    tell,
)

if TYPE_CHECKING:
    from resnet_dsl.bench.runners.runner import Runner, Step

AGREE = 0.05
"""Two windows of calls, one after the other, whose medians differ by less than this part are a steady time."""
WINDOW, SLOW_WINDOW = 5, 2
SLOW_S = 0.2
"""A call longer than this is not slower for what other backends have left in the caches, and varies little."""

_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate", "bad_alloc")
_COMPILER = ("no working c++ compiler", "invalidcxxcompiler", "cppcompileerror")


class Worker:
    """One backend, and the batch sizes that it is ready for."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._steps: dict[int, Step] = {}
        self._usual: dict[int, float] = {}

    def answer(self, request: Load | Prepare | Measure) -> Answer:
        """The answer, or how it failed. A batch size that failed leaves the others as they were."""
        try:
            match request:
                case Load():
                    return self._load(request)
                case Prepare():
                    return self._prepare(request)
                case Measure():
                    return self._measure(request)
        except Exception as error:  # a backend may raise anything
            return failure(error)

    def _load(self, request: Load) -> Loaded:
        module = import_module(f"resnet_dsl.bench.runners.{request.runner}")
        started = time.perf_counter()
        self._runner = module.open_runner(request)
        return Loaded(time.perf_counter() - started, self._runner.about)

    def _prepare(self, request: Prepare) -> Prepared:
        runner = self._ready()
        runner.meter.begin()
        started = time.perf_counter()
        step = runner.prepare(request.batch)
        compiled = time.perf_counter()
        runner.meter.settle()
        output = step.output()
        first = time.perf_counter()
        self._steps[request.batch] = step
        calls, steady, usual = warm_up(lambda: runner.meter.time(step), request.seconds)
        self._usual[request.batch] = usual
        return Prepared(
            compile_s=compiled - started - step.trial_s,
            first_s=first - compiled,
            warm_up=calls + 1,
            steady=steady,
            memory=runner.meter.memory(),
            output=output,
            about=dict(step.about),
        )

    def _measure(self, request: Measure) -> Answer:
        runner, step = self._ready(), self._steps[request.batch]
        if self._usual[request.batch] < SLOW_S:
            runner.meter.time(step)
        return runner.meter.measure(step, request.seconds)

    def _ready(self) -> Runner:
        if self._runner is None:
            raise RuntimeError("nothing has been loaded")
        return self._runner


def warm_up(once: Callable[[], float], seconds: float) -> tuple[int, bool | None, float]:
    """Call until the medians of two windows agree, or the seconds are over.

    Returns how many calls that took, whether the time was steady (None: too few calls to tell), and the time of a call.
    """
    times = [once()]
    size = WINDOW if times[0] < SLOW_S else SLOW_WINDOW
    end = time.perf_counter() + seconds - times[0]
    while time.perf_counter() < end:
        times.append(once())
        if len(times) >= 2 * size and len(times) % size == 0:
            before = statistics.median(times[-2 * size : -size])
            last = statistics.median(times[-size:])
            if abs(before - last) <= AGREE * last:
                return len(times), True, last
    steady = None if len(times) < 2 * size else False
    return len(times), steady, statistics.median(times[-size:])


def failure(error: Exception) -> Failed:
    """What kind of failure an error is, and its first lines."""
    said = f"{type(error).__name__}: {error}"
    known = said.casefold()
    kind: FailureKind = "error"
    if isinstance(error, MemoryError) or any(word in known for word in _MEMORY):
        kind = "memory"
    elif any(word in known for word in _COMPILER):
        kind = "compiler"
    elif isinstance(error, NotImplementedError):
        kind, said = "unsupported", str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return Failed(kind, " ".join(lines[:3])[:400])


def main() -> None:
    """Answer until there are no more questions."""
    answers = os.dup(1)
    os.dup2(2, 1)
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    worker = Worker()
    while True:
        data = memoryview(tell(worker.answer(asked(lines.get()))))
        while data:
            data = data[os.write(answers, data) :]


def _read(lines: SimpleQueue[str]) -> None:
    """Take requests in; when there can be no more, since the parent has ended, end at once, whatever is being done."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
