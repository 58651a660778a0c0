"""Writing files: the one module that does. A file is written beside its place and moved there when it is whole.

A process that dies in the middle, even by a kill, leaves what was there before. Inside `with Artifacts(folder) as out:`
that holds for all the files together: they are moved into place at the end, and after an error none of them is.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic

Status: TypeAlias = Literal["written", "unchanged"]

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}", re.ASCII)
_NETWORK_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # on Windows
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_STALE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is in its place: its path, its size, and whether it had to be written."""

    path: Path
    bytes: int
    status: Status


@dataclass(frozen=True, slots=True)
class _Staged:
    temporary: Path
    target: Path
    bytes: int


class Artifacts:
    """The files of one folder, which is made when the first of them is written.

    Used as a context manager, all files appear together at its end, or none does. Used without, each file appears when
    it is whole. With `durable`, each is on the disk (fsync) before it appears.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = Path(folder)
        self.durable = durable
        self._grouped = False
        self._staged: list[_Staged] = []
        self._records: list[Written] = []
        self._names: set[str] = set()
        self._made: list[Path] = []

    @property
    def records(self) -> tuple[Written, ...]:
        """What is in its place, in the order of writing; the files of a group once the group is."""
        return tuple(self._records)

    def text(self, name: str, text: str) -> Path:
        """Write `text` as UTF-8, unless the file holds just that already (its time of change then stays).

        Raises CompileError: RD601 a bad name, RD602 the folder cannot be written, RD603 the disk is full.
        """
        target = self._claim(name)
        data = text.encode("utf-8")
        if _holds(target, data):
            self._records.append(Written(target, len(data), "unchanged"))
            return target
        with self._staging(target) as file:
            file.write(data)
        return target

    @contextmanager
    def binary(self, name: str) -> Iterator[BinaryIO]:
        """A file to write (and seek) in, which takes its place when the block ends, and is removed if it fails.

        Raises CompileError: RD601 a bad name, RD602 the folder cannot be written, RD603 the disk is full.
        """
        with self._staging(self._claim(name)) as file:
            yield file

    def staged(self, name: str) -> Path:
        """Where a file that was written is now: until the group ends, under a name that is not yet its own.

        Raises KeyError for a file that was not written.
        """
        target = self.folder / name
        for item in self._staged:
            if item.target == target:
                return item.temporary
        if any(record.path == target for record in self._records):
            return target
        raise KeyError(name)

    def __enter__(self) -> Self:
        self._grouped = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._grouped = False
        try:
            if kind is None:
                self._place()
        finally:
            self._discard()

    def _claim(self, name: str) -> Path:
        if not _FILE_NAME.fullmatch(name) or ".." in name or _DEVICE.fullmatch(name):
            raise _bad_name(name, "a file name")
        if name in self._names:
            raise ValueError(f"{name} is written twice")
        self._names.add(name)
        target = self.folder / name
        with _reported(target):
            if os.path.isdir(target):
                raise IsADirectoryError(errno.EISDIR, "there is a folder where the file should be")
        return target

    @contextmanager
    def _staging(self, target: Path) -> Iterator[BinaryIO]:
        with _reported(target):
            self._make_folder()
            sweep(target)
        temporary = part_of(target)
        file: BinaryIO | None = None
        try:
            with _reported(target):
                file = open(temporary, "x+b")  # noqa: SIM115 - closed below, before it is moved
            with _full_disk_reported(target):
                yield file
                file.flush()
                if self.durable:
                    os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
                file.close()
        except BaseException:
            with suppress(OSError):  # what does not fit on the disk cannot be flushed either
                if file is not None:
                    file.close()
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if not self._grouped:
                self._discard()
            raise
        self._staged.append(_Staged(temporary, target, size))
        if not self._grouped:
            try:
                self._place()
            finally:
                self._discard()

    def _place(self) -> None:
        """Move what is staged into place; where one move fails, put back what the others replaced."""
        undo: list[tuple[Path, Path | None]] = []
        try:
            for item in self._staged:
                with _reported(item.target):
                    old = _second_name(item.target) if len(self._staged) > 1 else None
                    undo.append((item.target, old))
                    os.replace(item.temporary, item.target)
        except BaseException:
            for (target, old), item in zip(undo, self._staged, strict=False):
                if old is not None:
                    os.replace(old, target)  # does nothing, and keeps both, where they are one file
                    old.unlink(missing_ok=True)
                elif not item.temporary.exists():
                    target.unlink(missing_ok=True)
            raise
        for _, old in undo:
            if old is not None:
                with suppress(OSError):
                    old.unlink()
        self._records.extend(Written(item.target, item.bytes, "written") for item in self._staged)
        self._staged.clear()
        self._made.clear()

    def _discard(self) -> None:
        """Remove what is staged and not in place, and the folders made for it."""
        for item in self._staged:
            item.temporary.unlink(missing_ok=True)
        self._staged.clear()
        for folder in reversed(self._made):
            with suppress(OSError):  # someone else's file may be in it by now
                folder.rmdir()
        self._made.clear()

    def _make_folder(self) -> None:
        missing: list[Path] = []
        folder = self.folder
        while not os.path.exists(folder) and folder != folder.parent:
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            self._made.append(path)


def output_folder(out: Path | None, name: str) -> Path:
    """Where a network's files go: `out`, or `generated/<name>`. Raises CompileError (RD601) for a name that could
    leave that folder, that is no identifier, or that is a device of Windows."""
    if not _NETWORK_NAME.fullmatch(name) or _DEVICE.fullmatch(name):
        raise _bad_name(name, "the name of a network")
    return Path(out) if out is not None else Path("generated") / name


def _holds(target: Path, data: bytes) -> bool:
    """Whether the file is there and holds just `data`; where that cannot be told, it is to be written."""
    try:
        return target.stat().st_size == len(data) and target.read_bytes() == data
    except OSError:
        return False


def _second_name(target: Path) -> Path | None:
    """A second name for the file that is about to be replaced, so that it can be put back; None where there is none."""
    second = part_of(target)
    if not os.path.lexists(target):
        return None
    try:
        os.link(target, second, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        os.replace(target, second)
    return second


def part_of(target: Path) -> Path:
    """A new name beside `target` for what is to become it; `sweep` knows such names."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def sweep(target: Path) -> None:
    """Remove what a killed run left: files of our temporary names that nobody has written to for an hour."""
    horizon = time.time() - _STALE_SECONDS
    for left in target.parent.glob(f".{target.name}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):
            if left.stat().st_mtime < horizon:
                left.unlink()


@contextmanager
def _reported(target: Path) -> Iterator[None]:
    """Turn a failure of the file system, in what is done for `target`, into a diagnostic."""
    try:
        with _full_disk_reported(target):
            yield
    except OSError as error:
        above = (target.parent, *target.parent.parents)
        blocker = next(
            (path for path in above if os.path.exists(path) and not os.path.isdir(path)), None
        )
        reason = (
            f"`{blocker}` is a file, and a folder should be there" if blocker else _reason(error)
        )
        raise CompileError(
            Diagnostic(
                "RD602",
                f"`{target}` cannot be written",
                why=reason,
                hint="choose another folder with --out DIR",
            )
        ) from error


@contextmanager
def _full_disk_reported(target: Path) -> Iterator[None]:
    """Turn a full disk into a diagnostic; an error of any other kind may be about a file that someone else reads."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise CompileError(
            Diagnostic(
                "RD603",
                f"`{target}` does not fit on the disk",
                why=f"{_reason(error)}; what was there before is as it was",
                hint="free some space, or write to another disk with --out DIR",
            )
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _bad_name(name: str, what: str) -> CompileError:
    shown = name if len(name) <= 60 else name[:60] + "…"
    why = "files are written by this name, and it must not lead out of the output folder"
    if _DEVICE.fullmatch(name):
        why = "files are written by this name, and on Windows it is a device and no file"
    return CompileError(
        Diagnostic(
            "RD601",
            f"{shown!r} cannot be {what}",
            why=why,
            hint="use letters, digits and `_`, as in `resnet50`",
        )
    )
