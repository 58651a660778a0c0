"""`resnet-dsl bench`: how fast a network is in every backend that is there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.artifacts import Artifacts, output_folder
from resnet_dsl.backends.tensorrt.device import local_gpus
from resnet_dsl.bench import table
from resnet_dsl.bench.candidates import PRECISIONS, Precision, absence, candidates
from resnet_dsl.bench.figure import draw
from resnet_dsl.bench.machine import Others, cores, machine
from resnet_dsl.bench.messages import Device, Load
from resnet_dsl.bench.outcome import Results, Row
from resnet_dsl.bench.rounds import Plan, Say, run
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.benchmark_files import Files
from resnet_dsl.commands.build import weights_of
from resnet_dsl.commands.conflicts import check_compile
from resnet_dsl.commands.latest import latest
from resnet_dsl.commands.output import Outcome
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError, Diagnostic

BATCHES: dict[Device, tuple[int, ...]] = {
    "cpu": (1, 8, 32),
    "cuda": (1, 4, 16, 64, 256),
}
PRODUCTS: dict[Device, tuple[Precision, ...]] = {
    "cpu": ("fp32", "bf16", "int8"),
    "cuda": PRECISIONS,
}
"""The precisions in which some library multiplies matrices."""

MOST_BATCH = 65536
MOST_THREADS = 1024
MOST_SECONDS = 600.0
BUSY = 0.15  # of the cores


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What the command line asks for; None is for what is worked out."""

    spec: str | None
    overrides: tuple[str, ...] = ()
    weights: Path | None = None
    seed: int | None = None
    batch: str | None = None
    backends: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ()
    device: str | None = None
    threads: int | None = None
    seconds: float = 2.0
    out: Path | None = None


def bench(request: BenchRequest, *, quiet: bool = False, plan: Plan | None = None) -> Outcome:
    """Measure, and write the figures as JSON, Markdown and SVG.

    Raises CompileError: RD621, RD637, RD695, RD696, RD702, and what specs and weights raise.
    """
    check_compile({"--seed": request.seed is not None, "--weights": request.weights is not None})
    device = _device(request.device)
    batches = batch_sizes(request.batch) if request.batch is not None else BATCHES[device]
    plan = replace(plan or Plan(), seconds=_seconds(request.seconds))
    threads = _threads(request.threads)
    subject = _subject(request)
    compilation = compile_spec(find_spec(subject.spec), subject.overrides)
    name = compilation.spec.name
    folder = output_folder(subject.out, name)
    results = Results(
        name=name,
        spec_sha256=compilation.program.spec_hash,
        shape=compilation.program.input,
        operations=2.0 * total_macs(compilation.graph),
        device=device,
        threads=threads,
        batches=batches,
        seconds=plan.seconds,
        machine=machine(),
        rows=[
            Row(one, absence(one, device, name))
            for one in candidates(device, request.backends, request.precisions, name)
        ],
    )
    weights, notes = weights_of(compilation, subject.weights, subject.seed)
    outcome = Outcome(notes=[*subject.notes, *(("weights", note) for note in notes)])
    if device == "cpu" and threads > cores():
        told = f"{threads}, and there are {cores()} cores: they wait for one another"
        outcome.notes.append(("threads", told))
    interrupted, others = False, Others()
    with _progress(quiet) as say, TemporaryDirectory(prefix="resnet_dsl_bench_") as temporary:
        files = Files(
            Path(temporary), compilation, weights, subject.weights, device, threads, batches
        )
        try:
            run(results, files.load, _peaks(results, threads), plan, say)
        except KeyboardInterrupt:
            interrupted = True
    outcome.notes += [*files.notes, *_busy(others.cores())]
    return _told(outcome, results, folder, interrupted)


@dataclass(frozen=True, slots=True)
class _Subject:
    """The network to measure, where its files go, and what to say of how it was found."""

    spec: str
    overrides: tuple[str, ...]
    weights: Path | None
    seed: int
    out: Path | None
    notes: tuple[tuple[str, str], ...] = ()


def _subject(request: BenchRequest) -> _Subject:
    """What was named, or what was built or trained last here. Raises CompileError RD637 where there is neither."""
    if request.spec is not None:
        return _Subject(
            request.spec, request.overrides, request.weights, request.seed or 0, request.out
        )
    found = latest()
    given = request.weights is not None or request.seed is not None
    return _Subject(
        found.spec,
        (*found.overrides, *request.overrides),
        request.weights if given else found.weights,
        (request.seed or 0) if given else found.seed,
        request.out or found.out,
        (("network", found.about), *(("network", note) for note in found.notes)),
    )


def _busy(others: float | None) -> list[tuple[str, str]]:
    """What to say of a machine that others use."""
    if others is None or others <= BUSY * cores():
        return []
    return [
        ("load", f"others kept {others:.1f} of {cores()} cores busy meanwhile: times are too long")
    ]


def batch_sizes(text: str) -> tuple[int, ...]:
    """`1,8,32`, in order and each once. Raises CompileError RD696."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", part) for part in parts) or not all(
        0 < int(part) <= MOST_BATCH for part in parts
    ):
        raise _bad("--batch", text, f"batch sizes are numbers from 1 to {MOST_BATCH}", "1,8,32")
    return tuple(sorted({int(part) for part in parts}))


def _seconds(value: float) -> float:
    if not 0 < value <= MOST_SECONDS:
        why = f"a point is measured for more than 0 and up to {MOST_SECONDS:g} seconds"
        raise _bad("--seconds", f"{value:g}", why, "2")
    return value


def _threads(value: int | None) -> int:
    if value is None:
        return cores()
    if not 0 < value <= MOST_THREADS:
        raise _bad("--threads", str(value), "there is at least one thread", str(cores()))
    return value


def _device(text: str | None) -> Device:
    """The device asked for, or the CPU. Raises CompileError RD696, and RD621 where there is no GPU."""
    if text is None or text == "cpu":
        return "cpu"
    if text != "cuda":
        raise _bad("--device", text, "a network is measured on cpu or cuda", "cuda")
    if not local_gpus():
        raise CompileError(
            Diagnostic(
                "RD621",
                "there is no GPU to measure on",
                why="the driver of NVIDIA's GPUs is not there, or tells of none",
                hint="leave `--device cuda` out to measure on the processor",
            )
        )
    return "cuda"


def _bad(option: str, text: str, why: str, example: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD696",
            f"`{option} {text[:40]}` cannot be measured",
            why=why,
            hint=f"write {option} {example}",
        )
    )


def _peaks(results: Results, threads: int) -> list[Load]:
    """Products of matrices in the precisions of the rows."""
    wanted = {row.candidate.precision for row in results.rows if row.absent is None}
    return [
        Load("matmul", one, results.device, threads, "", [])
        for one in PRECISIONS
        if one in wanted and one in PRODUCTS[results.device]
    ]


def _told(outcome: Outcome, results: Results, folder: Path, interrupted: bool) -> Outcome:
    """The figures as lines, data and files; with nothing measured, a refusal and no file."""
    outcome.data = results.as_dict()
    if interrupted:
        outcome.status = 130
        what = "nothing was measured yet"
        if results.baseline is not None:
            what = "what is told is what was measured"
        outcome.refused.append(Diagnostic("RD698", f"interrupted: {what}"))
    if results.baseline is None:
        outcome.lines += table.lines(results)
        if not interrupted:
            outcome.refused.append(_none_measured(results))
        return outcome
    with Artifacts(folder) as artifacts:
        name = f"{results.name}{'' if results.device == 'cpu' else '.cuda'}.bench"
        artifacts.text(f"{name}.json", json.dumps(outcome.data, indent=2) + "\n")
        artifacts.text(f"{name}.md", table.markdown(results))
        picture = draw(results)
        if picture is not None:
            artifacts.text(f"{name}.svg", picture)
    if picture is None:
        outcome.notes.append(("figure", "not drawn: that needs matplotlib"))
    outcome.written += artifacts.records
    outcome.lines += ["", *table.lines(results), ""]
    return outcome


def _none_measured(results: Results) -> Diagnostic:
    commands = [row.absent.command for row in results.rows if row.absent and row.absent.command]
    return Diagnostic(
        "RD699",
        "no backend could be measured",
        why="each of them says why above",
        hint=f"`{commands[0]}`"
        if commands
        else "leave --backend and --precision out: fp32 is measured everywhere",
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[Say]:
    """What is being done, on one line of a terminal, which is empty again at the end; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _text: None
        return
    try:
        yield lambda text: print(f"\r\033[K{text[:99]}", end="", file=sys.stderr, flush=True)
    finally:
        with suppress(OSError):
            print("\r\033[K", end="", file=sys.stderr, flush=True)
