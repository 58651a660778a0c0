"""What could be measured here: backends and precisions, and why some cannot be."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from resnet_dsl.backends.tensorrt.device import local_gpus
from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT
from resnet_dsl.bench.messages import Device
from resnet_dsl.errors import CompileError, Diagnostic, suggest

Needs: TypeAlias = Literal["source", "weights", "onnx", "engine"]
Precision: TypeAlias = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
UNASKED: dict[Device, tuple[Precision, ...]] = {"cpu": ("fp32", "int8"), "cuda": ("fp16",)}
"""What is measured where no precision is asked for."""

TORCHVISION = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50_v1_5": "resnet50",
    "resnet101_v1_5": "resnet101",
    "resnet152_v1_5": "resnet152",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
    "wide_resnet50_2": "wide_resnet50_2",
    "wide_resnet101_2": "wide_resnet101_2",
}
"""Torchvision's networks by the names of our specs; whether they compute the same is compared when they run."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run a network: its name on the command line and in the table, the module of `runners/` that does it,
    what it reads, the packages that it needs and the command that installs them, and what it computes with on a device.

    `unasked` are the devices on which it is measured without being named; `compiles` says that it needs a C++ compiler,
    `theirs` that the network is torchvision's.
    """

    name: str
    title: str
    runner: str
    needs: Needs
    packages: tuple[str, ...]
    install: str
    cpu: tuple[Precision, ...]
    cuda: tuple[Precision, ...]
    unasked: tuple[Device, ...]
    compiles: bool = False
    theirs: bool = False

    def precisions(self, device: Device) -> tuple[Precision, ...]:
        return self.cpu if device == "cpu" else self.cuda


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend in a precision: a row of the table."""

    backend: Backend
    precision: Precision

    @property
    def name(self) -> str:
        return f"{self.backend.name} {self.precision}"

    @property
    def title(self) -> str:
        return f"{self.backend.title} {self.precision}"


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a candidate is not measured, and the command that changes it, if one does."""

    why: str
    command: str | None = None


_GET_TORCH = "pip install 'resnet-dsl[torch]'"
_GET_VISION = "pip install 'resnet-dsl[train]'"
_GET_RUNTIME = "pip install 'resnet-dsl[verify]'"
_CPU: tuple[Precision, ...] = ("fp32", "bf16")
_CUDA: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")
_ALL: tuple[Device, ...] = ("cpu", "cuda")
_ONE = ("torch",)
_TWO = ("torch", "torchvision")


def _torch(name: str, title: str, runner: str, unasked: tuple[Device, ...], aot: bool) -> Backend:
    return Backend(
        name, title, runner, "source", _ONE, _GET_TORCH, _CPU, _CUDA, unasked, compiles=aot
    )


def _theirs(name: str, title: str, runner: str, aot: bool) -> Backend:
    return Backend(
        name,
        title,
        runner,
        "weights",
        _TWO,
        _GET_VISION,
        _CPU,
        _CUDA,
        ("cuda",),
        compiles=aot,
        theirs=True,
    )


def _engines(package: str, title: str, install: str) -> Backend:
    """Engines are run with torch's streams and memory."""
    return Backend(
        name=package.replace("_", "-"),
        title=title,
        runner="tensorrt",
        needs="engine",
        packages=(package, *_ONE),
        install=install,
        cpu=(),
        cuda=PRECISIONS,
        unasked=_ALL,
    )


BACKENDS: tuple[Backend, ...] = (
    _torch("torch", "torch eager", "torch_eager", _ALL, False),
    _torch("torch-compile", "torch.compile", "torch_compile", _ALL, True),
    _torch("aotinductor", "AOTInductor", "aotinductor", ("cuda",), True),
    _theirs("torchvision", "torchvision", "torch_eager", False),
    _theirs("torchvision-compile", "torchvision compiled", "torch_compile", True),
    _theirs("torchvision-aot", "torchvision AOTI", "aotinductor", True),
    Backend(
        name="onnxruntime",
        title="ONNX Runtime",
        runner="onnx_runtime",
        needs="onnx",
        packages=("onnxruntime",),
        install=_GET_RUNTIME,
        cpu=("fp32", "int8"),
        cuda=("fp32", "fp16"),
        unasked=_ALL,
    ),
    Backend(
        name="openvino",
        title="OpenVINO",
        runner="openvino",
        needs="onnx",
        packages=("openvino",),
        install="pip install openvino",
        cpu=("fp32", "bf16", "int8"),
        cuda=(),
        unasked=("cpu",),
    ),
    _engines("tensorrt", "TensorRT", TENSORRT.install),
    _engines("tensorrt_rtx", "TensorRT RTX", RTX.install),
)
"""In the order of the table; the first that is measured is what the others are compared with."""


def candidates(
    device: Device, names: Sequence[str], precisions: Sequence[Precision], spec: str
) -> list[Candidate]:
    """The rows to measure, or to say of why they are not: what was asked for, or what there is on the device.

    Raises CompileError RD695 for a backend that is none, and where what is asked for is nothing.
    """
    known = {backend.name: backend for backend in BACKENDS}
    for name in names:
        if name not in known:
            near = suggest(name, known)
            raise CompileError(
                Diagnostic(
                    "RD695",
                    f"there is no backend `{name[:60]}`",
                    why=f"there are {', '.join(known)}",
                    hint=near or "choose one of them, as in --backend onnxruntime",
                )
            )
    chosen = [backend for backend in BACKENDS if backend.name in names] or [
        backend
        for backend in BACKENDS
        if device in backend.unasked and not (backend.theirs and spec not in TORCHVISION)
    ]
    found: list[Candidate] = []
    for backend in chosen:
        able = backend.precisions(device)
        wanted = precisions or [one for one in UNASKED[device] if one in able]
        if names or not able:  # named ones, and TensorRT on a CPU, are told of in any case
            wanted = wanted or able[:1] or UNASKED["cuda"][:1]
        elif precisions:
            wanted = [one for one in precisions if one in able]
        found += [Candidate(backend, precision) for precision in dict.fromkeys(wanted)]
    return found


def absence(candidate: Candidate, device: Device, spec: str) -> Absent | None:
    """Why a candidate cannot be measured on this machine; None where it can, as far as can be told without trying."""
    backend, able = candidate.backend, candidate.backend.precisions(device)
    if not able and device == "cpu":
        return Absent("needs a GPU", "--device cuda" if local_gpus() else None)
    if candidate.precision not in able:
        computes = f"computes in {', '.join(able)}" if able else "does not run"
        return Absent(f"{computes} on {'a GPU' if device == 'cuda' else 'a CPU'}")
    missing = [name for name in backend.packages if importlib.util.find_spec(name) is None]
    if missing:
        return Absent(f"{' and '.join(missing)} not installed", backend.install)
    if backend.compiles and not compiler():
        return Absent("needs a C++ compiler", "apt-get install g++")
    if backend.theirs and spec not in TORCHVISION:
        return Absent("torchvision has no such network")
    return None


def compiler() -> str | None:
    """The C++ compiler that Inductor would find."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    return None
