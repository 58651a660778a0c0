"""The GPUs of this machine, asked of the driver's own library: no torch, no CUDA toolkit, no parsing of tables."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: the two halves of the compute capability


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU: the driver's name for it, its compute capability (89 is 8.9), and its place in the driver's order."""

    name: str
    capability: int
    index: int = 0


def local_gpus() -> tuple[Device, ...]:
    """The GPUs at hand in the driver's order; empty where there is no driver or no GPU."""
    cuda = _driver()
    count = ctypes.c_int(0)
    if cuda is None or cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
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
            found.append(Device(name, 10 * major.value + minor.value, index))
    return tuple(found)


def use(chosen: Device) -> bool:
    """Make a GPU the current one of this thread, for libraries that take that; whether it is."""
    cuda = _driver()
    handle, context = ctypes.c_int(0), ctypes.c_void_p()
    if cuda is None or cuda.cuInit(0) != 0:
        return False
    answers = (
        cuda.cuDeviceGet(ctypes.byref(handle), chosen.index),
        # The runtime library works in the primary context.
        cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle),
    )
    return not any(answers) and cuda.cuCtxSetCurrent(context) == 0


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
