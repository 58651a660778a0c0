"""Takes runs that nobody else is at, and trains each in a process of its own: `resnet-dsl train runs/ID/spec.yaml`.

Whatever ends this process, a run is where its training last saved, and the next `resnet-dsl study` goes on from there.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.studies.child import Child, Line, trainer
from resnet_dsl.studies.claims import BEAT_S, STALE_S, Claim
from resnet_dsl.studies.folder import Failure, RunFolder
from resnet_dsl.studies.plan import Run

INTERRUPTED = (129, 130, 143, -1, -2, -15)
"""Statuses of a training that a signal asked to stop: it has saved, and can go on."""

_OF_ONE_RUN = ("weights: ", "next: ")
"""What a training says to whoever trains one network, and not many."""


@dataclass(frozen=True, slots=True)
class Options:
    """How runs are trained. `jobs` at a time; `device` is the trainer's; `retry`: those that have failed, too."""

    jobs: int = 1
    device: str | None = None
    retry: bool = False
    command: Sequence[str] = field(default_factory=trainer)
    beat_s: float = BEAT_S
    stale_s: float = STALE_S


@dataclass(slots=True)
class _Active:
    """A run that is being trained."""

    folder: RunFolder
    claim: Claim
    child: Child
    resumed: bool
    lost: bool = False


class Worker:
    """Trains the runs of a study; `say` gets a line for people, without its end."""

    def __init__(self, out: Path, options: Options, say: Callable[[str], None]) -> None:
        self.runs = out / "runs"
        self.options = options
        self.say = say
        self.lines: queue.Queue[Line] = queue.Queue()
        self.active: dict[str, _Active] = {}
        self.tried: set[str] = set()
        self.beaten = time.monotonic()

    def work(self, runs: Iterable[Run]) -> None:
        """Train all that is to do and that nobody else is at. Raises CompileError where nothing can be written."""
        todo = list({run.id: run for run in runs}.values())
        try:
            look = True  # for runs that are free
            while look or self.active:
                while look and len(self.active) < self.options.jobs:
                    look = self._begin_one(todo)
                if self.active:
                    look = self._listen()
        finally:
            self._stop_all()

    def _begin_one(self, todo: Sequence[Run]) -> bool:
        """Begin the first run that is free; whether there was one."""
        for run in todo:
            folder = RunFolder(self.runs, run)
            if run.id in self.tried or not self._is_open(folder):
                continue
            claim = self._claim(folder)
            if claim is None:
                continue
            self.tried.add(run.id)
            try:
                if not self._is_open(folder):  # ended elsewhere since we looked
                    claim.release()
                    continue
                self._begin(folder, claim)
            except BaseException:
                claim.release()
                raise
            return True
        return False

    def _is_open(self, folder: RunFolder) -> bool:
        """Whether the run is to be trained, if nobody else is at it."""
        failed = folder.failure() is not None and not self.options.retry
        return folder.result() is None and not failed

    def _claim(self, folder: RunFolder) -> Claim | None:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            return folder.claims.take(self.options.stale_s)
        except OSError as error:
            raise CompileError(
                Diagnostic(
                    "RD602",
                    f"`{folder.path}` cannot be written",
                    why=(error.strerror or str(error)).lower(),
                    hint="choose another folder with --out DIR",
                )
            ) from error

    def _begin(self, folder: RunFolder, claim: Claim) -> None:
        failure = folder.failure()
        folder.prepare()
        folder.forgive()
        resumed = folder.has_state() and not (failure is not None and failure.from_state)
        arguments = [str(folder.spec), "--out", str(folder.path), "--json"]
        arguments += ["--resume"] if resumed else []
        arguments += ["--device", self.options.device] if self.options.device else []
        child = Child(
            folder.run.id,
            [*self.options.command, *arguments],
            log=folder.path / "log.txt",
            lines=self.lines,
            threads=_threads(self.options.jobs),
        )
        self.active[folder.run.id] = _Active(folder, claim, child, resumed)
        claim.tell(child.pid)
        self.say(f"{folder.run.label}: {'goes on' if resumed else 'begins'} in {folder.path}")

    def _listen(self) -> bool:
        """Hand on what a child says, or take up one that has ended; whether to look for runs again, since one has, or
        since some time has passed."""
        with suppress(queue.Empty):
            line = self.lines.get(timeout=self.options.beat_s)
            if line.text is None:
                self._ended(self.active.pop(line.run))
                return True
            if not line.text.startswith(_OF_ONE_RUN):
                self.say(f"{self.active[line.run].folder.run.label}: {line.text}")
        if time.monotonic() < self.beaten + self.options.beat_s:
            return False
        self.beaten = time.monotonic()
        for active in self.active.values():
            if not active.lost and not active.claim.beat():
                active.lost = True
                self.say(f"{active.folder.run.label}: another process has taken it over")
                active.child.ask_to_stop()
        return True

    def _ended(self, active: _Active) -> None:
        """Say, and write down, how a run has ended."""
        folder, label = active.folder, active.folder.run.label
        status = active.child.wait()
        result = folder.result()
        if active.lost:
            return
        try:
            if result is not None:
                error = 100 - float(result["test_accuracy"])
                self.say(f"{label}: finished, test error {error:.2f} %")
            elif status in INTERRUPTED:
                self.say(f"{label}: interrupted; the same command goes on with it")
            else:
                failure = Failure(_reason(active, status), status, active.resumed and status == 2)
                folder.record(failure)
                self.say(f"{label}: failed: {failure.reason}")
        finally:
            active.claim.release()

    def _stop_all(self) -> None:
        """Let every child save and end; the runs can be gone on with."""
        for active in self.active.values():
            active.child.ask_to_stop()
        for active in self.active.values():
            self.say(f"{active.folder.run.label}: is being stopped")
            active.child.stop()
            active.claim.release()
        self.active.clear()


def _reason(active: _Active, status: int) -> str:
    """Why a training failed, as it told it itself."""
    if status == 0:
        return "the training ended well, and left no result of this spec"
    said = active.child.reason()
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        name = next((one.name for one in signal.Signals if one == number), f"signal {number}")
        hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"it was ended by {name}{hint}"
    return said or f"it ended with status {status}; `{active.folder.path / 'log.txt'}` tells more"


def _threads(jobs: int) -> int | None:
    """How many threads a training may take where several share the cores; None for what it takes by itself."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(cores // jobs, 1) if jobs > 1 else None
