"""The child process from the parent's side: a request in, lines out, and an end that is a result or an error.

Whatever the child does (crash, hang, print what it likes), the parent gets an `Answer`, or a CompileError.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import resnet_dsl
from resnet_dsl.backends.tensorrt.failures import NO_DRIVER, is_out_of_memory, out_of_memory
from resnet_dsl.backends.tensorrt.messages import Request, Result, error_from_json
from resnet_dsl.errors import CompileError, Diagnostic

WORKER = (sys.executable, "-P", "-m", "resnet_dsl.backends.tensorrt.worker")
"""-P: a file in the working directory must not stand in for a module of the same name."""

_LAST_LINES = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a build is: `load`, `parse`, `build` or `write`, and inside `build` how far, from 0 to 1.

    Of several engines, `engine` says which one it is of, from 1 to `engines`.
    """

    stage: str
    fraction: float | None = None
    engine: int = 1
    engines: int = 1


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the builder: `severity` as TensorRT names it (VERBOSE, INFO, WARNING, ERROR), or the stream."""

    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child that built an engine said: the result, and every line of its log."""

    result: Result
    log: tuple[LogLine, ...]


@dataclass(slots=True)
class _Heard:
    """What the child has said so far."""

    stage: str = "start"
    result: Result | None = None
    error: CompileError | None = None
    unwritten: OSError | None = None
    log: list[LogLine] = field(default_factory=list)


def run_worker(
    request: Request,
    *,
    title: str,
    timeout_s: float | None,
    on_progress: Callable[[Progress], None] | None,
    worker: Sequence[str] = WORKER,
) -> Answer:
    """Run the child to its end. `title` names the product in errors, `worker` is the command.

    Raises CompileError: what the child raised, RD629 for one that cannot start or ends without an answer, RD604 for
    one that ends because memory does not suffice, RD630 for one that takes longer than `timeout_s`. Raises OSError
    where the child cannot write the engine.
    """
    root = str(Path(resnet_dsl.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.Popen(
            worker,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # an interrupt is for the parent, which ends the child
        )
    except OSError as error:
        raise CompileError(
            Diagnostic(
                "RD629", f"the engine builder cannot be started: {worker[0]}", why=error.strerror
            )
        ) from error
    heard = _Heard()
    try:
        # In a thread: a child that hangs before it reads must not keep us from our deadline.
        threading.Thread(target=_send, args=(child, request), daemon=True).start()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for source, line in _lines(child, deadline):
            progress = _hear(heard, source, line)
            if progress is not None and on_progress is not None:
                on_progress(progress)
        child.wait(None if deadline is None else max(0.1, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise CompileError(
            Diagnostic(
                "RD630",
                f"{title} was given up after {timeout_s:g} s, in its stage `{heard.stage}`",
                why=_last(heard),
                hint="give it more time with --timeout SECONDS, or a smaller batch, as in `--batch 1/4/16`",
            )
        ) from error
    finally:
        _end(child)
    if heard.error is not None:
        raise heard.error
    if heard.unwritten is not None:
        raise heard.unwritten
    if heard.result is None:
        raise _crashed(title, child.returncode, heard)
    return Answer(
        heard.result, tuple(heard.log)
    )  # a crash after the result is no concern of the engine's


def _send(child: subprocess.Popen[bytes], request: Request) -> None:
    if child.stdin is None:
        raise AssertionError("standard input is a pipe")
    try:
        child.stdin.write(request.to_json().encode() + b"\n")
        child.stdin.flush()  # and it stays open: its end is ours
    except OSError:
        pass  # it is gone already: what it said tells why


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, and whatever it started, if it has not ended itself."""
    if child.poll() is None:
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # it leads a group of its own
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()


def _lines(child: subprocess.Popen[bytes], deadline: float | None) -> Iterator[tuple[str, bytes]]:
    """The child's lines as they come, until both its pipes are closed. Raises TimeoutError at the deadline."""
    arrived: queue.SimpleQueue[tuple[str, bytes | None]] = queue.SimpleQueue()

    def read(name: str, pipe: IO[bytes]) -> None:
        try:
            for line in pipe:
                arrived.put((name, line))
        except (OSError, ValueError):
            pass  # closed by the parent, which has given up
        arrived.put((name, None))

    open_pipes = 0
    for name, pipe in (("stdout", child.stdout), ("stderr", child.stderr)):
        if pipe is not None:
            threading.Thread(target=read, args=(name, pipe), daemon=True).start()
            open_pipes += 1
    while open_pipes:
        try:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            name, line = arrived.get(timeout=left)
        except queue.Empty as error:
            raise TimeoutError from error
        if line is None:
            open_pipes -= 1
        else:
            yield name, line


def _hear(heard: _Heard, source: str, line: bytes) -> Progress | None:
    """Take one line in; progress, where it is that."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    event: Any = None
    if source == "stdout":
        try:
            event = json.loads(text)
        except ValueError:
            event = None
    match event:
        case {"event": "stage", "name": str(name)}:
            heard.stage = name
            return Progress(name)
        case {"event": "progress", "fraction": float(fraction)}:
            return Progress(heard.stage, fraction)
        case {"event": "log", "severity": str(severity), "text": str(said)}:
            heard.log.append(LogLine(severity, said))
        case {"event": "error", "diagnostics": [*diagnostics]} if diagnostics:
            heard.error = error_from_json(diagnostics)
        case {"event": "unwritten", "errno": int(number), "text": str(said)}:
            heard.unwritten = OSError(number, said)
        case {"event": "done", "result": dict(result)}:
            heard.result = Result.from_dict(result)
        case _ if text.strip():
            heard.log.append(LogLine(source.upper(), text))
        case _:
            pass
    return None


def _crashed(title: str, status: int, heard: _Heard) -> CompileError:
    """The child ended without an answer (RD629): by which signal, or with which status, and its last words."""
    short = next(
        (
            line
            for item in heard.log[-50:]
            for line in item.text.splitlines()
            if is_out_of_memory(line)
        ),
        None,
    )
    if short is not None:
        return out_of_memory(title, short.strip())
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        how = f"was ended by {name}"
    else:
        how = f"ended with status {status if status < 256 else hex(status)}"
    hint = "the engine file is as it was; try again, and report it with the ONNX file if it happens twice"
    if status == -getattr(signal, "SIGKILL", 9):
        hint = "the system ends processes that run out of memory this way: try a smaller batch, as in `--batch 1/4/16`"
    return CompileError(
        Diagnostic(
            "RD629",
            f"the engine builder ({title}) {how} in its stage `{heard.stage}`",
            why=_last(heard),
            hint=hint,
        )
    )


def _last(heard: _Heard) -> str | None:
    """The last lines of the log, whole ones and none of the noise of a machine without a driver.

    What came on standard error stands last: two pipes have no common order, and a dying program's word is there.
    """
    said = [
        line.strip()
        for item in sorted(heard.log[-50:], key=lambda item: item.severity == "STDERR")
        if NO_DRIVER not in item.text
        for line in item.text.splitlines()
        if line.strip()
    ]
    shown = [line if len(line) <= 160 else line[:159] + "…" for line in said[-_LAST_LINES:]]
    return "its last lines are\n" + "\n".join(shown) if shown else "it said nothing"
