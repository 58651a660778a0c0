"""Which networks are evaluated, and with which weights: read off what the user names, without reading any weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.runs import Run, newest, run_at, run_of
from resnet_dsl.language.recipes import training
from resnet_dsl.weights.load import load

GENERATED = Path("generated")
RESOLVED = "spec.json"
"""The spec of a training with everything resolved, which stands beside its script."""

_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to evaluate: a spec with a file of weights, or (`compilation` is None) an ONNX file.

    `run` is the training that the weights are from, where that is known, and `settings` are those that the spec trains
    by. `notes` are for the user.
    """

    name: str
    file: Path
    compilation: Compilation | None = None
    run: Run | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_subjects(
    sources: Sequence[str], weights: Sequence[Path], overrides: Sequence[str]
) -> list[Subject]:
    """What `sources` name: specs, folders of runs, weights in such a folder, ONNX files; or the last run of all.

    `weights` are for the spec or run among them, or for each of several in turn. Raises CompileError: RD670 where there
    is nothing to evaluate, RD702 where weights or overrides have nothing to go to, and what specs raise.
    """
    if not sources:
        return _last(weights, overrides)
    takers = [source for source in sources if not _is_graph(source)]
    _check_options(sources, takers, weights, overrides)
    given = iter(weights)
    found: list[Subject] = []
    for source in sources:
        if _is_graph(source):
            found.append(_graph(source))
        elif not weights:
            found.append(_own(source, overrides))
        elif len(takers) == 1:
            found += [_with(source, each, overrides) for each in given]
        else:
            found.append(_with(source, next(given), overrides))
    return found


def _check_options(
    sources: Sequence[str], takers: Sequence[str], weights: Sequence[Path], overrides: Sequence[str]
) -> None:
    if weights and not takers:
        raise refusal(
            "RD702",
            "--weights would do nothing here",
            why="an ONNX file holds its weights",
            hint="leave --weights out, or add the spec that they belong to",
        )
    if weights and len(takers) not in (1, len(weights)):
        raise refusal(
            "RD702",
            f"{len(weights)} files of weights for {len(takers)} networks",
            why="weights go to one network, or to each in turn",
            hint="give --weights once for each network, in their order",
        )
    if overrides and not any(_is_spec(source) for source in sources):
        raise refusal(
            "RD702",
            "--set would do nothing here",
            why="it changes a spec, and none is given: a run says itself what it trained",
            hint="leave --set out, or give the spec and its --weights",
        )


def _last(weights: Sequence[Path], overrides: Sequence[str]) -> list[Subject]:
    """The network that was trained last here."""
    if weights or overrides:
        option = "--weights" if weights else "--set"
        raise refusal(
            "RD702",
            f"{option} without a network",
            why="nothing says which network is meant",
            hint=f"name the spec: resnet-dsl eval SPEC {option} …",
        )
    run = newest(GENERATED)
    if run is None:
        raise refusal(
            "RD670",
            "there is nothing to evaluate",
            why="no network is given, and none has been trained here: no "
            f"{GENERATED}/*/run/best.safetensors",
            hint="give a run, a spec with --weights, or an ONNX file; or train one: "
            "resnet-dsl train digits",
        )
    return [_run(run, run.checkpoint(), "the network that was trained last here")]


def _own(source: str, overrides: Sequence[str]) -> Subject:
    """A source with the weights that it brings along."""
    path = Path(source)
    if os.path.isdir(path):
        run = _run_in(path)
        return _run(run, run.checkpoint())
    if _is_weights(source):
        owner = run_of(path)
        if owner is None:
            raise refusal(
                "RD670",
                f"nothing says which network `{source}` belongs to",
                why="it is not the best.safetensors or last.safetensors of a training",
                hint=f"name the spec: resnet-dsl eval SPEC --weights {source}",
            )
        return _run(owner, path)
    compilation = compile_spec(find_spec(source), overrides)
    name = compilation.spec.name
    run_here = run_at(GENERATED / name)
    if run_here is None:
        raise refusal(
            "RD670",
            f"there are no weights of `{name}`",
            why=f"none are given, and there is no run in {GENERATED / name}",
            hint=f"give them with --weights FILE, or train the network: resnet-dsl train {source}",
        )
    return _of_spec(compilation, run_here.checkpoint())


def _with(source: str, weights: Path, overrides: Sequence[str]) -> Subject:
    """A source with weights that are given."""
    path = Path(source)
    if os.path.isdir(path):
        return _run(_run_in(path), weights)
    if _is_weights(source):
        raise refusal(
            "RD702",
            f"`{source}` and --weights are weights both",
            why="nothing says which network they belong to",
            hint=f"name the spec: resnet-dsl eval SPEC --weights {source} --weights {weights}",
        )
    return _of_spec(compile_spec(find_spec(source), overrides), weights)


def _of_spec(compilation: Compilation, weights: Path) -> Subject:
    run, notes = run_of(weights), []
    if run is not None and run.spec_hash not in (None, compilation.program.spec_hash):
        notes.append(
            f"`{weights}` was trained by another spec: names and shapes decide whether it fits, "
            "and nothing tells whether both compute the same"
        )
    return Subject(
        compilation.spec.name, weights, compilation, run, _settings(compilation), tuple(notes)
    )


def _run(run: Run, weights: Path, note: str | None = None) -> Subject:
    compilation = _compiled(run, weights)
    notes = (f"{weights}: {note}",) if note else ()
    settings = _settings(compilation)
    return Subject(compilation.spec.name, weights, compilation, run, settings, notes)


def _run_in(folder: Path) -> Run:
    run = run_at(folder)
    if run is None:
        raise refusal(
            "RD670",
            f"`{folder}` is not the folder of a run",
            why="a run has best.safetensors and result.json, and they are neither there nor in its folder `run`",
            hint="give a folder that resnet-dsl train has written, as generated/digits/run",
        )
    return run


def _compiled(run: Run, weights: Path) -> Compilation:
    """The network of a run: the resolved spec that a training writes beside its script or the bundled spec of its name,
    whichever has the hash that the run, or else its weights, say. Raises CompileError."""
    spec_hash, name = run.spec_hash, run.text("network")
    if spec_hash is None:
        spec_hash = load(weights).spec_hash
    kept = (run.folder / RESOLVED, run.folder.parent / RESOLVED)
    files = [file for file in kept if os.path.isfile(file)]
    files += [bundled()[name]] if name in bundled() else []
    problems: list[str] = []
    for file in files:
        try:
            found = compile_spec(file)
        except CompileError as error:
            problems += [f"`{file}`: {item.message}" for item in error.diagnostics]
            continue
        if found.program.spec_hash == spec_hash:
            return found
        problems.append(f"`{file}` is another network, or the same with another training")
    if not files:
        problems.append(f"`{kept[1]}`, which `resnet-dsl train` writes, is not there")
    raise refusal(
        "RD670",
        f"the network of `{run.folder}` is not known",
        why="; ".join(problems),
        hint=f"name its spec: resnet-dsl eval SPEC --weights {weights}",
    )


def _graph(source: str) -> Subject:
    path = Path(source)
    if not os.path.isfile(path):
        raise refusal("RD675", f"there is no file `{source}`", hint="give a path to an ONNX file")
    return Subject(path.stem, path)


def _settings(compilation: Compilation) -> Mapping[str, object]:
    found = training(compilation.spec, compilation.source)
    return {} if found is None else found.values


def _is_graph(source: str) -> bool:
    return source.endswith(".onnx")


def _is_weights(source: str) -> bool:
    return source.endswith(_WEIGHTS)


def _is_spec(source: str) -> bool:
    return not (_is_graph(source) or _is_weights(source) or os.path.isdir(source))
