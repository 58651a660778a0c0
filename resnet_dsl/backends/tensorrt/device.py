"""The GPUs of this machine, asked of the driver's own library: no torch, no CUDA toolkit, no parsing of tables."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: the two halves of the compute capability


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU: the name the driver gives it, and its compute capability (89 is 8.9)."""

    name: str
    capability: int


def local_gpus() -> tuple[Device, ...]:
    """The GPUs at hand in the driver's order; empty where there is no driver or no GPU."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(name)
    except OSError:
        return ()
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    found = []
    for index in range(count.value):
        title = ctypes.create_string_buffer(256)
        major, minor = ctypes.c_int(0), ctypes.c_int(0)
        handle = ctypes.c_int(0)
        answers = (
            cuda.cuDeviceGet(ctypes.byref(handle), index),
            cuda.cuDeviceGetName(title, len(title), handle),
            cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, handle),
            cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, handle),
        )
        if not any(answers):
            name = title.value.decode("utf-8", "replace")
            found.append(Device(name, 10 * major.value + minor.value))
    return tuple(found)
