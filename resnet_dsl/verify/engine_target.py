"""A TensorRT engine as a target: its output alone can be had, from a process of its own.

The process runs the program that is written beside every engine (`backends.tensorrt.runner`), so that what is verified
is what users run, and a crash of it is a finding and not an end. Inner values are not to be had: those of the ONNX file
that the engine was built from are, and where these hold and the engine does not, it is the builder that departs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from resnet_dsl.backends.tensorrt.compatibility import obstacles, this_machine
from resnet_dsl.backends.tensorrt.header import read_header
from resnet_dsl.backends.tensorrt.manifest import Manifest, manifest_path, read_manifest
from resnet_dsl.backends.tensorrt.runner import runner_file, runner_source
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Graph
from resnet_dsl.verify.exact import Departure
from resnet_dsl.verify.rounding import TF32_ROUNDOFF, UNITS, Arithmetic
from resnet_dsl.verify.targets import About
from resnet_dsl.weights.store import Weights

SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class EngineFile:
    """An engine with its manifest, and what keeps it from running here."""

    path: Path
    manifest: Manifest
    obstacles: Sequence[Diagnostic]

    @property
    def onnx(self) -> Path | None:
        """The graph that it was built from, where that still lies beside it."""
        name = self.manifest.onnx.file
        path = None if name is None else self.path.parent / name
        return path if path is not None and path.is_file() else None

    @property
    def why_not(self) -> str:
        """Why it is not executed, empty where it can be."""
        return "; ".join(item.message for item in self.obstacles)


def open_engine(path: Path) -> EngineFile:
    """The engine. Raises CompileError: RD001 and RD631 for the file and its manifest, RD631 too where it is not the one
    that the manifest is of."""
    header = read_header(path)
    found = read_manifest(manifest_path(path))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != found.engine.sha256:
        raise CompileError(
            Diagnostic(
                "RD631",
                f"{path} is not the engine that its manifest is of",
                why="their SHA-256 differ: it is damaged, or was replaced",
                hint="build it again: `resnet-dsl compile SPEC --target tensorrt`",
            )
        )
    return EngineFile(path, found, obstacles(path, header, found, this_machine()))


class EngineTarget:
    """An engine that can run here, and the graph that it was built from."""

    def __init__(self, file: EngineFile, graph: Graph) -> None:
        self.file = file
        self.graph = graph
        engine = file.manifest.engine
        self.about = About(
            "engine",
            engine.precision,
            f"{engine.product} {engine.version}",
            file.path,
            engine.sha256,
        )
        self.arithmetic = arithmetic_of(engine.precision)

    def differing(self, weights: Weights) -> Sequence[Departure]:
        """None that can be seen: an engine's weights are laid out for its kernels."""
        return ()

    def inner(self, images: Tensor) -> Mapping[str, Tensor]:
        """None."""
        return {}

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes). Raises CompileError RD692 where the program that runs it does not end well."""
        with TemporaryDirectory(prefix="resnet_dsl_engine_") as temporary:
            folder = Path(temporary)
            program = folder / runner_file(self.file.manifest)
            program.write_text(runner_source(self.file.manifest), encoding="utf-8")
            np.save(folder / "images.npy", images.numpy())
            command = [sys.executable, str(program), "--engine", str(self.file.path.resolve())]
            command += ["--npy", str(folder / "images.npy"), "--out", str(folder / "scores.npy")]
            self._run(command)
            return torch.from_numpy(np.load(folder / "scores.npy"))

    def _run(self, command: Sequence[str]) -> None:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"it did not end within {SECONDS:.0f} s") from error
        if done.returncode:
            said = done.stderr.strip().splitlines()
            told = [line for line in said if line.startswith("error:")] or said[-1:]
            why = told[0].removeprefix("error: ") if told else "it said nothing"
            raise self._failed(f"{why} (exit status {done.returncode})")

    def _failed(self, why: str) -> CompileError:
        return CompileError(
            Diagnostic(
                "RD692",
                f"{self.file.path} cannot be run",
                why=why,
                hint=f"`python {runner_file(self.file.manifest)} --npy …` in its folder does the same",
            )
        )


def arithmetic_of(precision: str) -> Arithmetic:
    """How an engine computes: TF32 rounds what is multiplied, and half-precision kernels may form sums in half
    precision too, which is for the builder to choose."""
    if precision == "tf32":
        return Arithmetic(reads=TF32_ROUNDOFF)
    if precision == "fp16":
        return Arithmetic(sums=UNITS["float16"])
    return Arithmetic(fused=precision == "int8")
