"""`resnet-dsl verify`: proof of what the targets of a network compute."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.artifacts import Artifacts, output_folder
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import weights_of
from resnet_dsl.commands.latest import latest
from resnet_dsl.commands.output import Outcome, shell_path
from resnet_dsl.commands.progress import bar
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.needs import require

if TYPE_CHECKING:
    from resnet_dsl.verify.certificate import Absent, Verified
    from resnet_dsl.verify.images import Images
    from resnet_dsl.verify.proof import Proof
    from resnet_dsl.verify.targets import Target
    from resnet_dsl.weights.store import Weights

PROBED = 2
"""Images for which every value is compared."""
WORK = 6e10
"""Multiply-adds of the reference that are spent on comparing decisions, where no number of images is asked for."""
MOST_IMAGES, LEAST_IMAGES = 256, 8


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What the command line asks for; None is for what is worked out."""

    sources: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    weights: Path | None = None
    seed: int | None = None
    onnx: tuple[Path, ...] = ()
    engines: tuple[Path, ...] = ()
    precisions: tuple[str, ...] = ()
    place: str | None = None
    images: int | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class _Subject:
    spec: str
    overrides: tuple[str, ...]
    weights: Path | None
    seed: int
    out: Path | None
    notes: tuple[tuple[str, str], ...] = ()


def verify(request: VerifyRequest, *, quiet: bool = False) -> Outcome:
    """Verify a network's targets, and write the certificate.

    Raises CompileError: RD637, RD650, and what specs, weights, images and files raise.
    """
    require("onnxruntime", "torch")
    request = _sorted(request)
    subject = _subject(request)
    compilation = compile_spec(find_spec(subject.spec), subject.overrides)
    name = compilation.spec.name
    folder = output_folder(subject.out, name)
    found, notes = _verified(request, subject, compilation, quiet=quiet)
    outcome = Outcome(notes=[*subject.notes, *notes])
    return _told(outcome, found, folder, name)


def _sorted(request: VerifyRequest) -> VerifyRequest:
    """The same request, with what stands without an option where it belongs. Raises CompileError RD702."""
    graphs = [source for source in request.sources if source.endswith(".onnx")]
    engines = [source for source in request.sources if source.endswith((".engine", ".plan"))]
    specs = tuple(source for source in request.sources if source not in (*graphs, *engines))
    if len(specs) > 1:
        raise CompileError(
            Diagnostic(
                "RD702",
                f"`{specs[1]}` is a second network",
                why="a verification compares the targets of one",
                hint="verify one after another",
            )
        )
    return replace(
        request,
        sources=specs,
        onnx=(*map(Path, graphs), *request.onnx),
        engines=(*map(Path, engines), *request.engines),
    )


def _subject(request: VerifyRequest) -> _Subject:
    """The network that is meant."""
    if not request.sources:
        last = latest()
        if request.overrides:
            raise CompileError(
                Diagnostic(
                    "RD702",
                    "--set without a network",
                    why="nothing says which spec is to be changed",
                    hint="name the spec: resnet-dsl verify SPEC --set …",
                )
            )
        weights = request.weights
        if weights is None and request.seed is None:
            weights = last.weights
        notes = [("network", last.about), *(("network", note) for note in last.notes)]
        seed = last.seed if request.seed is None else request.seed
        out = request.out or last.out
        return _Subject(last.spec, last.overrides, weights, seed, out, tuple(notes))
    (spec,) = request.sources
    return _Subject(spec, request.overrides, request.weights, request.seed or 0, request.out)


def _verified(
    request: VerifyRequest, subject: _Subject, compilation: Compilation, *, quiet: bool
) -> tuple[Verified, list[tuple[str, str]]]:
    import torch

    from resnet_dsl.verify.agreement import Agreement, agreements
    from resnet_dsl.verify.certificate import Verified
    from resnet_dsl.verify.images import BATCH, first
    from resnet_dsl.verify.numbers import digest, held
    from resnet_dsl.verify.proof import prove
    from resnet_dsl.verify.reference import Reference
    from resnet_dsl.verify.settle import settled

    weights, about = weights_of(compilation, subject.weights, subject.seed)
    notes = [("weights", note) for note in about]
    images = _images(request, subject, compilation, notes)
    source: Weights = held(compilation.graph, weights)
    drawn = subject.weights is None and not request.onnx and not request.engines
    if drawn:
        shape = compilation.program.input
        source = settled(
            compilation.inference_graph(fold=False),
            source,
            torch.randn(8, *shape, generator=torch.Generator().manual_seed(1)),
        )
        notes.append(("weights", "the statistics of normalisations are those of images of noise"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="resnet_dsl_verify_")))
        progress = stack.enter_context(bar("verifying", "operations"))
        probe = first(images, PROBED)
        reference = Reference(compilation, source, probe, tick=progress.add)
        targets, absent = _targets(request, compilation, source, folder)
        if not quiet:
            walks = 1 + 2 * len(targets)
            progress.begin(walks * len(reference.graph.nodes))
        proofs = [prove(target, reference) for target in targets]
    counted = [Agreement() for _ in targets]
    if _classifies(compilation):
        bounds = [_allowed(proof) for proof in proofs]
        with bar("deciding") as progress:
            if not quiet:
                progress.begin(images.count)
            counted = agreements(
                list(zip(targets, bounds, strict=True)), reference, images, BATCH, progress.add
            )
    found = Verified(
        name=compilation.spec.name,
        spec_sha256=compilation.program.spec_hash,
        weights={
            "from": shell_path(subject.weights) if subject.weights else f"seed {subject.seed}",
            "settled": drawn,
            "sha256": digest(compilation.graph, source),
        },
        images={"about": images.about, "sha256": images.digest, "count": images.count},
        probed=len(probe),
        proofs=proofs,
        agreements=counted,
        absent=absent,
        sections=list(dict.fromkeys(reference.ends.values())),
    )
    return found, notes


def _targets(
    request: VerifyRequest, compilation: Compilation, weights: Weights, folder: Path
) -> tuple[list[Target], list[Absent]]:
    """What is executed, and what is not."""
    from resnet_dsl.backends.onnx.writer import write_model
    from resnet_dsl.passes.numbers import Numbers
    from resnet_dsl.verify.certificate import Absent
    from resnet_dsl.verify.onnx_file import read
    from resnet_dsl.verify.onnx_target import OnnxTarget
    from resnet_dsl.verify.torch_target import TorchTarget

    targets: list[Target] = [TorchTarget(compilation, weights)]
    absent = []
    for precision in request.precisions or ("fp32", "fp16", "bf16"):
        if precision == "bf16":
            why = "ONNX Runtime has no bfloat16 convolutions on a CPU"
            absent.append(Absent("onnx bf16", why))
            continue
        numbers = Numbers("fp16") if precision == "fp16" else Numbers()
        graph = compilation.inference_graph(numbers=numbers)
        path = folder / f"{compilation.spec.name}.{precision}.onnx"
        with path.open("wb") as stream:
            write_model(graph, weights, stream)
        targets.append(OnnxTarget(read(path), graph, precision, made=True))
    absent.append(Absent("engine", "no engine was given, and there is no GPU here"))
    return targets, absent


def _classifies(compilation: Compilation) -> bool:
    from resnet_dsl.analysis.values import shapes

    graph = compilation.graph
    return shapes(graph)[graph.output] == (compilation.program.classes,)


def _allowed(proof: Proof) -> float:
    """What a target's scores may be off by."""
    return proof.compared[-1].largest_bound


def _images(
    request: VerifyRequest,
    subject: _Subject,
    compilation: Compilation,
    notes: list[tuple[str, str]],
) -> Images:
    """The network's data or those named, or noise where there are none."""
    from resnet_dsl.evaluate.feed import open_feed
    from resnet_dsl.verify.images import Data, Noise

    affordable = int(WORK / max(total_macs(compilation.graph), 1))
    count = request.images or min(max(affordable, LEAST_IMAGES), MOST_IMAGES)
    try:
        return Data(open_feed(compilation, subject.weights, request.place, "test", count))
    except CompileError as error:
        if request.place is not None:
            raise
        notes.append(("images", f"noise, since {error.diagnostics[0].message}"))
        return Noise(request.images or LEAST_IMAGES, compilation.program.input)


def _told(outcome: Outcome, found: Verified, folder: Path, name: str) -> Outcome:
    from resnet_dsl.verify.certificate import certificate, first_finding
    from resnet_dsl.verify.table import lines

    document = certificate(found)
    with Artifacts(folder) as artifacts:
        artifacts.text(f"{name}.certificate.json", json.dumps(document, indent=1) + "\n")
    outcome.written += artifacts.records
    outcome.lines = [
        f"images    {found.images['about']}; every value of the first {found.probed}",
        "reference the spec's graph in float64: nothing folded, rounded or quantised",
        "",
        *lines(found),
        "",
    ]
    outcome.data = document
    for proof in found.proofs:
        finding = first_finding(proof)
        if finding is not None:
            outcome.refused.append(
                Diagnostic(
                    "RD690",
                    f"{proof.about.label} departs from the spec, first in `{finding.block}`",
                    why=finding.message,
                    hint=_advice(finding.question),
                )
            )
    outcome.status = 1
    return outcome


def _advice(question: str) -> str:
    return {
        "weights": "build it anew, with the weights that it is verified with",
    }.get(question, "the certificate has every value and its bound")
