"""Reading tar archives that may be hostile: nothing is ever unpacked to disk, and what no archive of images
has is refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

from resnet_dsl.runtime.data import DataError

MOST_MEMBERS = 50_000_000
MOST_BYTES = 2**28  # of one file
MOST_RATIO = 200  # unpacked to packed, in all, beyond the first GiB


class Member(NamedTuple):
    """A file in an archive, or a folder (its name ends in a slash): where its content begins, how many
    bytes it has, and these, if they were wanted."""

    name: str
    offset: int
    size: int
    content: bytes


class ArchiveReader(io.BufferedReader):
    """The bytes of an archive, unpacked. What tarfile reads, by `read`, are headers only; for those that ask
    for absurdly much, which tarfile would grant, there is a DataError."""

    def __init__(self, path: Path, packed: bool) -> None:
        raw = gzip.GzipFile(path) if packed else path.open("rb", buffering=0)
        super().__init__(cast("io.RawIOBase", raw), 2**17)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= 2**20:
            raise DataError("it has a header of more than a MiB")
        return super().read(size)

    def content(self, offset: int, size: int) -> bytes:
        """The bytes of a file in the archive."""
        self.seek(offset)
        return super().read(size)


def is_packed(path: Path) -> bool:
    """Whether a file is compressed by gzip. Raises DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def members_of(path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files and folders of a .tar, .tar.gz or .tgz, in its order, read once from front to end; with
    their content if their name is `wanted`.

    Raises DataError: for a damaged archive; for links, devices and paths that lead out of it; for files
    beyond 256 MiB, 50 million files, and archives that unpack to 200 times their size.
    """
    packed = is_packed(path)
    try:
        with ArchiveReader(path, packed) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            number, limit = 0, 2**30 + MOST_RATIO * path.stat().st_size
            while (member := archive.next()) is not None:
                number += 1
                archive.members.clear()  # type: ignore[attr-defined]  # they would all be kept
                check_member(member)
                if number > MOST_MEMBERS or member.offset > limit:
                    raise DataError("it unpacks to more than an archive of images can hold")
                name = member.name + "/" if member.isdir() else member.name
                content = file.content(member.offset_data, member.size) if wanted(name) else b""
                yield Member(name, member.offset_data, member.size, content)
    except DataError as error:
        raise DataError(
            f"{path} is refused: {error}\nmake the archive anew from a folder"
        ) from None
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read as a tar archive: {error}\n"
            "archives are .tar, .tar.gz and .tgz; if it is one, it is damaged"
        ) from None


def check_member(member: tarfile.TarInfo) -> None:
    """Raises DataError for what no archive of images has."""
    name = member.name
    if name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"the path {name!r} leads out of it")
    if not name.isprintable():
        raise DataError(f"the path {name!r} is no printable text")
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise DataError(f"{name} is neither a file nor a folder but a link, a device or the like")
    if member.size > MOST_BYTES:
        raise DataError(f"{name} has {member.size / 2**20:,.0f} MiB, and images have 256 at most")


def read_range(path: Path, offset: int, size: int) -> bytes:
    """`size` bytes of a file from `offset` on. Raises DataError if they are not there.

    The file is opened each time: no state is shared with the processes that decode.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset, os.SEEK_SET)
            content = file.read(size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) < size:
        raise DataError(f"{path} ends early: it has changed since the training began")
    return content
