"""Writing safetensors one tensor at a time, so that memory stays at one tensor.

The format (https://huggingface.co/docs/safetensors, "Format"): the header's length as 8 little-endian bytes, the header
as JSON padded with spaces to a multiple of 8, then the tensors, end to end. The library's own writer wants all tensors
at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.ir.graph import Shape

_TYPES: dict[str, tuple[str, str]] = {
    "float32": ("F32", "<f4"),
    "float16": ("F16", "<f2"),
    "int64": ("I64", "<i8"),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor to be written: `load` makes it when its turn comes. `dtype` is float32, float16 or int64."""

    name: str
    shape: Shape
    dtype: str
    load: Callable[[], NDArray[Any]]


def save_safetensors(
    stream: BinaryIO, entries: Sequence[TensorEntry], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the tensors in the order given; the same entries and metadata give the same bytes.

    Raises ValueError for two tensors of one name, and for a tensor that is not of its announced shape.
    """
    header: dict[str, object] = {}
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    offset = 0
    for entry in entries:
        if entry.name in header:
            raise ValueError(f"two tensors have the name {entry.name!r}")
        code, layout = _TYPES[entry.dtype]
        end = offset + prod(entry.shape) * np.dtype(layout).itemsize
        header[entry.name] = {
            "dtype": code,
            "shape": list(entry.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little"))
    stream.write(text)
    for entry in entries:
        tensor = entry.load()
        if tensor.shape != entry.shape:
            raise ValueError(f"{entry.name} has the shape {tensor.shape}, not {entry.shape}")
        stream.write(np.ascontiguousarray(tensor, _TYPES[entry.dtype][1]).data)
