"""Whether this machine has the memory and the disk for a network's numbers: asked before the first of them is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from resnet_dsl.commands.output import size
from resnet_dsl.errors import CompileError, Diagnostic

_AT_ONCE = 3  # a tensor, what it is folded or rounded to, and the next one


def check_room(folder: Path, file: str, tensors: Iterable[tuple[str, int]]) -> None:
    """`tensors` are names and sizes in bytes, written to `file` in `folder` one after another.

    Raises CompileError: RD604 where memory cannot hold the largest, RD603 where the disk cannot hold them all.
    """
    total, largest, name = 0, 0, ""
    for each, count in tensors:
        total += count
        if count > largest:
            largest, name = count, each
    memory, disk = free_memory(), free_disk(folder)
    if memory is not None and _AT_ONCE * largest > memory:
        raise CompileError(
            Diagnostic(
                "RD604",
                f"the memory of this machine does not suffice for `{name}`",
                why=f"it takes {size(largest)}, {_AT_ONCE} times while it is made, and {size(memory)} are free",
                hint="make the network narrower, or use a larger machine",
            )
        )
    if disk is not None and total > disk:
        raise CompileError(
            Diagnostic(
                "RD603",
                f"`{folder / file}` does not fit on the disk",
                why=f"the weights take {size(total)}, and {size(disk)} are free",
                hint="free some space, or write to another disk with --out DIR",
            )
        )


def free_memory() -> int | None:
    """Bytes that this process can still have, as Linux tells it; None where nothing does."""
    found = (_free_in_machine(), _free_in_group())
    return min((each for each in found if each is not None), default=None)


def _free_in_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None


def _free_in_group() -> int | None:
    """What the limit of a container leaves; None where there is no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii")
        if limit.strip() == "max":
            return None
        used = (group / "memory.current").read_text(encoding="ascii")
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):
        return None


def free_disk(folder: Path) -> int | None:
    """Bytes that can still be written where `folder` is, or is going to be."""
    place = folder
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None
