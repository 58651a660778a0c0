"""What the figures were measured on and with, and who else was at work there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
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
    count = cores()
    found = {"cpu": f"{_processor()}, {count} core{'s' * (count > 1)}"}
    gpus = local_gpus()
    if gpus:
        found["cuda"] = gpus[0].name
    found |= {"system": platform.platform(), "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Others:
    """How many processors others keep at work, from here until it is asked, when our own processes have ended."""

    def __init__(self) -> None:
        self._begun, self._busy, self._own = time.monotonic(), _busy(), _own()

    def cores(self) -> float | None:
        """The mean; None where the system does not say, or counts processors that are not ours to use."""
        busy, seconds = _busy(), time.monotonic() - self._begun
        if busy is None or self._busy is None or seconds <= 0:
            return None
        return max(0.0, (busy - self._busy - (_own() - self._own)) / seconds)


def _busy() -> float | None:
    """Processor seconds that all processes have taken since the start of the system."""
    try:
        text = Path("/proc/stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    if len(lines) - 1 != cores():
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, lines[0][1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2] for line in text.splitlines() if line.startswith("model name"))
    return " ".join(next(names, platform.machine()).split())
