"""How commands speak: what they wrote, what to type next, and the same for a program (`--json`)."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_dsl.artifacts import Written
from resnet_dsl.errors import CompileError, Diagnostic, as_json, render_all
from resnet_dsl.render import safe

TRACEBACK = "RESNET_DSL_TRACEBACK"


class ChildExitError(Exception):
    """A program that a command ran has ended with an exit status of its own."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"ended with exit status {status}")


@dataclass(slots=True)
class Outcome:
    """What a command did: lines for people, data for programs, and for both: notes, files, the next command, findings.

    A line says what is in `data` too. A note is what it is about (`weights`) and a sentence. Where there are findings,
    in `refused`, the command has failed, and the rest is what it could do nevertheless.
    What would steer a terminal is printed as escapes; only `styled`, which comes first, brings such codes of its own.
    """

    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    next: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    refused: list[Diagnostic] = field(default_factory=list)
    status: int = 2  # the exit status where something is refused
    styled: str = ""


def size(count: int) -> str:
    """A number of bytes as people read it."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.1f} {unit}" if value < 99.5 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} TB"


def shell_path(path: Path) -> str:
    """A path as one would type it: relative where it is below this folder."""
    try:
        return no_option(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return no_option(path)


def typed(path: Path) -> str:
    """A path as a shell takes it, in quotes where it needs them."""
    return shlex.quote(shell_path(path))


def no_option(path: Path | str) -> str:
    """A path that no program takes for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def report(outcome: Outcome, *, as_data: bool) -> None:
    """Print an outcome."""
    if as_data:
        files = [
            {"path": str(item.path), "bytes": item.bytes, "status": item.status}
            for item in outcome.written
        ]
        notes = [{"about": about, "text": text} for about, text in outcome.notes]
        document = {**outcome.data, "notes": notes, "files": files, "next": outcome.next}
        if outcome.refused:
            document["errors"] = as_json(CompileError(outcome.refused))
        print(json.dumps(document, indent=2))
        return
    print(outcome.styled, end="")
    for line in (*(f"{about:<9} {text}" for about, text in outcome.notes), *outcome.lines):
        print("\n".join(map(safe, line.split("\n"))))
    for item in outcome.written:
        verb = "wrote    " if item.status == "written" else "unchanged"
        print(f"{verb} {safe(shell_path(item.path))} ({size(item.bytes)})")
    for command in outcome.next:
        print(f"next      {safe(command)}")


def fail(error: CompileError, *, as_data: bool, status: int = 2) -> int:
    """Print the diagnostics; the exit status."""
    if as_data:
        print(json.dumps({"errors": as_json(error)}, indent=2))
    else:
        color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        print(render_all(error, color=color), file=sys.stderr)
    return status


def _from_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is what an error came of: libraries make other errors of it while they are imported."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False


def guarded(action: Callable[[], Outcome], *, as_data: bool) -> int:
    """Run a command's action: report what it did, or what is wrong; the exit status."""
    try:
        outcome = action()
    except CompileError as error:
        return fail(error, as_data=as_data)
    except ChildExitError as child:
        return _child_failed(child, as_data)
    except KeyboardInterrupt:
        return ended("interrupted", 130)
    except BrokenPipeError as error:
        return unprintable(error)
    except Exception as error:
        if _from_interrupt(error):
            return ended("interrupted", 130)
        return internal(error, as_data=as_data)
    try:
        report(outcome, as_data=as_data)
        sys.stdout.flush()
    except OSError as error:
        return unprintable(error)
    if not outcome.refused:
        return 0
    if as_data:
        return outcome.status
    return fail(CompileError(outcome.refused), as_data=False, status=outcome.status)


def ended(what: str, status: int) -> int:
    """Say on the last line why the process ends; the exit status."""
    with suppress(OSError, ValueError):
        if what:
            print(what, file=sys.stderr)
    return status


def unprintable(error: OSError) -> int:
    """Let go of a standard output that cannot be written; the exit status."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 141  # whoever read it has seen enough
    return ended(f"the output cannot be printed: {(error.strerror or str(error)).lower()}", 74)


def internal(error: Exception, *, as_data: bool) -> int:
    """Report an error that is none of the user's, in one line; the exit status. RESNET_DSL_TRACEBACK=1 raises it."""
    if os.environ.get(TRACEBACK, "") not in ("", "0"):
        raise error
    if isinstance(error, MemoryError):
        return fail(
            CompileError(
                Diagnostic(
                    "RD604",
                    "the memory of this machine does not suffice",
                    why=str(error) or None,
                    hint="make the network smaller, or use a larger machine",
                )
            ),
            as_data=as_data,
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        return fail(
            CompileError(
                Diagnostic(
                    "RD650",
                    f"this needs `{error.name}`, which is not installed",
                    hint="pip install 'resnet-dsl[all]'",
                )
            ),
            as_data=as_data,
        )
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in last)
    found = Diagnostic(
        "RD799",
        f"a defect of resnet-dsl: {type(error).__name__}: {str(error)[:300]}{place}",
        hint=f"please report it, with what `{TRACEBACK}=1` and the same command print",
    )
    return fail(CompileError(found), as_data=as_data, status=70)


def _child_failed(child: ChildExitError, as_data: bool) -> int:
    """The program that ended has told people why; a program is told here."""
    if as_data:
        found = Diagnostic(
            "RD653",
            f"the training script ended with status {child.status}",
            why="what it printed is on standard error",
        )
        return fail(CompileError(found), as_data=True, status=child.status)
    return child.status


def facts(items: Mapping[str, object]) -> list[str]:
    """Aligned `name  value` lines."""
    width = max(map(len, items), default=0)
    return [f"{name:<{width}}  {value}" for name, value in items.items()]
