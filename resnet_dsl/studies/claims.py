"""Who is at a run, where processes and machines share its folder.

A claim is a file, `claim.1`, which only one process can make: the file system sees to that (O_EXCL). Whoever holds it
changes its time every few seconds. A claim that nobody has renewed for STALE_S, or whose process is known to be dead,
is passed by: then `claim.2` can be made, by one process again. Nothing is ever removed, so no two processes can both
take over. A claim is given back by setting its time to the year 1970.

Times are compared by the clock of the disk: machines' own may differ.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BEAT_S = 10.0
STALE_S = 600.0
_NAME = re.compile(r"claim\.([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is at a run: the name of the machine, the process, and how long ago it was last heard of."""

    host: str
    pid: int
    silent_s: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claims:
    """The claims of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holder(self, stale_s: float = STALE_S) -> Holder | None:
        """Who is at the run; None where nobody is."""
        number = self.last()
        return None if number == 0 else self._holder(number, stale_s)

    def take(self, stale_s: float = STALE_S) -> Claim | None:
        """The run for this process; None where another one is at it.

        Raises OSError where the folder cannot be written.
        """
        number = self.last()
        if number and self._holder(number, stale_s) is not None:
            return None
        claim = Claim(self.folder, number + 1)
        return claim if claim.made() else None

    def last(self) -> int:
        """The number of the claim that counts; 0 where there is none."""
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        found = [int(match[1]) for match in map(_NAME.fullmatch, names) if match]
        return max(found, default=0)

    def _holder(self, number: int, stale_s: float) -> Holder | None:
        file = self.folder / f"claim.{number}"
        try:
            beaten = file.stat().st_mtime
        except FileNotFoundError:
            return None
        if beaten == 0:
            return None
        silent = disk_time(self.folder) - beaten
        said = _said(file)
        pid, child = (_number(said.get(key)) for key in ("pid", "child"))
        here = pid and said.get("place") == place() is not None
        if silent >= stale_s or (here and not alive(pid) and not group_alive(child)):
            return None
        return Holder(str(said.get("host", "a machine")), pid, max(silent, 0.0))


class Claim:
    """A claim of this process."""

    def __init__(self, folder: Path, number: int) -> None:
        self.file = folder / f"claim.{number}"
        self.number = number
        self._claims = Claims(folder)

    def made(self) -> bool:
        """Whether the file could be made, and so the run is ours. Raises OSError where nobody could make it."""
        try:
            handle = os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self._text(None))
        return True

    def tell(self, child: int) -> None:
        """Write down the process that trains, which may outlive this one. Raises OSError."""
        self.file.write_text(self._text(child), encoding="utf-8")

    def beat(self) -> bool:
        """Say that the run is still ours; False where another process has taken it over."""
        with suppress(OSError):  # the disk may come back before anyone takes over
            if self._claims.last() != self.number:
                return False
            os.utime(self.file)
        return True

    def release(self) -> None:
        """Let anyone take the run."""
        with suppress(OSError):
            os.utime(self.file, (0, 0))

    def _text(self, child: int | None) -> str:
        said = {"host": socket.gethostname(), "place": place(), "pid": os.getpid(), "child": child}
        return json.dumps(said) + "\n"


def disk_time(folder: Path) -> float:
    """Now, by the clock that sets the times of the folder's files."""
    probe = folder / f".clock-{secrets.token_hex(4)}"
    try:
        with probe.open("x"):
            pass
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except OSError:  # it can only be read
        return time.time()


def alive(pid: int) -> bool:
    """Whether there is a process of that number here."""
    if sys.platform == "win32":
        return True  # asking would end it: its claim grows old
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    return True


def group_alive(pid: int) -> bool:
    """Whether a process is left of those that a child with a session of its own, of that number, has started."""
    if sys.platform == "win32" or pid == 0:
        return False
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _said(file: Path) -> dict[str, object]:
    """What a claim says; nothing while it is being written."""
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


@cache
def place() -> str | None:
    """Where the numbers of processes mean what they mean here: this start of this machine, and the container in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None
