"""Files that are whole or not there: weights as safetensors, and the state of a run with a hash over it.

A state file is one line of JSON, {"format": 1, "sha256": ..., and what the run says of itself}, and after it what
`torch.save` writes. The line can be read without torch. The hash is over the line without `format` and `sha256`, and
over all that follows the line.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STATE = "state.pt"
PREVIOUS_STATE = "state.previous.pt"
OLD_STATE = "state.old.pt"
STATE_FORMAT = 1
LONGEST_HEADER = 65_536  # bytes of a state file's first line

# The names of types in safetensors, in the order in which its own library lays tensors out: those
# with the strictest alignment first, so that every tensor is aligned.
SAFETENSORS_TYPES = {
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F32": torch.float32,
    "U32": torch.uint32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class StateError(Exception):
    """There is no state to go on from. Its text says why, for the user."""


def write(path: Path, *parts: bytes | memoryview, old: Path | None = None) -> None:
    """Replaces a file as a whole, by all parts one after the other: whatever happens, its old
    content or the new one is there. With `old`, the old one is kept under that name.

    Raises OSError, and then the file is as it was.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            for data in parts:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old:
            path.replace(old)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    settle(path.parent)


def settle(folder: Path) -> None:
    """Puts the names of a folder's files on the disk, where the system has a way to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def to_safetensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file as bytes; the same ones for the same tensors, in whatever order.

    Raises ValueError for a type that the format does not have.
    """
    names = {dtype: name for name, dtype in SAFETENSORS_TYPES.items()}
    order = list(names)  # by falling alignment: then every tensor is aligned
    for name, tensor in tensors.items():
        if tensor.dtype not in names:
            raise ValueError(f"{name} is {tensor.dtype}, which safetensors cannot hold")
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    blocks, end = [], 0
    for name in sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        blocks.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *blocks])


def from_safetensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, each with memory of its own.

    Raises ValueError where the bytes are no such file: whatever they are, nothing else happens.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("no safetensors: the header goes beyond the end")
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=without_repetition)
        header.pop("__metadata__", None)
        spans = sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"]))
        tensors, end, body = {}, 0, memoryview(data)[8 + length :]
        for name, entry in spans:
            dtype, shape = SAFETENSORS_TYPES[entry["dtype"]], entry["shape"]
            start, stop = entry["data_offsets"]
            if any(type(number) is not int or number < 0 for number in [*shape, start, stop]):
                raise ValueError(f"{name} has a shape or a place that is none")
            if start != end or stop - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} does not lie where it should")
            tensors[name] = torch.empty(shape, dtype=dtype)
            if stop > start:
                block = torch.frombuffer(bytearray(body[start:stop]), dtype=dtype)
                tensors[name] = block.reshape(shape)
            end = stop
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
        raise ValueError(f"no safetensors: {error}") from error
    if end != len(body):
        raise ValueError("no safetensors: it is longer or shorter than its header says")
    return tensors


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON that has these pairs. Raises ValueError where a name comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_state(folder: Path, header: dict[str, Any], state: dict[str, Any]) -> None:
    """Writes state.pt; the one that was there becomes state.previous.pt, if it is whole. At every
    moment one of the two is.

    Raises OSError where a file cannot be written, ValueError where the header is too long.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    seal = hashlib.sha256(json.dumps(header).encode())
    seal.update(payload)
    stamp = {"format": STATE_FORMAT, "sha256": seal.hexdigest()}
    line = json.dumps(stamp | header).encode() + b"\n"
    if len(line) > LONGEST_HEADER:
        raise ValueError(f"the header of a state has {len(line):,} bytes, more than fit")
    path = folder / STATE
    try:
        check_state(path)
        old = folder / PREVIOUS_STATE
    except StateError:
        old = None
    write(path, line, payload, old=old)


def has_state(folder: Path) -> bool:
    """Whether there is a state to go on from, or what is left of one."""
    return (folder / STATE).exists() or (folder / PREVIOUS_STATE).exists()


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The header and the state that were saved last, its tensors on the CPU, and notes: where
    state.pt is missing or damaged, the one before is taken, and a note says so.

    Raises StateError where neither is whole.
    """
    notes: list[str] = []
    for path in (folder / STATE, folder / PREVIOUS_STATE):
        try:
            header = check_state(path)
            with path.open("rb") as file:
                file.readline()
                payload = io.BytesIO(file.read())
            state = torch.load(payload, map_location="cpu", weights_only=True)
        except StateError as error:
            notes.append(str(error))
        except Exception as error:  # whatever unpickling meets
            notes.append(f"{path} is whole, and torch {torch.__version__} cannot read it: {error}")
        else:
            if notes:
                notes.append(f"going on from the state before it, {path}")
            return header, state, notes
    raise StateError("; ".join(notes))


def check_state(path: Path) -> dict[str, Any]:
    """The header of a state file. Raises StateError where the file is not whole."""
    header = read_header(path)
    rest = {name: value for name, value in header.items() if name not in ("format", "sha256")}
    said = json.dumps(rest).encode()
    try:
        with path.open("rb") as file:
            file.readline()
            seal = hashlib.file_digest(file, lambda: hashlib.sha256(said))
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    if seal.hexdigest() != header["sha256"]:
        raise StateError(f"{path} is damaged: its hash is not that of what was written")
    return header


def read_header(path: Path) -> dict[str, Any]:
    """The first line of a state file: what the run says of itself.

    Raises StateError where there is none, or one of another format.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(LONGEST_HEADER))
        version, _ = header["format"], header["sha256"]
    except FileNotFoundError:
        raise StateError(f"there is no {path}") from None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StateError(f"{path} is damaged, or no state of a run: {error}") from error
    if version != STATE_FORMAT:
        raise StateError(f"{path} has format {version}, and this reads format {STATE_FORMAT}")
    return dict(header)


def put_state_aside(folder: Path) -> Path | None:
    """Makes room for another run: the state saved last becomes state.old.pt, which is returned if
    there is one, and the state before it is removed. Raises OSError."""
    path, previous = folder / STATE, folder / PREVIOUS_STATE
    if path.exists():
        previous.unlink(missing_ok=True)
    elif previous.exists():
        path = previous
    else:
        return None
    old = path.replace(folder / OLD_STATE)
    settle(folder)
    return old
