"""Whether a training can go on: its state files, read without torch. `runtime/checkpoints.py` says what is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from resnet_dsl.errors import CompileError, Diagnostic

STATES = ("state.pt", "state.previous.pt")
"""What was saved last, and the one before it, which serves where that is damaged."""

FORMAT = 1
LONGEST_LINE = 65_536


def check_state(run: Path, spec_hash: str, anew: str, begun: str | None) -> None:
    """Raise CompileError RD653 where there is no state, none is whole, or it is of another training.

    `anew` is the command that begins the training; `begun` is the one that goes on with the run that is there, where
    that is known.
    """
    begin = f"begin it anew: {anew}"
    if not any((run / name).exists() for name in STATES):
        raise _refusal(
            "there is no training to go on with",
            f"there is no `{run / STATES[0]}`, which a training writes after each epoch and when it is interrupted",
            begin,
        )
    wrong: list[str] = []
    for name in STATES:
        try:
            found = read_state(run / name)
        except ValueError as error:
            wrong.append(f"`{run / name}` {error}")
            continue
        if found.get("spec") != spec_hash:
            go_on = f"go on with the one that is there: {begun}" if begun else f"or {begin}"
            raise _refusal(
                "the training cannot go on",
                f"`{run / name}` is of another network or another recipe",
                go_on if begun else f"give the spec and the --set that it was begun with; {go_on}",
            )
        return
    raise _refusal("the training cannot go on", "; ".join(wrong), begin)


def spec_of_state(run: Path) -> str | None:
    """The hash of the spec that a run is of; None where no state is whole."""
    for name in STATES:
        try:
            found = read_state(run / name).get("spec")
        except ValueError:
            continue
        return found if isinstance(found, str) else None
    return None


def read_state(path: Path) -> dict[str, Any]:
    """The first line of a state file, which says what it is. Raises ValueError, saying why, where it is not whole."""
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_LINE)
            header = _header(line)
            rest = {
                name: value for name, value in header.items() if name not in ("format", "sha256")
            }
            said = json.dumps(rest).encode()
            seal = hashlib.file_digest(file, lambda: hashlib.sha256(said)).hexdigest()
    except FileNotFoundError:
        raise ValueError("is not there") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    if seal != header["sha256"]:
        raise ValueError("is damaged: its hash is not that of what was written")
    return header


def _header(line: bytes) -> dict[str, Any]:
    if not line:
        raise ValueError("is empty")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or "format" not in header or "sha256" not in header:
        raise ValueError("is damaged, or no state of a training")
    if header["format"] != FORMAT:
        raise ValueError(
            f"has format {str(header['format'])[:20]}, and this version reads format {FORMAT}"
        )
    return header


def _refusal(message: str, why: str, hint: str) -> CompileError:
    return CompileError(Diagnostic("RD653", message, why=why, hint=hint))
