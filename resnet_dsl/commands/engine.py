"""`resnet-dsl compile`: a spec to TensorRT engines, by way of its ONNX graph."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.artifacts import Artifacts, output_folder
from resnet_dsl.backends.tensorrt.builder import build_engines
from resnet_dsl.backends.tensorrt.child import Progress
from resnet_dsl.backends.tensorrt.fusion import FusionReport, fusion_reports
from resnet_dsl.backends.tensorrt.gpus import parse_gpus
from resnet_dsl.backends.tensorrt.options import EngineOptions, resolve
from resnet_dsl.backends.tensorrt.products import PRODUCTS, default_product, product
from resnet_dsl.backends.tensorrt.repository import write_repository
from resnet_dsl.backends.tensorrt.shapes import Profile, parse_profiles, parse_size, profile_of
from resnet_dsl.backends.tensorrt.triton import triton_files
from resnet_dsl.calibrate.wish import Wish, check_wish
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import BuildOptions, decided_for, weights_of, write_onnx
from resnet_dsl.commands.engine_files import Made, write_files
from resnet_dsl.commands.latest import latest
from resnet_dsl.commands.output import Outcome, size, typed
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError, Diagnostic

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.manifest import Manifest
    from resnet_dsl.backends.tensorrt.report import EngineReport


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What the command line asks for. Without a spec, it is what was last built or trained here."""

    spec: str | None
    out: Path | None = None
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    weights: Path | None = None
    wish: Wish = field(default_factory=lambda: Wish("fp16", engine=True))
    gpus: str | None = None
    batch: str | None = None
    profiles: tuple[str, ...] = ()
    input_size: str | None = None
    options: EngineOptions = field(default_factory=EngineOptions)
    kernels: bool = False
    triton: bool = False


@dataclass(frozen=True, slots=True)
class _Subject:
    """The network that is compiled, and the folder that it goes to."""

    spec: str
    overrides: tuple[str, ...]
    seed: int
    weights: Path | None
    out: Path | None
    notes: tuple[tuple[str, str], ...] = ()


def compile_engine(request: EngineRequest, *, quiet: bool = False) -> Outcome:
    """Write the ONNX graph in its precision, the engines, and for each a manifest and a report on its kernels.

    They appear together, or none does. Raises CompileError.
    """
    check_wish(request.wish)
    options = _options(request)
    subject = _subject(request)
    compilation = compile_spec(find_spec(subject.spec), subject.overrides)
    name = compilation.spec.name
    folder = output_folder(subject.out, name)
    weights, notes = weights_of(compilation, subject.weights, subject.seed)
    dynamic = any(item.height or item.width for item in options.profiles or ())
    build_options = BuildOptions(
        ("onnx",),
        subject.out,
        weights=subject.weights,
        dynamic_size=dynamic,
        wish=request.wish,
    )
    decided = decided_for(compilation, weights, build_options, folder)
    numbers = decided.numbers
    options = replace(options, precision=numbers.precision, rest=decided.rest)
    resolve(options)  # `auto` may have chosen what a GPU has not got
    stem = f"{name}.{request.wish.precision}"
    with Artifacts(folder) as artifacts:
        written = write_onnx(
            artifacts, compilation, weights, build_options, numbers, f".{request.wish.precision}"
        )
        reports = _built(artifacts, f"{stem}.onnx", folder / stem, options, compilation, quiet)
        made = Made(
            compilation,
            decided,
            written.weights_digest,
            f"{stem}.onnx",
            subject.weights,
            subject.spec,
            subject.overrides,
            noise=request.wish.place == "fake",
        )
        graph = compilation.inference_graph(numbers=numbers, fixed_size=not dynamic)
        fusions = [fusion_reports(graph, report) for report in reports]
        manifests = write_files(artifacts, made, reports, fusions)
    outcome = Outcome(notes=[*subject.notes, *(("weights", note) for note in notes)])
    outcome.notes += [("numbers", note) for note in decided.notes]
    outcome.lines += decided.lines()
    for report, fusion in zip(reports, fusions, strict=True):
        outcome.lines += _facts(report, fusion, all_kernels=request.kernels)
    outcome.data |= {
        "name": name,
        "engine": reports[0].as_dict(),
        "engines": [report.as_dict() for report in reports],
        "numbers": decided.as_dict(),
        "kernels": [item.as_dict() for fusion in fusions for item in fusion],
    }
    outcome.written += artifacts.records
    if request.triton:
        _serve(outcome, folder, manifests[0], f"{stem}.onnx")
    outcome.next.append(f"resnet-dsl inspect {typed(reports[0].engine)}")
    return outcome


def _serve(outcome: Outcome, folder: Path, manifest: Manifest, onnx: str) -> None:
    """Write a Triton model repository of the engine for the newest GPUs."""
    repository = folder / "triton"
    files = triton_files(manifest, folder / manifest.engine.file, folder / onnx)
    outcome.written += write_repository(repository, files)
    outcome.notes += [("triton", note) for note in files.notes]
    served = f"tritonserver --model-repository={typed(repository.resolve())}"
    outcome.next.append(served)


def _options(request: EngineRequest) -> EngineOptions:
    """The options of the builder; what can be refused is refused here, before anything is compiled."""
    if request.batch is not None and request.profiles:
        raise CompileError(
            Diagnostic(
                "RD702",
                "--batch and --profile exclude each other",
                why="a profile says the batch sizes too",
                hint="write --profile batch=1/8/64,…",
            )
        )
    profiles = (
        parse_profiles(request.profiles) if request.profiles else (profile_of(request.batch),)
    )
    _check_both_sizes(profiles)
    chosen = product(request.options.product) if request.options.product else default_product()
    targets = None if request.gpus is None else parse_gpus(request.gpus, chosen)
    precision = request.wish.precision
    narrow = precision in ("int8", "fp8")
    options = replace(
        request.options,
        targets=targets,
        precision=None if precision == "auto" else precision,
        rest=request.wish.others if narrow else None,
        profiles=profiles,
    )
    resolve(options)
    return options


def _check_both_sizes(profiles: Sequence[Profile]) -> None:
    """Raises CompileError RD625 for a profile that gives the one of height and width and not the other."""
    dynamic = any(item.height or item.width for item in profiles)
    for item in profiles:
        if dynamic and (item.height is None or item.width is None):
            raise CompileError(
                Diagnostic(
                    "RD625",
                    f"the profile {item} gives no {'height' if item.height is None else 'width'}",
                    why="a graph has both symbolic, or neither",
                    hint="write `--profile batch=1/8/64,height=192/224/256,width=192/224/256`",
                )
            )


def _subject(request: EngineRequest) -> _Subject:
    overrides = request.overrides
    if request.input_size is not None:
        height, width = parse_size(request.input_size)
        overrides += (
            f"input.size={height}" if height == width else f"input.size=[{height}, {width}]",
        )
    if request.spec is not None:
        return _Subject(request.spec, overrides, request.seed or 0, request.weights, request.out)
    last = latest()
    notes = (("network", last.about), *(("network", note) for note in last.notes))
    given = request.weights is not None or request.seed is not None
    return _Subject(
        last.spec,
        (*last.overrides, *overrides),
        request.seed if request.seed is not None else last.seed,
        request.weights if given else last.weights,
        request.out or last.out,
        notes,
    )


def _facts(report: EngineReport, fusion: Sequence[FusionReport], *, all_kernels: bool) -> list[str]:
    targets = ", ".join(f"sm{target}" for target in report.targets)
    rest = f" with {report.rest}" if report.rest is not None else ""
    lines = [
        f"engine    {report.precision}{rest}, {PRODUCTS[report.product].title} {report.version}, for {targets}, "
        f"{size(report.size)}, built in {report.seconds:.1f} s",
    ]
    for one in fusion:
        lines += one.lines()
    lines += [f"note      {note}" for note in report.notes]
    for one in fusion if all_kernels else ():
        lines += ["", *([one.shapes] if one.shapes else []), *one.table()]
    return [*lines, ""] if all_kernels else lines


def _built(
    artifacts: Artifacts,
    model: str,
    stem: Path,
    options: EngineOptions,
    compilation: Compilation,
    quiet: bool,
) -> list[EngineReport]:
    """The engines, with progress on one line of a terminal, which is empty again at the end; none elsewhere."""
    graph = compilation.graph
    blocks = {node.name: node.block or node.group for node in graph.nodes}
    show = None if quiet or not sys.stderr.isatty() else _show
    try:
        return build_engines(
            artifacts.staged(model),
            stem,
            options,
            blocks=blocks,
            on_progress=show,
            artifacts=artifacts,
        )
    finally:
        if show is not None:
            with suppress(OSError):  # the terminal may be what has gone
                _on_the_line("")


def _show(progress: Progress) -> None:
    done = "" if progress.fraction is None else f" {progress.fraction:.0%}"
    _on_the_line(f"engine    {progress.stage}{done}")


def _on_the_line(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
