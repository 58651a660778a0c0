"""What the figures were measured on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from resnet_dsl.backends.tensorrt.device import local_gpus

PACKAGES = ("torch", "torchvision", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "numpy")


def cores() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, str]:
    """The processor, the GPU, the system, and the versions of what is installed."""
    found = {"cpu": f"{_processor()}, {cores()} cores", "system": platform.platform()}
    gpus = local_gpus()
    if gpus:
        found["cuda"] = gpus[0].name
    found["Python"] = platform.python_version()
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load() -> float | None:
    """How many processors were at work in the last minute; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2] for line in text.splitlines() if line.startswith("model name"))
    return " ".join(next(names, platform.machine()).split())
