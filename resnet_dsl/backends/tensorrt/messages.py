"""What the builder and its child process say to each other: one request in, JSON lines out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from resnet_dsl.backends.tensorrt.options import Profile, Range
from resnet_dsl.errors import CompileError, Diagnostic


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of an engine; -1 is a symbolic dimension, `data_type` as in "float16"."""

    name: str
    data_type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One engine to build: options resolved, and a path to write to that nothing else reads yet.

    `blocks` names the spec's block of each ONNX node, for errors.
    """

    product: str
    onnx: str
    output: str
    targets: tuple[int, ...]
    precision: str | None
    profiles: tuple[Profile, ...] | None
    workspace_mib: int | None
    rest: str | None = None
    hardware: str | None = None
    version_compatible: bool = False
    exclude_lean_runtime: bool = False
    timing_cache: str | None = None
    refit: bool = False
    strip: bool = False
    blocks: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        raw = json.loads(text)
        profiles = raw.pop("profiles")
        return cls(
            targets=tuple(raw.pop("targets")),
            profiles=None if profiles is None else tuple(map(profile_from_dict, profiles)),
            **raw,
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What the child knows of the engine that it wrote.

    `profiles` is empty where every dimension is fixed; `rest` is what is computed in wider numbers than `precision`,
    such as "fp16", or "fp16, fp32"; `gpu` is the one that it was built on, where that needs one.
    """

    version: str
    precision: str
    targets: tuple[int, ...]
    profiles: tuple[Profile, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    seconds: Mapping[str, float]
    size: int
    sha256: str
    peak_memory: int | None
    rest: str | None = None
    gpu: str | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Result:
        lists: dict[str, Any] = {
            "targets": tuple(raw["targets"]),
            "profiles": tuple(map(profile_from_dict, raw["profiles"])),
            "inputs": tuple(map(_tensor, raw["inputs"])),
            "outputs": tuple(map(_tensor, raw["outputs"])),
        }
        return cls(**{**raw, **lists})


def profile_from_dict(raw: Mapping[str, Any]) -> Profile:
    """The inverse of `dataclasses.asdict` on a profile."""
    sizes: dict[str, Any] = {
        name: None if size is None else Range(**size) for name, size in raw.items()
    }
    return Profile(**sizes)


def error_to_json(error: CompileError) -> list[dict[str, str | None]]:
    """Diagnostics of the child, which knows no source positions."""
    return [
        {"code": item.code, "message": item.message, "why": item.why, "hint": item.hint}
        for item in error.diagnostics
    ]


def error_from_json(raw: list[dict[str, Any]]) -> CompileError:
    """The inverse of `error_to_json`."""
    return CompileError([Diagnostic(**item) for item in raw])


def _tensor(raw: Mapping[str, Any]) -> Tensor:
    return Tensor(raw["name"], raw["data_type"], tuple(raw["shape"]))
