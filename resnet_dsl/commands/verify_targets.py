"""What a verification executes: files that are named, those that were built here, and what is made for it alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from resnet_dsl.artifacts import output_folder
from resnet_dsl.commands.build import BuildOptions, decided_for
from resnet_dsl.commands.output import shell_path
from resnet_dsl.commands.verify_request import VerifyRequest
from resnet_dsl.commands.verify_subject import Note, Subject
from resnet_dsl.errors import CompileError, Diagnostic

if TYPE_CHECKING:
    from resnet_dsl.ir.graph import Graph
    from resnet_dsl.passes.numbers import Precision
    from resnet_dsl.verify.certificate import Absent
    from resnet_dsl.verify.foreign import ForeignTarget
    from resnet_dsl.verify.onnx_file import OnnxFile
    from resnet_dsl.verify.reference import Reference
    from resnet_dsl.verify.targets import Target
    from resnet_dsl.weights.store import Weights

MADE: tuple[Precision, ...] = ("fp32", "fp16")
"""The graphs that are made where none was built, and none is asked for."""
ALL: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8", "fp8")


@dataclass
class Collected:
    """Targets whose graphs are known, files of anybody's, and what cannot be executed."""

    targets: list[Target] = field(default_factory=list)
    foreign: list[ForeignTarget] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass
class Collector:
    """Finds and makes the targets of a subject; files that are made go to `folder`."""

    request: VerifyRequest
    subject: Subject
    weights: Weights
    folder: Path
    found: Collected = field(default_factory=Collected)

    def collect(self, files: Sequence[OnnxFile], reference: Reference) -> Collected:
        """Everything that there is. Raises CompileError as the files do that are named."""
        from resnet_dsl.verify.torch_target import TorchTarget

        self.found.targets.append(TorchTarget(self.subject.compilation, self.weights))
        for file in files:
            self._named(file, reference)
        if not self.request.files or self.request.precisions:
            self._precisions()
        for path in self.request.engines:
            self._engine(path, named=True)
        if not self.request.files:
            self._engines_here()
        self._tell_apart()
        return self.found

    def _tell_apart(self) -> None:
        """Call files of one precision by their names."""
        from resnet_dsl.verify.onnx_target import OnnxTarget

        files = [item for item in self.found.targets if isinstance(item, OnnxTarget)]
        labels = [item.about.label for item in files]
        for item, label in zip(files, labels, strict=True):
            if labels.count(label) > 1 and item.about.file is not None:
                item.about = replace(item.about, name=shell_path(item.about.file))

    def _named(self, file: OnnxFile, reference: Reference) -> None:
        from resnet_dsl.verify.foreign import open_foreign
        from resnet_dsl.verify.onnx_target import OnnxTarget
        from resnet_dsl.verify.own_graph import own_graph

        own = own_graph(file, self.subject.compilation) if _is_ours(file) else None
        if own is not None:
            self.found.targets.append(OnnxTarget(file, *own))
            return
        if _is_ours(file):
            self.found.notes.append(
                (
                    "onnx",
                    f"{shell_path(file.path)} has other values than the spec: it is compared by its numbers",
                )
            )
        target = open_foreign(file, reference)
        self.found.notes += [("onnx", f"{shell_path(file.path)}: {note}") for note in target.notes]
        self.found.foreign.append(target)

    def _precisions(self) -> None:
        """A graph of each precision: those that were built here, and else such as are made now."""
        asked = cast("tuple[Precision, ...]", self.request.precisions)
        built = self._built(asked)
        for precision in asked or ALL:
            if precision in built:
                continue
            if asked or precision in MADE:
                self._make(precision)
            else:
                why = f"none was built here; --precision {precision} makes one"
                self._absent(f"onnx {precision}", why)

    def _built(self, asked: Sequence[str]) -> set[str]:
        """Take the graphs that were built here, as far as they are of this spec, these weights and the precisions that
        are asked for; what their names say of these."""
        from resnet_dsl.verify.onnx_target import OnnxTarget

        name = self.subject.compilation.spec.name
        found = set()
        for path in sorted(output_folder(self.subject.out, name).glob(f"{name}*.onnx")):
            called = path.name.removeprefix(name).removesuffix(".onnx").removeprefix(".") or "fp32"
            if "." in called or (asked and called not in asked):
                continue
            own = self._fitting(path)
            if own is not None:
                file, graph = own
                self.found.targets.append(OnnxTarget(file, graph, called))
                found.add(called)
        return found

    def _fitting(self, path: Path) -> tuple[OnnxFile, Graph] | None:
        """A graph of ours, if it is of this spec and these weights."""
        from resnet_dsl.verify.onnx_file import read
        from resnet_dsl.verify.own_graph import own_graph

        compilation = self.subject.compilation
        try:
            file = read(path)
            own = own_graph(file, compilation)
        except CompileError as error:
            self.found.notes.append(("onnx", f"{error.diagnostics[0].message}: left aside"))
            return None
        reason = ""
        if file.said.get("spec_sha256") != compilation.program.spec_hash or own is None:
            reason = "another spec"
        elif file.said.get("weights_sha256") != self.subject.digest:
            reason = "other weights"
        if reason or own is None:
            note = f"{shell_path(path)} was built from {reason}, and is left aside"
            self.found.notes.append(("onnx", note))
            return None
        return file, own[0]

    def _make(self, precision: Precision) -> None:
        from resnet_dsl.backends.onnx.writer import write_model
        from resnet_dsl.calibrate.wish import Wish
        from resnet_dsl.verify.onnx_file import read
        from resnet_dsl.verify.onnx_target import OnnxTarget

        compilation = self.subject.compilation
        wish = Wish(precision)
        if wish.quantised:
            wish = Wish(precision, place=self.request.place)
        options = BuildOptions(("onnx",), weights=self.subject.file, wish=wish)
        try:
            decided = decided_for(compilation, self.weights, options, self.folder)
        except CompileError as error:
            if not wish.quantised or self.request.place is not None:
                raise
            self._absent(f"onnx {precision}", f"not calibrated: {error.diagnostics[0].message}")
            return
        graph = compilation.inference_graph(numbers=decided.numbers)
        path = self.folder / f"{compilation.spec.name}.{precision}.onnx"
        with path.open("wb") as stream:
            write_model(graph, self.weights, stream)
        self.found.targets.append(OnnxTarget(read(path), graph, precision, made=True))

    def _engines_here(self) -> None:
        name = self.subject.compilation.spec.name
        paths = sorted(output_folder(self.subject.out, name).glob(f"{name}.*.engine"))
        for path in paths:
            self._engine(path, named=False)
        if not paths:
            self._absent("engine", "none was compiled here, and none is named")

    def _engine(self, path: Path, *, named: bool) -> None:
        """An engine, by the ONNX file that it was built from. What is named has to be an engine of this network."""
        from resnet_dsl.verify.engine_target import EngineTarget, open_engine
        from resnet_dsl.verify.onnx_file import read
        from resnet_dsl.verify.onnx_target import OnnxTarget
        from resnet_dsl.verify.own_graph import own_graph

        label = f"engine {shell_path(path)}"
        try:
            engine = open_engine(path)
        except CompileError as error:
            if named:
                raise
            self._absent(label, error.diagnostics[0].message)
            return
        manifest = engine.manifest
        if manifest.weights.sha256 != self.subject.digest:
            if named:
                raise CompileError(
                    Diagnostic(
                        "RD693",
                        f"{path} was built from other weights",
                        why=f"its manifest says {manifest.weights.sha256[:12]}…, and these are "
                        f"{self.subject.digest[:12]}…",
                        hint="give the weights that it was built from: --weights FILE",
                    )
                )
            self._absent(label, "it was built from other weights")
            return
        own = None
        if engine.onnx is not None:
            file = read(engine.onnx)
            own = own_graph(file, self.subject.compilation)
            if own is not None and not self._has(
                engine.onnx
            ):  # what went in, where every value can be seen
                self.found.targets.append(OnnxTarget(file, *own))
        if engine.why_not:
            self._absent(label, engine.why_not.removeprefix(f"{path} "))
        elif own is None:
            self._absent(label, "the ONNX file that it was built from is not beside it")
        else:
            self.found.targets.append(EngineTarget(engine, own[0]))

    def _has(self, path: Path) -> bool:
        """Whether a file is a target already."""
        return any(
            item.about.file is not None and item.about.file.resolve() == path.resolve()
            for item in self.found.targets
        )

    def _absent(self, name: str, why: str) -> None:
        from resnet_dsl.verify.certificate import Absent

        self.found.absent.append(Absent(name, why))


def _is_ours(file: OnnxFile) -> bool:
    return bool(file.said.get("spec_sha256"))
