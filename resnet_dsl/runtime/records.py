"""What a run shows, and writes beside its weights: its progress, metrics, outcome, and how it can be repeated."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_dsl.runtime.checkpoints import put_state_aside, write

MEAN_IMAGE = "mean_image.safetensors"


def show(line: str, *, epoch_ends: bool = False) -> None:
    """A line that is written over on a terminal; elsewhere, a line for each epoch."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
    elif epoch_ends:
        print(line, flush=True)


def end_line() -> None:
    """Leaves the line that is written over as it is, and goes below it."""
    if sys.stdout.isatty():
        print(flush=True)


def write_json(path: Path, value: Any) -> None:
    """Replaces a file by a value as JSON. Raises OSError."""
    write(path, (json.dumps(value, indent=2) + "\n").encode())


def begin_folder(
    out: Path, history: list[dict[str, Any]], manifest: dict[str, Any], *, resumed: bool
) -> None:
    """Makes the folder of a run, which has no outcome yet. What a run before it would have gone on
    from is put aside, unless this is that run. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    old = None if resumed else put_state_aside(out)
    if old is not None:
        print(f"the state of the run before this one is kept as {old}", flush=True)
    (out / "result.json").unlink(missing_ok=True)
    write(out / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history).encode())
    write_json(out / "manifest.json", manifest)


def record(out: Path, line: dict[str, Any], scalars: Any) -> None:
    """Adds an epoch to metrics.jsonl, and to TensorBoard's scalars if there are any."""
    with (out / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    if scalars is not None:
        for name, value in line.items():
            if name not in ("epoch", "iteration"):
                scalars.add_scalar(name, value, line["iteration"])
        scalars.flush()


def first_bad(losses: Tensor, limit: float) -> int | None:
    """The first step whose loss is not a number, or above the limit; None where all are good."""
    bad = (losses <= limit).logical_not().nonzero()
    return int(bad[0]) if len(bad) else None


def measured(name: str, sums: Tensor) -> dict[str, float]:
    """The mean loss and the errors in percent, of what `tally` has summed up (4,)."""
    loss, best, five, count = sums.tolist()
    return {
        f"{name}_loss": loss / count,
        f"{name}_error": 100 - 100 * best / count,
        f"{name}_top5_error": 100 - 100 * five / count,
    }


def surroundings(device: torch.device, world: int) -> dict[str, Any]:
    """The machine and the versions that a run depends on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": installed("numpy", "pillow", "scikit-learn", "torchvision"),
        "cuda": torch.version.cuda if gpu else None,
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "processes": world,
    }


def installed(*names: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def processor() -> str:
    """What the processor calls itself, and the instructions that torch uses of it."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
