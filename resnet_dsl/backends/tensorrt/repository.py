"""A model of a Triton repository put in its place whole: a server that watches the folder never sees half of one.

All of it is made beside the repository, then one folder takes the place of the other. The model is a hard link to that
beside the engine, where the file system has them: files are replaced and never written into, so neither name sees a
change by the other. Weights that a graph has in a file of their own are copied, because ONNX opens no such file that
has two names.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resnet_dsl.artifacts import Written, part_of
from resnet_dsl.backends.tensorrt.triton import TritonFiles
from resnet_dsl.errors import CompileError, Diagnostic

_STALE_SECONDS = 3600.0


def write_repository(folder: Path, files: TritonFiles) -> tuple[Written, ...]:
    """Write a model into the repository `folder`, which is made. Other versions of the model that are there stay.

    Raises CompileError: RD602 where it cannot be written, RD603 where the disk is full; what was there before is then
    as it was.
    """
    target = folder / files.name
    part = part_of(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        made = part / "new"
        _make(made, files)
        names = [*files.texts, *files.models]
        if all(_same(made / name, target / name) for name in names):
            return tuple(_record(target / name, changed=False) for name in names)
        _keep(target, made)
        _swap(made, target, part / "old")
        return tuple(_record(target / name, changed=True) for name in names)
    except OSError as error:
        code = "RD603" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "RD602"
        raise CompileError(
            Diagnostic(
                code,
                f"{target} cannot be written",
                why=f"{(error.strerror or str(error)).lower()}; what was there before is as it was",
                hint="choose another folder with --out DIR, or free some space",
            )
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _make(folder: Path, files: TritonFiles) -> None:
    for name, text in files.texts.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", newline="\n")
    for name, source in files.models.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        put = _link if place.stem == "model" else shutil.copyfile
        put(source.resolve(strict=True), place)


def _link(source: Path, place: Path) -> None:
    """The file under a second name, or a copy where that cannot be."""
    try:
        os.link(source, place)
    except (OSError, NotImplementedError):
        shutil.copyfile(source, place)


def _keep(target: Path, made: Path) -> None:
    """Take over what the model's folder holds besides: versions that someone else has put there."""
    for path in sorted(_files(target)):
        place = made / path.relative_to(target)
        if os.path.lexists(place) or place.parent == made / "1":
            continue  # what else is in our version is of a model that it replaces
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            place.symlink_to(os.readlink(path))
        else:
            _link(path, place)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        yield from (Path(root) / name for name in (*names, *links))


def _swap(made: Path, target: Path, old: Path) -> None:
    there = os.path.lexists(target)
    if there:
        os.rename(target, old)
    try:
        os.rename(made, target)
    except BaseException:
        if there:
            os.rename(old, target)
        raise


def _same(made: Path, there: Path) -> bool:
    try:
        return os.path.samefile(made, there) or filecmp.cmp(made, there, shallow=False)
    except OSError:
        return False


def _record(path: Path, *, changed: bool) -> Written:
    return Written(path, path.stat().st_size, "written" if changed else "unchanged")


def _sweep(folder: Path) -> None:
    """Remove what a killed run left an hour ago, or longer."""
    for left in folder.parent.glob(f".{folder.name}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - _STALE_SECONDS:
                shutil.rmtree(left)
