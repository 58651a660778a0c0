"""`resnet-dsl train`: emit the network and its training script, and run the script."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_dsl.artifacts import Artifacts, Written, output_folder
from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import BuildOptions, again
from resnet_dsl.commands.latest import remember
from resnet_dsl.commands.launch import launch
from resnet_dsl.commands.output import ChildExitError, Outcome, no_option, shell_path
from resnet_dsl.commands.run import (
    INITIAL,
    RESOLVED,
    Stamp,
    files_of,
    outcome_of,
    stamp,
    stamps,
    standardised,
)
from resnet_dsl.commands.settings import checked_settings, settings_of
from resnet_dsl.commands.states import check_state, spec_of_state
from resnet_dsl.commands.train_options import TrainRequest, check_options
from resnet_dsl.compiler import Compilation, compile_spec, resolved, torch_source
from resnet_dsl.errors import CompileError
from resnet_dsl.needs import require
from resnet_dsl.render import safe

DEFAULT_SPEC = "digits"

_PACKAGES = ("PIL", "sklearn", "torch", "torchvision")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training whose files are there, and that can begin."""

    settings: TrainSettings
    folder: Path
    written: tuple[Written, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def run(self) -> Path:
        """Where the script writes."""
        return self.folder / "run"


def train(request: TrainRequest) -> Outcome:
    """Emit `<name>.py`, `train.py` and `spec.json`, and run the script in a process of its own, or several.

    Raises CompileError, and ChildExitError where the script did not end well.
    """
    file = find_spec(request.spec or DEFAULT_SPEC)
    compilation = compile_spec(file, request.overrides)
    if request.data is not None and _lacks_place(settings_of(compilation)):
        place = f"train.path={json.dumps(str(request.data), ensure_ascii=False)}"
        request = replace(request, overrides=(*request.overrides, place))
        compilation = compile_spec(file, request.overrides)
    return run_script(request, prepare(request, compilation))


def prepare(request: TrainRequest, compilation: Compilation) -> Prepared:
    """Check everything that can be known before the script runs, and write its files. Raises CompileError."""
    settings = checked_settings(
        compilation, request.spec or DEFAULT_SPEC, request.overrides, request.out
    )
    check_options(request, settings)
    script = emit(settings)
    require(*(name for name in _PACKAGES if _imports(script, name)))
    name = settings.name
    folder = output_folder(request.out, name)
    if request.resume:
        anew, begun = _anew(settings, request.out), _begun(folder, settings.spec_hash)
        check_state(folder / "run", settings.spec_hash, anew, begun)
    notes: list[tuple[str, str]] = []
    with Artifacts(folder) as artifacts:
        artifacts.text(f"{name}.py", torch_source(compilation))
        artifacts.text("train.py", script)
        artifacts.text(RESOLVED, resolved(compilation))
        if request.weights is not None:
            from resnet_dsl.commands.initial import initial_weights

            initial = initial_weights(compilation, request.weights, settings.seed)
            initial.write(artifacts)
            notes = [("weights", note) for note in initial.notes]
    return Prepared(settings, folder, artifacts.records, tuple(notes))


def run_script(
    request: TrainRequest, prepared: Prepared, watch: Callable[[], bool] | None = None
) -> Outcome:
    """Run the script to its end; `watch` is asked now and then whether to end it at once.

    Raises ChildExitError where the end is not a good one.
    """
    run, settings = prepared.run, prepared.settings
    before = stamps(run)
    if not request.quiet:
        for about, text in prepared.notes:
            print(safe(f"{about:<9} {text}"), flush=True)
    command = [sys.executable, no_option(prepared.folder / "train.py"), f"--out={no_option(run)}"]
    command += [f"--weights={no_option(prepared.folder / INITIAL)}"] if request.weights else []
    command += ["--resume"] if request.resume else []
    command += [f"--data={no_option(request.data)}"] if request.data is not None else []
    command += [f"--device={request.device}"] if request.device is not None else []
    command += request.arguments
    try:
        status = launch(
            command,
            processes=request.processes or 1,
            environment=request.environment,
            quiet=request.quiet,
            watch=watch,
        )
    finally:
        _remember(prepared, before)
    if status:
        raise ChildExitError(status)
    last = run / "last.safetensors"
    notes = [("weights", note) for note in standardised(last, settings.spec_hash)]
    return Outcome(
        data={
            "name": settings.name,
            "run": str(run),
            "checkpoint": str(last),
            "result": outcome_of(run) or {},
        },
        written=[*prepared.written, *files_of(run, before)],
        # The script has said what is next to whoever watched it, and so have we of the weights it began with.
        next=_next(settings, last, request.out) if request.quiet else [],
        notes=[*(prepared.notes if request.quiet else ()), *notes],
    )


def _remember(prepared: Prepared, before: Mapping[str, Stamp | None]) -> None:
    """Note the training as what was last done here, if weights have come of it, whatever its end."""
    best, settings = prepared.run / "best.safetensors", prepared.settings
    if stamp(best) not in (None, before[best.name]):
        remember(
            "trained",
            spec=settings.spec,
            spec_sha256=settings.spec_hash,
            out=prepared.folder,
            overrides=settings.overrides,
            weights=best,
        )


def _lacks_place(settings: TrainSettings) -> bool:
    """Whether nothing says where the images lie that are trained on."""
    return settings.path is None and settings.data not in ("digits", "fake")


def _next(settings: TrainSettings, weights: Path, out: Path | None) -> list[str]:
    """What one does with a trained network, as the script says it."""
    words = ["resnet-dsl", "eval", settings.spec]
    for override in settings.overrides:
        words += ["--set", override]
    words += ["--weights", shell_path(weights)]
    options = BuildOptions((), out, settings.overrides, weights=weights)
    return [shlex.join(words), again("build", settings.spec, "onnx", options)]


def _imports(script: str, package: str) -> bool:
    """Whether the script needs a package."""
    return re.search(rf"^\s*(from|import) {package}\b", script, re.M) is not None


def _anew(settings: TrainSettings, out: Path | None) -> str:
    """The command that begins the training from its start."""
    words = ["resnet-dsl", "train", settings.spec]
    for override in settings.overrides:
        words += ["--set", override]
    words += ["--out", shell_path(out)] if out is not None else []
    return shlex.join(words)


def _begun(folder: Path, spec_hash: str) -> str | None:
    """The command that goes on with the other run that is in a folder; None where its spec is not there."""
    kept, trained = folder / RESOLVED, spec_of_state(folder / "run")
    if trained is None or trained == spec_hash or not kept.is_file():
        return None
    try:
        if compile_spec(kept).program.spec_hash != trained:
            return None
    except CompileError:
        return None
    words = ["resnet-dsl", "train", shell_path(kept), "--out", shell_path(folder), "--resume"]
    return shlex.join(words)
