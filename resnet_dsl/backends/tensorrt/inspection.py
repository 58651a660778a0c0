"""What an engine file is, and whether it is whole: its header, its manifest, and the files beside it.

Neither TensorRT nor a GPU is needed. A finding is something wrong with the engine or its manifest; that the machine at
hand cannot run it is none (`compatibility`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from resnet_dsl.backends.tensorrt.header import EngineHeader, peek, unreadable, wrong_size
from resnet_dsl.backends.tensorrt.manifest import Manifest, manifest_path, read_manifest
from resnet_dsl.backends.tensorrt.products import PRODUCTS
from resnet_dsl.errors import CompileError, Diagnostic

Whole: TypeAlias = Literal["yes", "by its length", "not known", "no"]
"""`by its length`: no manifest says more; `not known`: neither a manifest nor the header says anything."""
State: TypeAlias = Literal["the same", "changed", "not there", "not readable"]

_REBUILD = "`resnet-dsl compile SPEC --target tensorrt`"


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that was written with the engine, and whether it still is what it was."""

    name: str
    role: str
    state: State


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of one engine file. `manifest` is None where there is none that is this engine's."""

    path: Path
    header: EngineHeader
    sha256: str
    whole: Whole
    manifest: Manifest | None
    companions: tuple[Companion, ...]
    findings: tuple[Diagnostic, ...]


def inspect_engine(path: Path) -> Inspection:
    """Read an engine and what stands beside it.

    Raises CompileError: RD001 where the file cannot be read, RD631 where it is no engine, or ends inside its header.
    """
    header = peek(path)
    digest = file_sha256(path)
    manifest, findings = _manifest(path)
    if header.whole is False:
        findings.append(wrong_size(path, header))
        if manifest is not None and _another(path, header, manifest) is not None:
            manifest = None
    elif manifest is not None and (other := _another(path, header, manifest)) is not None:
        findings.append(other)
        manifest = None
    elif manifest is not None and manifest.engine.sha256 != digest:
        findings.append(_altered(path, manifest, digest))
    matches = manifest is not None and manifest.engine.sha256 == digest
    return Inspection(
        path,
        header,
        digest,
        _whole(header, matches=matches, damaged=any(item.code != "RD634" for item in findings)),
        manifest,
        () if manifest is None else _companions(path.parent, manifest),
        tuple(findings),
    )


def check_whole(path: Path, manifest: Manifest) -> None:
    """Raises CompileError where an engine is not, to the bit, the one of its manifest: RD001, RD631, RD633, RD634."""
    header = peek(path)
    if header.whole is False:
        raise CompileError(wrong_size(path, header))
    if (other := _another(path, header, manifest)) is not None:
        raise CompileError(other)
    digest = file_sha256(path)
    if digest != manifest.engine.sha256:
        raise CompileError(_altered(path, manifest, digest))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises CompileError RD001."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def _manifest(engine: Path) -> tuple[Manifest | None, list[Diagnostic]]:
    """The manifest beside an engine, or None; with why, where there is one that cannot be read."""
    path = manifest_path(engine)
    if not os.path.lexists(path):
        return None, []
    try:
        return read_manifest(path), []
    except CompileError as error:
        return None, list(error.diagnostics)


def _another(path: Path, header: EngineHeader, manifest: Manifest) -> Diagnostic | None:
    """RD634 where a manifest is of another engine: of another product, version or length; RD631 where the engine is
    the one that it names, and has another length."""
    engine = manifest.engine
    said = f"{PRODUCTS[engine.product].title} {engine.version}"
    here = f"{header.product.title} {header.version}"
    if engine.product != header.product.key or not _same_version(engine.version, header.version):
        why = f"it is of {said}, and this file is of {here}"
    elif header.whole is False or engine.bytes == header.size:
        return None
    elif header.whole is None and engine.file == path.name:
        return wrong_size(path, header, engine.bytes)
    else:
        why = f"it is of an engine of {engine.bytes:,} bytes, and this file has {header.size:,}"
    named = f" (it names `{engine.file}`)" if engine.file != path.name else ""
    return Diagnostic(
        "RD634",
        f"{manifest_path(path)} is the manifest of another engine{named}",
        why=why,
        hint=f"copy the engine and its manifest together, or build them again: {_REBUILD}",
    )


def _altered(path: Path, manifest: Manifest, digest: str) -> Diagnostic:
    """RD633: as long as it should be, of the right version, and other bytes."""
    return Diagnostic(
        "RD633",
        f"{path} was altered after it was built",
        why=f"its SHA-256 is {digest[:16]}…, and by its manifest it should be {manifest.engine.sha256[:16]}…; its "
        "length and its version are as they should be, so bytes inside it differ",
        hint=f"do not run it; copy it again from where it was built, or build it again: {_REBUILD}",
    )


def _same_version(said: str, header: str) -> bool:
    """Whether a manifest's version is a header's, which knows the last number modulo 256."""
    *first, last = said.split(".")
    *others, rest = header.split(".")
    return first == others and last.isdigit() and len(last) < 10 and int(last) % 256 == int(rest)


def _whole(header: EngineHeader, *, matches: bool, damaged: bool) -> Whole:
    if damaged:
        return "no"
    if matches:
        return "yes"
    return "not known" if header.whole is None else "by its length"


def _companions(folder: Path, manifest: Manifest) -> tuple[Companion, ...]:
    known = {name: ("written with it", digest) for name, digest in manifest.beside.items()}
    if manifest.onnx.file is not None:
        known[manifest.onnx.file] = ("the graph it was built from", manifest.onnx.sha256)
    return tuple(
        Companion(name, role, _state(folder / name, digest))
        for name, (role, digest) in sorted(known.items())
    )


def _state(path: Path, digest: str) -> State:
    if not path.is_file():
        return "not there"
    try:
        return "the same" if file_sha256(path) == digest else "changed"
    except CompileError:
        return "not readable"
