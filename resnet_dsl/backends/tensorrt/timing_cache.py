"""The file that keeps how fast each kernel was, so that the next build of full TensorRT is quicker. Runs in the child.

Builds share one file: each adds what it has timed to what the file holds by then. A cache that does not fit this GPU
and this release is neither used nor changed, and no build fails because of its cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resnet_dsl.artifacts import part_of, sweep

_LARGEST = 1 << 30


class TimingCache:
    """The cache of one build. `notes` are for the user."""

    def __init__(self, config: Any, path: Path) -> None:
        """Attach the cache of a file to a configuration, or an empty one."""
        self.notes: list[str] = []
        self._config = config
        self._path: Path | None = path
        content = self._read(path)
        self._cache = self._made(content)
        if self._cache is None:
            if content:
                self.notes.append(
                    f"`{path}` is no timing cache of this GPU and this TensorRT: it is neither used nor changed; "
                    "name another file"
                )
                self._path = None
            self._cache = self._made(b"")

    def save(self) -> None:
        """Add what was timed to the file. Where that cannot be, it is told in `notes`."""
        if self._path is None or self._cache is None:
            return
        try:
            with _locked(self._path.parent):
                self._merge(self._path)
        except OSError as error:
            why = error.strerror or str(error)
            self.notes.append(
                f"the timing cache cannot be written to `{self._path}`: {why.lower()}"
            )

    def _merge(self, path: Path) -> None:
        current = self._read(path)
        held = self._config.create_timing_cache(current) if current else None
        merged = self._cache
        # Another build may have begun the file since, or added to it; conflicting entries are as good as ours.
        if held is not None and held.combine(self._cache, False):
            merged = held
        content = bytes(memoryview(merged.serialize()))
        if content != current:
            _replace(path, content)

    def _made(self, content: bytes) -> Any:
        """A cache of these bytes, attached; None where it does not fit."""
        cache = self._config.create_timing_cache(content)
        fits = cache is not None and self._config.set_timing_cache(cache, ignore_mismatch=False)
        return cache if fits else None

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(_LARGEST)
        except FileNotFoundError:
            return b""
        except OSError as error:
            self.notes.append(
                f"the timing cache `{path}` cannot be read: {(error.strerror or str(error)).lower()}"
            )
            self._path = None
            return b""


def _replace(path: Path, content: bytes) -> None:
    sweep(path)
    part = part_of(path)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """No other build reads and writes here meanwhile. The folder is what is locked, so that no file is left of it;
    where a system has no such locks, builds that end at one moment may lose what one of them added."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
