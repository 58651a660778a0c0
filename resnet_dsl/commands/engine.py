"""`resnet-dsl compile`: a spec to a TensorRT engine, by way of its ONNX graph."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.artifacts import Artifacts, Written, output_folder
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.child import Progress
from resnet_dsl.backends.tensorrt.gpus import parse_gpus
from resnet_dsl.backends.tensorrt.manifest import manifest
from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range, resolve
from resnet_dsl.backends.tensorrt.products import default_product
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import BuildOptions, weights_of, write_onnx
from resnet_dsl.commands.output import Outcome, size
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.passes.numbers import Numbers, Precision

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.report import EngineReport


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What the command line asks for."""

    spec: str
    out: Path | None
    overrides: tuple[str, ...]
    seed: int
    weights: Path | None
    precision: Precision
    gpus: str | None
    batch: str


def batch_range(text: str) -> Range:
    """`1/8/64`, or one number for a batch that never changes. Raises CompileError RD625."""
    parts = text.split("/")
    if len(parts) not in (1, 3) or not all(re.fullmatch("[0-9]{1,20}", part) for part in parts):
        raise CompileError(
            Diagnostic(
                "RD625",
                f"`{text[:40]}` is no range of batch sizes",
                hint="write --batch 1/8/64 for the least, the usual and the greatest, or --batch 8",
            )
        )
    numbers = [int(part) for part in parts]
    return Range(*numbers) if len(numbers) == 3 else Range(numbers[0], numbers[0], numbers[0])


def compile_engine(request: EngineRequest, *, quiet: bool = False) -> Outcome:
    """Write `<name>.<precision>.onnx`, `.engine` and the engine's manifest. Raises CompileError."""
    profile = Profile(batch_range(request.batch))
    targets = None if request.gpus is None else parse_gpus(request.gpus, default_product())
    options = EngineOptions(targets=targets, precision=request.precision, profiles=(profile,))
    resolve(options)  # what can be refused is refused before anything is compiled
    compilation = compile_spec(find_spec(request.spec), request.overrides)
    name = compilation.spec.name
    folder = output_folder(request.out, name)
    weights, notes = weights_of(compilation, request.weights, request.seed)
    build_options = BuildOptions(("onnx",), request.out, precision=request.precision)
    artifacts = Artifacts(folder)
    suffix = "" if request.precision == "fp32" else f".{request.precision}"
    written_onnx = write_onnx(
        artifacts, compilation, weights, build_options, Numbers(request.precision), suffix
    )
    model = artifacts.records[0].path
    engine = folder / f"{name}.{request.precision}.engine"
    report = _built(model, engine, options, quiet=quiet)
    described = manifest(
        report,
        spec_name=name,
        spec_hash=compilation.program.spec_hash,
        weights_hash=written_onnx.weights_digest,
        onnx_sha256=_sha256(model),
        input_shape=compilation.program.input,
        preprocessing=None,
        class_names=None,
    )
    artifacts.text(f"{engine.name}.json", json.dumps(described, indent=2) + "\n")
    outcome = Outcome(_facts(report), notes=[("weights", note) for note in notes])
    outcome.data |= {"name": name, "engine": report.as_dict()}
    outcome.written += [
        *artifacts.records[:-1],
        Written(engine, report.size, "written"),
        artifacts.records[-1],
    ]
    return outcome


def _facts(report: EngineReport) -> list[str]:
    targets = ", ".join(f"sm{target}" for target in report.targets)
    lines = [
        f"engine    {report.precision}, {report.product} {report.version}, for {targets}, "
        f"{size(report.size)}, built in {report.seconds:.1f} s",
    ]
    if report.kernels is not None:
        lines.append(f"kernels   {len(report.kernels)}")
    lines += [f"note      {note}" for note in report.notes]
    return lines


def _built(model: Path, engine: Path, options: EngineOptions, *, quiet: bool) -> EngineReport:
    """The engine, with its progress on one line of a terminal, which is empty again at the end; no progress where there
    is no terminal."""
    if quiet or not sys.stderr.isatty():
        return build_engine(model, engine, options)
    try:
        return build_engine(model, engine, options, on_progress=_show)
    finally:
        with suppress(OSError):  # the terminal may be what has gone
            _on_the_line("")


def _show(progress: Progress) -> None:
    done = "" if progress.fraction is None else f" {progress.fraction:.0%}"
    _on_the_line(f"engine    {progress.stage}{done}")


def _on_the_line(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
