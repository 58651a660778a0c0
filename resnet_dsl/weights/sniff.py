"""What kind of file holds the weights, told by its content: endings lie (`.bin`, `.pt`, `.ckpt`, none at all)."""

from __future__ import annotations

import os
import shlex
import stat
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic

Kind: TypeAlias = Literal["safetensors", "torch zip", "torch pickle"]

# pickle protocol 2, then the magic number of torch's files from before 1.6 (torch.serialization.MAGIC_NUMBER)
_TORCH_PICKLE = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
_SAFETENSORS_HEADER = 100_000_000  # the format's own limit of its JSON header, in bytes
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class _Look:
    """A kind of file that holds no weights for us: how it begins, what it is, and what to do about it."""

    starts: bytes
    what: str
    hint: str


_CONVERT = "load it where it was made, and save the state dict with safetensors or torch.save"
_FETCH = "fetch the file itself"
_LOOKS = (
    _Look(
        b"version https://git-lfs", "a Git LFS pointer, not the file it stands for", "git lfs pull"
    ),
    _Look(b"<!doctype html", "a web page: the download was answered with one", _FETCH),
    _Look(b"<html", "a web page: the download was answered with one", _FETCH),
    _Look(b"<?xml", "XML, perhaps a server's refusal of the download", _FETCH),
    _Look(b"\x89HDF", "HDF5, as Keras saves it", _CONVERT),
    _Look(b"\x93NUMPY", "one NumPy array (.npy)", _CONVERT),
    _Look(b"GGUF", "a GGUF file of a language model", "a residual network is not saved so"),
    _Look(
        b"ftrt",
        "a TensorRT engine",
        "engines hold no readable weights: give what it was built from",
    ),
    _Look(
        b"ptrt",
        "a TensorRT engine",
        "engines hold no readable weights: give what it was built from",
    ),
    _Look(b"TFL3", "a TensorFlow Lite model", _CONVERT),
    _Look(b"\x1f\x8b", "compressed with gzip", "unpack it first, with gunzip or tar -xzf"),
    _Look(b"\xfd7zXZ", "compressed with xz", "unpack it first, with unxz or tar -xJf"),
    _Look(b"BZh", "compressed with bzip2", "unpack it first, with bunzip2 or tar -xjf"),
    _Look(b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first, with unzstd"),
    _Look(b"\x89PNG", "a PNG image", "give a file of weights"),
    _Look(b"\xff\xd8\xff", "a JPEG image", "give a file of weights"),
)


def sniff(path: Path) -> Kind:
    """The kind of the file at `path`.

    Raises CompileError: RD501 it cannot be read, RD502 it holds no weights (saying what it looks like), RD503 damaged.
    """
    if os.path.isdir(path):
        inside = sorted(item.name for item in path.iterdir() if item.suffix in _ENDINGS)
        raise CompileError(
            Diagnostic(
                "RD501",
                f"`{path}` is a folder",
                why="--weights takes one file",
                hint=f"--weights {shlex.quote(str(path / inside[0]))}"
                if inside
                else "name the file in it",
            )
        )
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _no_file(path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not head:
        raise _not_weights(
            path, "empty", "the download or the copy may have been cut off: repeat it"
        )
    if head.startswith(b"PK"):
        return _zip(path)
    if head.startswith(_TORCH_PICKLE):
        return "torch pickle"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER:
        return "safetensors"
    for look in _LOOKS:
        if head[: len(look.starts)].lower() == look.starts.lower():
            raise _not_weights(path, look.what, look.hint)
    raise _not_weights(path, *_guess(head))


_ENDINGS = {".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar"}


def _zip(path: Path) -> Kind:
    """Look into a zip archive: torch's holds `<folder>/data.pkl`, and stores its members uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error) as error:
        raise damaged(
            path, "its end, which lists what is in it, is missing or unreadable"
        ) from error
    names = {member.filename for member in members}
    tails = {name.partition("/")[2] for name in names}
    if "constants.pkl" in tails:
        raise _not_weights(
            path,
            "a TorchScript archive, which is a program",
            f"save its weights: torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pth')",
        )
    if "data.pkl" not in tails:
        if any(name.endswith(".npy") for name in names):
            raise _not_weights(path, "an archive of NumPy arrays (.npz)", _CONVERT)
        if any("archive_format" in name or name.startswith("models/") for name in names):
            raise _not_weights(path, "a program saved by torch.export (.pt2)", _CONVERT)
        raise _not_weights(
            path, "a zip archive without a checkpoint in it", "unpack it, and give the file in it"
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise _not_weights(
            path,
            "a checkpoint that was zipped again, compressed",
            "save it once more with torch.save, which does not compress",
        )
    return "torch zip"


def _guess(head: bytes) -> tuple[str, str]:
    if head[0] == 0x80 and head[1:2] and 2 <= head[1] <= 5:
        return (
            "a Python pickle that is not torch's (detectron2's model zoo has such files)",
            "a pickle can run any code, so it is not opened; " + _CONVERT,
        )
    # A ModelProto: field 1, the IR version, as a small varint, and then a field with a length
    if (
        head[0] == 0x08
        and len(head) > 2
        and 1 <= head[1] <= 30
        and head[2] in (0x12, 0x1A, 0x22, 0x32, 0x3A, 0x42)
    ):
        return (
            "an ONNX model",
            "ONNX has no state-dict names to go by: give the checkpoint that it was exported from",
        )
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it first, with tar -xf"
    try:
        text = head[:1024].decode("utf-8", errors="strict" if len(head) <= 1024 else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        start = text.strip().splitlines()[0][:40] if text.strip() else ""
        return f"text, beginning `{start}`", "give a file of weights"
    return (
        "of no kind that is known here",
        "give a safetensors file, or one that torch.save has written",
    )


def _not_weights(path: Path, what: str, hint: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD502",
            f"`{path}` is {what}",
            why="weights are read from safetensors files and torch checkpoints, told by content and not by ending",
            hint=hint,
        )
    )


def _no_file(path: Path) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD501",
            f"`{path}` is a device or a pipe, not a file",
            why="weights are read in the order that the network needs them in, not from front to back",
            hint="save them to a file, and give that",
        )
    )


def unreadable(path: Path, error: OSError | ValueError) -> CompileError:
    """RD501, for a file that the system does not open or read."""
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return CompileError(
        Diagnostic(
            "RD501",
            f"`{path}` cannot be read: {reason}",
            why=None if os.path.exists(path) else f"looked in {path.absolute().parent}",
            hint="check the path after --weights",
        )
    )


def damaged(path: Path, why: str) -> CompileError:
    """RD503, for a file of a known kind that is not whole."""
    return CompileError(
        Diagnostic(
            "RD503",
            f"`{path}` is damaged",
            why=why,
            hint="fetch or copy it again, and compare its size or checksum with the source",
        )
    )
