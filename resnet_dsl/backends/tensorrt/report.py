"""What is known of an engine once it is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from resnet_dsl.backends.tensorrt.child import LogLine
from resnet_dsl.backends.tensorrt.kernels import Kernel
from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.options import Profile

NOT_EXECUTED = "the engine was built and not executed: that needs one of its GPUs"


@dataclass(frozen=True, slots=True)
class EngineReport:
    """One engine: what it is, what it is for, what it is made of, and what it took to build."""

    engine: Path
    product: str
    version: str
    precision: str
    targets: tuple[int, ...]
    profiles: tuple[Profile, ...]
    """Empty where every dimension of the graph is fixed."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    size: int
    """Bytes of the engine file."""
    sha256: str
    seconds: float
    """Wall time of the child process, its start included."""
    stages: Mapping[str, float]
    """Seconds of each stage inside it: load, parse, build, write."""
    peak_memory: int | None
    """Bytes that the child held at most; None where the system does not say."""
    kernels: tuple[Kernel, ...] | None
    """Of all profiles, in launch order; None where the build log has no table of them."""
    weight_memory: int | None
    """Bytes of weights, by the build log."""
    scratch_memory: int | None
    """Bytes of activations and scratch at the largest profile, by the build log."""
    notes: tuple[str, ...]
    """What a user should know of this engine, the builder's warnings included."""
    log: tuple[LogLine, ...] = field(repr=False, compare=False)
    rest: str | None = None
    """What is computed in wider numbers than `precision`, such as "fp16", or "fp16, fp32"."""
    gpu: str | None = None
    """The GPU that it was built on, where that needs one."""
    hardware: str | None = None
    """On which other GPUs it runs, as in `EngineOptions`; None: on those of `targets` alone."""
    version_compatible: bool = False
    refit: bool = False
    """Whether other weights can be put into it."""
    stripped: bool = False
    """Whether it holds no weights."""
    onnx_sha256: str = ""
    """Of the graph that it was built from."""

    @property
    def launched(self) -> tuple[Kernel, ...]:
        """The kernels of a call in the first profile; without a table of them, none."""
        return tuple(item for item in self.kernels or () if item.profile == 0)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: everything but the log. Kernels are listed by name, kind and nodes."""
        return {
            "engine": str(self.engine),
            "product": self.product,
            "version": self.version,
            "precision": self.precision,
            "rest": self.rest,
            "targets": [f"sm{target}" for target in self.targets],
            "profiles": [asdict(profile) for profile in self.profiles],
            "inputs": [_tensor(item) for item in self.inputs],
            "outputs": [_tensor(item) for item in self.outputs],
            "bytes": self.size,
            "sha256": self.sha256,
            "onnx_sha256": self.onnx_sha256,
            "seconds": round(self.seconds, 3),
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
            "peak_memory": self.peak_memory,
            "weight_memory": self.weight_memory,
            "scratch_memory": self.scratch_memory,
            "kernel_count": None if self.kernels is None else len(self.launched),
            "kernel_kinds": None if self.kernels is None else self.kernel_kinds(),
            "kernels": None
            if self.kernels is None
            else [
                {
                    "name": item.name,
                    "kind": item.kind,
                    "nodes": list(item.nodes),
                    "profile": item.profile,
                }
                for item in self.kernels
            ],
            "gpu": self.gpu,
            "compatibility": {"hardware": self.hardware, "version": self.version_compatible},
            "refit": self.refit,
            "stripped": self.stripped,
            "notes": list(self.notes),
        }

    def kernel_kinds(self) -> dict[str, int]:
        """How many of the kernels of a call there are of each kind, by kind."""
        return dict(sorted(Counter(item.kind for item in self.launched).items()))


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {**asdict(tensor), "shape": list(tensor.shape)}
