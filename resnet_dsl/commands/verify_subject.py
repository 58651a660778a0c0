"""Which network a verification is of, and with which weights: what the user says, and what files say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.commands.build import weights_of
from resnet_dsl.commands.latest import GENERATED, latest
from resnet_dsl.commands.output import shell_path
from resnet_dsl.commands.run import RESOLVED
from resnet_dsl.commands.verify_request import VerifyRequest, clash
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError, Diagnostic

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.manifest import Manifest
    from resnet_dsl.verify.onnx_file import OnnxFile
    from resnet_dsl.weights.store import LoadedWeights

Note = tuple[str, str]


@dataclass(frozen=True)
class Subject:
    """The network, and its weights: those of a file, of a seed, or (`origin`) of what a graph holds."""

    spec: str
    compilation: Compilation
    file: Path | None
    seed: int
    out: Path | None
    weights: LoadedWeights
    digest: str
    origin: str
    drawn: bool
    notes: tuple[Note, ...] = ()


def find_subject(request: VerifyRequest, files: list[OnnxFile]) -> Subject:
    """The network that is meant; `files` are the ONNX files that are named.

    Raises CompileError: RD637 and RD693 where nothing says which network, or which weights; RD702; and what specs and
    weights raise.
    """
    from resnet_dsl.verify.numbers import digest, held

    spec, overrides, found, notes = _network(request, files)
    compilation = compile_spec(find_spec(spec), overrides)
    said = [file.said.get("weights_sha256", "") for file in files]
    said += [_manifest(path).weights.sha256 for path in request.engines]
    wanted = {*said} - {""}
    told: list[Note] = []
    for path, seed, origin, source in _candidates(request, found, compilation, files):
        notes_of: list[str] = []
        if source is None:
            try:
                loaded, about = weights_of(compilation, path, seed)
            except CompileError:
                if _chosen(request) or path == found.weights:
                    raise
                continue  # the weights of another network, which lie where this one's would
            source, notes_of = held(compilation.graph, loaded), list(about)
        own = digest(compilation.graph, source)
        told = [("weights", note) for note in notes_of]
        if not wanted or own in wanted or _chosen(request):
            drawn = path is None and not origin
            return Subject(
                spec,
                compilation,
                path,
                seed,
                request.out or found.out,
                source,
                own,
                origin or (shell_path(path) if path else f"seed {seed}"),
                drawn,
                (*notes, *told),
            )
    raise CompileError(
        Diagnostic(
            "RD693",
            f"nothing here has the weights that `{(*request.onnx, *request.engines)[0]}` was built with",
            why=_why_unknown(compilation, files),
            hint="name its spec and its weights: resnet-dsl verify SPEC --weights FILE",
        )
    )


def _why_unknown(compilation: Compilation, files: list[OnnxFile]) -> str:
    said = files[0].said.get("spec_sha256") if files else None
    if said and said != compilation.program.spec_hash:
        return f"it is of another spec than `{compilation.spec.name}`, by the SHA-256 that is written in it"
    return "neither its training nor a seed gives numbers of their SHA-256"


@dataclass(frozen=True, slots=True)
class _Found:
    """What was last built or trained, where that is what is meant."""

    weights: Path | None = None
    seed: int = 0
    out: Path | None = None


def _chosen(request: VerifyRequest) -> bool:
    return request.weights is not None or request.seed is not None


def _network(
    request: VerifyRequest, files: list[OnnxFile]
) -> tuple[str, tuple[str, ...], _Found, list[Note]]:
    """The spec, its overrides, and what is known of it."""
    if request.sources:
        return request.sources[0], request.overrides, _Found(), []
    if request.overrides:
        raise clash(
            "--set without a network",
            "nothing says which spec is to be changed",
            "name the spec: resnet-dsl verify SPEC --set …",
        )
    wanted = _said_spec(request, files)
    if wanted is not None:
        for spec in _specs():
            if _hash(spec) == wanted:
                return spec, (), _Found(), [("network", f"`{spec}`, as the file says")]
    last = latest()
    found = _Found(last.weights, last.seed, last.out)
    notes = [("network", last.about), *(("network", note) for note in last.notes)]
    if wanted is not None and _hash(last.spec, last.overrides) != wanted:
        raise CompileError(
            Diagnostic(
                "RD693",
                "nothing says which network the file is of",
                why="no spec here has the SHA-256 that is written in it",
                hint="name the spec: resnet-dsl verify SPEC FILE",
            )
        )
    return last.spec, last.overrides, found, notes


def _said_spec(request: VerifyRequest, files: list[OnnxFile]) -> str | None:
    """The SHA-256 of the spec that a file says it is of."""
    for file in files:
        if file.said.get("spec_sha256"):
            return file.said["spec_sha256"]
    for path in request.engines:
        return _manifest(path).spec.sha256
    return None


def _manifest(engine: Path) -> Manifest:
    """What stands beside an engine. Raises CompileError: RD693 where nothing does, RD001 and RD631 as the files do."""
    from resnet_dsl.backends.tensorrt.header import read_header
    from resnet_dsl.backends.tensorrt.manifest import manifest_path, read_manifest

    if engine.is_file() and not manifest_path(engine).is_file():
        raise CompileError(
            Diagnostic(
                "RD693",
                f"nothing says which network `{engine}` is of",
                why=f"its manifest `{manifest_path(engine).name}` is not beside it",
                hint=f"`resnet-dsl inspect {shell_path(engine)}` says what can be known of it; "
                "resnet-dsl compile writes both",
            )
        )
    read_header(engine)
    return read_manifest(manifest_path(engine))


def _specs() -> Iterator[str]:
    """The specs that a file may be of: those that trainings here keep, and the bundled ones."""
    yield from map(str, sorted(GENERATED.glob(f"*/{RESOLVED}")))
    yield from bundled()


def _hash(spec: str, overrides: tuple[str, ...] = ()) -> str | None:
    try:
        return compile_spec(find_spec(spec), overrides).program.spec_hash
    except CompileError:
        return None


def _candidates(
    request: VerifyRequest, found: _Found, compilation: Compilation, files: list[OnnxFile]
) -> Iterator[tuple[Path | None, int, str, LoadedWeights | None]]:
    """Where the weights may be from, the likeliest first: a file, a seed, what they are called, and the weights where
    they are known already."""
    if request.weights is not None or request.seed is not None:
        yield request.weights, request.seed or 0, "", None
        return
    if found.weights is not None or found.seed:
        yield found.weights, found.seed, "", None
    for file in files:
        inside = _inside(file, compilation)
        if inside is not None and not file.said.get("weights_sha256"):
            yield None, 0, f"what `{file.path}` holds", inside
            return
    from resnet_dsl.evaluate.runs import BEST, LAST, run_at

    run = run_at(GENERATED / compilation.spec.name)
    if run is not None:
        for name in (BEST, LAST):
            if (run.folder / name).is_file():
                yield run.folder / name, 0, "", None
    if files and not any(file.said.get("weights_sha256") for file in files):
        raise CompileError(
            Diagnostic(
                "RD693",
                f"nothing says what the weights of `{files[0].path}` are",
                why="it does not have them under the names of the network's own, and none are given",
                hint="name the file that it was exported with: --weights FILE",
            )
        )
    yield None, 0, "", None


def _inside(file: OnnxFile, compilation: Compilation) -> LoadedWeights | None:
    """The weights that a file holds under the names of the state dict, with nothing folded; None where it does not."""
    import numpy as np

    from resnet_dsl.weights.state import state
    from resnet_dsl.weights.store import LoadedWeights

    found = {}
    for item in state(compilation.graph):
        if item.counter:
            continue
        if file.shapes.get(item.key) != item.shape:
            return None
        numbers = file.constant(item.key)
        if numbers is None or numbers.dtype != np.float32:
            return None
        found[item.key] = numbers
    return LoadedWeights(found)
