"""What a process owes its surroundings: standard streams, signals that clean up, an exit status for every end.

    0     done
    2     refused: the command line, the spec, the weights or the machine, with diagnostics
    70    a defect of ours; RESNET_DSL_TRACEBACK=1 shows where
    74    the output cannot be printed
    129, 130, 143   ended by SIGHUP, Ctrl-C, SIGTERM, with nothing left half-written
    141   whoever read the output has gone

The script of `train` has statuses of its own, which are passed on.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from resnet_dsl.commands.output import ended, fail, internal, unprintable
from resnet_dsl.errors import CompileError, Diagnostic

# Typer brings a copy of click in its newer versions and uses the package in the older ones; both are behind this class.
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
_SIGNALS = ("SIGHUP", "SIGINT", "SIGTERM")
_PATIENCE_S = 2.0


class Terminated(BaseException):
    """A signal asks the process to end. Like KeyboardInterrupt, it passes through whatever cleans up."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number
        super().__init__(signal.Signals(number).name)


def run(app: Callable[..., object]) -> int:
    """Run a command line to its end; the exit status."""
    _open_streams()
    _answer_signals()
    as_data = "--json" in sys.argv[1:]
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = ended("interrupted", 130)
    except Terminated as terminated:
        status = ended("terminated", terminated.status)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except _UsageError as error:
        status = _misused(error, as_data)
    except OSError as error:  # what typer prints itself; commands have answered for theirs
        status = unprintable(error)
    except Exception as error:
        status = internal(error, as_data=as_data)
    return _flushed(status if isinstance(status, int) else 0)


def _misused(error: Any, as_data: bool) -> int:
    """A command line that cannot be read; without any arguments it is answered with the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "resnet-dsl"
    message = str(error.format_message()).rstrip(".").replace("Value error, ", "")
    hint = f"`{command} --help` shows what can be written"
    if "'tensorrt' is not one of" in message:
        hint = "`resnet-dsl compile SPEC --target tensorrt` builds engines"
    return fail(CompileError(Diagnostic("RD701", message, hint=hint)), as_data=as_data)


def _open_streams() -> None:
    """Standard streams that take any text. One that is closed leads nowhere, so that no file gets its number, which
    libraries and child processes would write to."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:
                pass  # a lower one was closed as well
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal may be ASCII, or the name of a file not UTF-8.
            stream.reconfigure(errors="backslashreplace")


def _answer_signals() -> None:
    """Signals that end the process raise, so that what is half-written is removed. One that follows at once (`timeout`
    sends each twice) does not disturb that; a later one ends the process where it is."""
    first: list[float] = []

    def answer(number: int, _frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
        if time.monotonic() - first[0] > _PATIENCE_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, answer)


def _flushed(status: int) -> int:
    """The status, once everything that was printed is out of our hands."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return unprintable(error)
    return status
