"""What an engine file says of itself in its first bytes, read without TensorRT and without a GPU.

Bytes 0–3 are the product's magic, bytes 24–27 its version; an RTX engine also holds its own size, as a 64-bit word at
byte 16. Corruption in the middle is not seen here: a manifest's SHA-256 sees it.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from resnet_dsl.backends.tensorrt.products import PRODUCTS, RTX, Product
from resnet_dsl.errors import CompileError, Diagnostic

_LENGTH = 32
_REBUILD = "build it again: `resnet-dsl compile SPEC --target tensorrt`"


@dataclass(frozen=True, slots=True)
class EngineHeader:
    """Which product wrote an engine, in which version, and its size in bytes."""

    product: Product
    version: str
    """Four numbers, as in 1.7.1.116; the last is known modulo 256."""
    size: int
    declared_size: int | None
    """None for a product that does not write it."""

    @property
    def whole(self) -> bool | None:
        """Whether the file is as long as its header says; None where the header does not say."""
        return None if self.declared_size is None else self.declared_size == self.size


def read_header(path: Path) -> EngineHeader:
    """The header of an engine file that is as long as it should be.

    Raises CompileError: RD001 where the file cannot be read, RD631 where it is no engine, is cut short, or has bytes
    after its end.
    """
    header = peek(path)
    if header.whole is False:
        raise CompileError(wrong_size(path, header))
    return header


def peek(path: Path) -> EngineHeader:
    """The header of an engine file, whatever follows it.

    Raises CompileError: RD001 where the file cannot be read, RD631 where it is no engine, or ends inside its header.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise OSError(22, "it is a device or a pipe, and no file")
        with path.open("rb") as file:
            start = file.read(_LENGTH)
            size = file.seek(0, 2)
    except OSError as error:
        raise unreadable(path, error) from error
    product = next((item for item in PRODUCTS.values() if item.magic == start[:4]), None)
    if product is None:
        if not start:
            raise _finding(f"{path} is empty", None)
        raise _finding(
            f"{path} is not a TensorRT engine",
            "an engine begins with `ftrt` (TensorRT) or `vtrt` (TensorRT for RTX), and this file with "
            f"{_shown(start[:4])}",
        )
    if len(start) < _LENGTH:
        raise _finding(
            f"{path} is cut short: {size} bytes", f"the header alone has {_LENGTH} bytes"
        )
    declared = int.from_bytes(start[16:24], "little") if product is RTX else None
    version = ".".join(str(byte) for byte in start[24:28])
    return EngineHeader(product, version, size, declared)


def wrong_size(path: Path, header: EngineHeader, manifest: int | None = None) -> Diagnostic:
    """The finding (RD631) of a file that is not as long as its header says, or else its manifest."""
    source = "header" if manifest is None else "manifest"
    declared = header.declared_size if manifest is None else manifest
    what = "is cut short" if header.size < (declared or 0) else "has bytes after its end"
    why = f"its {source} says {declared:,} bytes, and the file has {header.size:,}"
    return Diagnostic("RD631", f"{path} {what}", why=why, hint=_REBUILD)


def unreadable(path: Path, error: OSError) -> CompileError:
    """The finding (RD001) that a file cannot be read."""
    why = error.strerror or str(error)
    why = why[:1].lower() + why[1:]
    return CompileError(Diagnostic("RD001", f"{path} cannot be read: {why}"))


def _shown(start: bytes) -> str:
    return f"`{start.decode('ascii')}`" if start.isascii() and start.isalnum() else start.hex(" ")


def _finding(message: str, why: str | None) -> CompileError:
    return CompileError(Diagnostic("RD631", message, why=why, hint=_REBUILD))
