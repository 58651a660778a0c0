"""Reading safetensors: the library checks the file, and NumPy maps it, so that memory holds nothing but what is used.

The format (huggingface/safetensors, README): eight bytes of header length, little endian, a JSON header of
`name: {dtype, shape, data_offsets}`, and the tensors' bytes one after another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.weights.sniff import damaged, unreadable

_DTYPES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # NumPy has no bfloat16: its bits are the upper half of a float32's
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str], list[str]]:
    """The tensors of the file, its metadata, and notes on it.

    Raises CompileError: RD501 unreadable, RD503 damaged, RD508 a type that is not taken (float8 and what packs several
    numbers into a byte).
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(
            path, "numpy"
        ):  # checks the header, that the offsets tile the file, and its length
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        content = np.memmap(path, np.uint8, mode="c")  # copy on write: nothing can reach the file
    except OSError as error:
        raise unreadable(path, error) from error
    except (SafetensorError, ValueError) as error:
        raise damaged(path, f"it is cut short or not whole as safetensors ({error})") from error
    metadata: dict[str, str] = header.pop("__metadata__", None) or {}
    _refuse_unknown_types(path, header)
    arrays: dict[str, NDArray[Any]] = {}
    converted: dict[str, int] = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        flat = np.asarray(content[begin:end]).view(_DTYPES[entry["dtype"]])
        try:
            bits = flat.reshape(entry["shape"])
        except ValueError as error:  # more dimensions than NumPy has
            raise damaged(path, f"a tensor has {len(entry['shape'])} dimensions") from error
        match entry["dtype"]:
            case "BF16":
                array: NDArray[Any] = (bits.astype(np.uint32) << 16).view(np.float32)
            case "F16" | "F64":
                with np.errstate(over="ignore"):
                    array = bits.astype(np.float32)
            case _:
                array = bits if bits.flags.aligned else bits.copy()
        if entry["dtype"] in ("BF16", "F16", "F64"):
            converted[entry["dtype"]] = converted.get(entry["dtype"], 0) + 1
        arrays[name] = array
    notes = [f"{count} tensors of {kind} read as float32" for kind, count in converted.items()]
    return arrays, metadata, notes


def _refuse_unknown_types(path: Path, header: dict[str, Any]) -> None:
    bad = {name: entry["dtype"] for name, entry in header.items() if entry["dtype"] not in _DTYPES}
    if bad:
        name, dtype = next(iter(bad.items()))
        raise CompileError(
            Diagnostic(
                "RD508",
                f"`{path}`: {len(bad)} of {len(header)} tensors are of type {dtype}, as `{name}` is",
                why="weights are read as float32, and this type needs scales that the file does not name",
                hint="give the weights from before they were quantised",
            )
        )
