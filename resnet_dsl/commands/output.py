"""How commands speak: what they wrote, what to type next, and the same for a program (`--json`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_dsl.artifacts import Written
from resnet_dsl.errors import CompileError, as_json, render_all


class ChildExitError(Exception):
    """A program that a command ran has ended with an exit status of its own."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"ended with exit status {status}")


@dataclass(slots=True)
class Outcome:
    """What a command did: lines for people, data for programs, files, and the next command."""

    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    next: list[str] = field(default_factory=list)


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
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def report(outcome: Outcome, *, as_data: bool) -> None:
    """Print an outcome."""
    if as_data:
        files = [
            {"path": str(item.path), "bytes": item.bytes, "status": item.status}
            for item in outcome.written
        ]
        print(json.dumps({**outcome.data, "files": files, "next": outcome.next}, indent=2))
        return
    for line in outcome.lines:
        print(line)
    for item in outcome.written:
        verb = "wrote    " if item.status == "written" else "unchanged"
        print(f"{verb} {shell_path(item.path)} ({size(item.bytes)})")
    for command in outcome.next:
        print(f"next      {command}")


def fail(error: CompileError, *, as_data: bool) -> int:
    """Print the diagnostics; the exit status."""
    if as_data:
        print(json.dumps({"errors": as_json(error)}, indent=2))
    else:
        color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        print(render_all(error, color=color), file=sys.stderr)
    return 2


def guarded(action: Callable[[], Outcome], *, as_data: bool) -> int:
    """Run a command's action: report what it did, or what is wrong; the exit status."""
    try:
        outcome = action()
    except CompileError as error:
        return fail(error, as_data=as_data)
    except ChildExitError as ended:
        return ended.status  # the program that ended has said why
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    report(outcome, as_data=as_data)
    return 0


def facts(pairs: Mapping[str, object] | Sequence[tuple[str, object]]) -> list[str]:
    """Aligned `name  value` lines."""
    items = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    width = max((len(name) for name, _ in items), default=0)
    return [f"{name:<{width}}  {value}" for name, value in items]
