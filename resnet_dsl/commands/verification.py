"""`resnet-dsl verify`: proof of what the targets of a network compute."""

from __future__ import annotations

import json
from contextlib import ExitStack
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.analysis.values import shapes
from resnet_dsl.artifacts import Artifacts, output_folder
from resnet_dsl.commands.build import BuildOptions, again
from resnet_dsl.commands.output import Outcome
from resnet_dsl.commands.progress import bar
from resnet_dsl.commands.verify_request import VerifyRequest, sort_out
from resnet_dsl.commands.verify_subject import Note, Subject, find_subject
from resnet_dsl.commands.verify_targets import Collected, Collector
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.needs import require

if TYPE_CHECKING:
    from resnet_dsl.verify.agreement import Agreement, Scores
    from resnet_dsl.verify.certificate import Verified
    from resnet_dsl.verify.findings import Proof
    from resnet_dsl.verify.images import Images
    from resnet_dsl.verify.onnx_file import OnnxFile
    from resnet_dsl.verify.reference import Reference
    from resnet_dsl.weights.store import Weights

PROBED = 2
"""Images for which every value is compared; one, where the values of two would take more than `ROOM` bytes."""
ROOM = 600e6
WORK = 6e10
"""Multiply-adds of the reference that are spent on comparing decisions, where no number of images is asked for."""
MOST_IMAGES, LEAST_IMAGES = 256, 8

__all__ = ["VerifyRequest", "verify"]


def verify(request: VerifyRequest, *, quiet: bool = False) -> Outcome:
    """Verify a network's targets, and write the certificate.

    Raises CompileError: RD637, RD650, RD691 to RD693, RD702, and what specs, weights, images and files raise.
    """
    require("onnx", "onnxruntime", "torch")
    from resnet_dsl.verify.onnx_file import read

    request = sort_out(request)
    files = [read(path) for path in request.onnx]
    subject = find_subject(request, files)
    name = subject.compilation.spec.name
    work = _Verification(request, subject, quiet=quiet)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="resnet_dsl_verify_")))
        found = work.run(folder, stack, files)
    outcome = Outcome(notes=[*subject.notes, *work.notes])
    if any(item.name == "engine" for item in found.absent):
        made = BuildOptions(("onnx",), request.out, request.overrides, subject.seed, subject.file)
        outcome.next.append(again("compile", subject.spec, "tensorrt", made))
    return _told(outcome, found, output_folder(subject.out, name), name)


class _Verification:
    """One verification as it goes along; `notes` grow."""

    def __init__(self, request: VerifyRequest, subject: Subject, *, quiet: bool) -> None:
        self.request = request
        self.subject = subject
        self.compilation: Compilation = subject.compilation
        self.quiet = quiet
        self.notes: list[Note] = []

    def run(self, folder: Path, stack: ExitStack, files: list[OnnxFile]) -> Verified:
        from resnet_dsl.verify.certificate import Absent, Verified
        from resnet_dsl.verify.foreign import prove_foreign
        from resnet_dsl.verify.images import first
        from resnet_dsl.verify.numbers import digest
        from resnet_dsl.verify.proof import prove
        from resnet_dsl.verify.reference import Reference
        from resnet_dsl.verify.walk import silent

        images = self._images()
        weights = self._weights()
        probe = first(images, self._probed())
        progress = stack.enter_context(bar("verifying", "operations"))
        tick = silent if self.quiet else progress.add
        reference = Reference(self.compilation, weights, probe, tick=tick)
        collected = Collector(self.request, self.subject, weights, folder).collect(files, reference)
        self.notes += collected.notes
        if not self.quiet:
            walks = 1 + 3 * len(collected.targets)
            progress.begin(walks * len(reference.graph.nodes))
        proofs = [prove(target, reference) for target in collected.targets]
        proofs += [prove_foreign(target, reference) for target in collected.foreign]
        absent = [
            *(Absent(proof.about.label, _left(proof)) for proof in proofs if not proof.executed),
            *collected.absent,
        ]
        return Verified(
            name=self.compilation.spec.name,
            spec_sha256=self.compilation.program.spec_hash,
            weights={
                "from": self.subject.origin,
                "settled": weights is not self.subject.weights,
                "sha256": digest(self.compilation.graph, weights),
            },
            images={"about": images.about, "sha256": images.digest, "count": images.count},
            probed=len(probe),
            proofs=proofs,
            agreements=self._decisions(collected, proofs, reference, images),
            absent=absent,
            sections=list(dict.fromkeys(reference.ends.values())),
            notes=[f"{about}: {text}" for about, text in (*self.subject.notes, *self.notes)],
        )

    def _probed(self) -> int:
        """How many images every value is compared for."""
        inner = sum(prod(node.shape) for node in self.compilation.graph.nodes)
        return PROBED if 4 * PROBED * inner <= ROOM else 1

    def _weights(self) -> Weights:
        """The subject's; those of a seed, where no file holds them, as they are after a few steps of training."""
        from resnet_dsl.verify.settle import settled_on_noise

        if not self.subject.drawn or self.request.files or self._was_built():
            return self.subject.weights
        self.notes.append(
            ("weights", "the statistics of normalisations are those of images of noise")
        )
        return settled_on_noise(self.compilation.inference_graph(fold=False), self.subject.weights)

    def _was_built(self) -> bool:
        """Whether a graph with the subject's own weights was built here."""
        from resnet_dsl.verify.onnx_file import read

        name = self.compilation.spec.name
        for path in sorted(output_folder(self.subject.out, name).glob(f"{name}*.onnx")):
            try:
                if read(path).said.get("weights_sha256") == self.subject.digest:
                    return True
            except CompileError:
                continue
        return False

    def _images(self) -> Images:
        """The network's data or those named, or noise where there are none."""
        from resnet_dsl.evaluate.feed import open_feed
        from resnet_dsl.verify.images import Data, Noise

        request = self.request
        affordable = int(WORK / max(total_macs(self.compilation.graph), 1))
        count = request.images or min(max(affordable, LEAST_IMAGES), MOST_IMAGES)
        try:
            feed = open_feed(self.compilation, self.subject.file, request.place, "test", count)
        except CompileError as error:
            if request.place is not None:
                raise
            self.notes.append(("images", f"noise, since {error.diagnostics[0].message}"))
            return Noise(request.images or LEAST_IMAGES, self.compilation.program.input)
        self.notes += [("images", note) for note in feed.notes]
        return Data(feed)

    def _decisions(
        self, collected: Collected, proofs: list[Proof], reference: Reference, images: Images
    ) -> list[Agreement]:
        """Count on which images the targets that were executed decide as the reference does; what is not explained is a
        finding of the target's proof."""
        from resnet_dsl.verify.agreement import Agreement, agreements
        from resnet_dsl.verify.findings import Finding
        from resnet_dsl.verify.images import BATCH
        from resnet_dsl.verify.walk import silent

        counted = [Agreement() for _ in proofs]
        graph = self.compilation.graph
        if shapes(graph)[graph.output] != (self.compilation.program.classes,):
            return counted
        targets: list[Scores] = [*collected.targets, *collected.foreign]
        places = [place for place, proof in enumerate(proofs) if proof.executed]
        deciding = [(targets[place], proofs[place].compared[-1].largest_bound) for place in places]
        with bar("deciding") as progress:
            if not self.quiet:
                progress.begin(images.count)
            tick = silent if self.quiet else progress.add
            found = agreements(deciding, reference, images, BATCH, tick)
        for place, agreement in zip(places, found, strict=True):
            counted[place] = agreement
            if not agreement.holds:
                block = reference.ends[reference.final]
                others = agreement.images - agreement.agreed - agreement.excused
                proofs[place].findings.append(
                    Finding(
                        "agreement",
                        block,
                        reference.final,
                        agreement.worst,
                        f"{others:,} of {agreement.images:,} images get another class than rounding explains",
                    )
                )
        return counted


def _left(proof: Proof) -> str:
    """What can be said of a target that was not executed."""
    rest = "its graph and weights hold" if proof.holds else "its graph or weights depart"
    return f"{proof.about.runtime}: {proof.why_not}; {rest}"


def _told(outcome: Outcome, found: Verified, folder: Path, name: str) -> Outcome:
    from resnet_dsl.verify.certificate import certificate, first_finding
    from resnet_dsl.verify.table import lines

    document = certificate(found)
    artifacts = Artifacts(folder)
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
    outcome.status = 1
    for proof in found.proofs:
        finding = first_finding(proof)
        if finding is not None:
            outcome.refused.append(
                Diagnostic(
                    "RD690",
                    f"{proof.about.label} departs from the spec, first in `{finding.block}`",
                    why=finding.message,
                    hint=_ADVICE[finding.question],
                )
            )
    return outcome


_ADVICE = {
    "passes": "please report it, with the spec: a pass of the compiler has changed the network",
    "weights": "build it anew from the weights that it is verified with, or name those that it was built from: "
    "--weights FILE",
    "arithmetic": "the certificate has every value and its bound, in the order of the graph",
    "values": "the certificate has the error at the end of every block",
    "result": "the certificate has the error at the end of every block",
    "agreement": "the certificate has the error at the end of every block",
}
