"""`resnet-dsl train`: emit the network and its training script, and run the script."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM

from resnet_dsl.artifacts import Artifacts, Written, output_folder
from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import BuildOptions, again
from resnet_dsl.commands.output import ChildExitError, Outcome, no_option, shell_path
from resnet_dsl.commands.run import outcome_of, standardised
from resnet_dsl.commands.settings import checked_settings
from resnet_dsl.compiler import compile_spec, torch_source
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.verify import require

DEFAULT_SPEC = "digits"
_OF_A_RUN = (
    "last.safetensors",
    "best.safetensors",
    "state.pt",
    "state.old.pt",
    "metrics.jsonl",
    "result.json",
)


def train(
    spec: str,
    out: Path | None,
    overrides: tuple[str, ...],
    *,
    resume: bool = False,
    device: str | None = None,
    quiet: bool = False,
) -> Outcome:
    """Emit `<name>.py` and `train.py`, and run the latter in a process of its own.

    Raises CompileError, and ChildExitError where the script did not end well.
    """
    compilation = compile_spec(find_spec(spec), overrides)
    name = compilation.spec.name
    folder = output_folder(out, name)
    settings = checked_settings(compilation, spec, overrides, out)
    require("torch", "safetensors", *(["sklearn"] if settings.data == "digits" else []))
    run = folder / "run"
    if resume:
        _check_state(run / "state.pt", settings.spec_hash, _anew(spec, out, overrides))
    with Artifacts(folder) as artifacts:
        artifacts.text(f"{name}.py", torch_source(compilation))
        artifacts.text("train.py", emit(settings))
    before = {name: _stamp(run / name) for name in _OF_A_RUN}
    command = [sys.executable, no_option(folder / "train.py"), f"--out={no_option(run)}"]
    command += ["--resume"] if resume else []
    command += [f"--device={device}"] if device is not None else []
    status = _run(command, quiet=quiet)
    if status:
        raise ChildExitError(status)
    last = run / "last.safetensors"
    return Outcome(
        data={
            "name": name,
            "run": str(run),
            "checkpoint": str(last),
            "result": outcome_of(run) or {},
        },
        written=[*artifacts.records, *_of_run(run, before)],
        # The script has said what is next to whoever watched it.
        next=[again("build", spec, "onnx", BuildOptions((), out, overrides, weights=last))]
        if quiet
        else [],
        notes=[("weights", note) for note in standardised(last, settings.spec_hash)],
    )


def _stamp(file: Path) -> tuple[int, int] | None:
    """What is another once the file has been written; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _of_run(run: Path, before: Mapping[str, tuple[int, int] | None]) -> Iterator[Written]:
    """The files of a run; `before` are their stamps from before it."""
    for name, stamp in before.items():
        file = run / name
        if (now := _stamp(file)) is not None:
            yield Written(file, file.stat().st_size, "unchanged" if now == stamp else "written")


def _anew(spec: str, out: Path | None, overrides: Sequence[str]) -> str:
    """The command that begins the training from its start."""
    words = ["resnet-dsl", "train", no_option(spec)]
    for override in overrides:
        words += ["--set", override]
    words += ["--out", shell_path(out)] if out is not None else []
    return shlex.join(words)


def _check_state(state: Path, spec_hash: str, anew: str) -> None:
    """Raise CompileError RD653 where there is nothing that this training could go on from."""
    begin = f"begin it anew: {anew}"
    if not os.path.exists(state):
        raise CompileError(
            Diagnostic(
                "RD653",
                "there is no training to go on with",
                why=f"there is no `{state}`, which a training writes after each epoch and when it is interrupted",
                hint=begin,
            )
        )
    from resnet_dsl.weights.torch_file import read_objects

    try:
        found = read_objects(state)
    except CompileError as error:
        raise CompileError(
            Diagnostic(
                "RD653",
                "the training cannot go on",
                why="; ".join(item.message for item in error.diagnostics),
                hint=begin,
            )
        ) from error
    of_spec = found.get("spec") if isinstance(found, dict) else None
    if of_spec != spec_hash:
        raise CompileError(
            Diagnostic(
                "RD653",
                "the training cannot go on",
                why=f"`{state}` is of another network or another recipe",
                hint=f"give the spec and the --set that it was begun with; or {begin}",
            )
        )


def _run(command: list[str], *, quiet: bool) -> int:
    """Run the script with this terminal; a signal to us is the script's to answer."""
    with (
        subprocess.Popen(command, stdout=sys.stderr if quiet else None) as child,
        _handed_on(child),
    ):
        status = child.wait()
    if status >= 0:
        return status
    print(f"the training was ended by {signal.Signals(-status).name}", file=sys.stderr)
    return 128 - status


@contextmanager
def _handed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches the child through the terminal already; what else ends a process is passed on, as SIGTERM."""

    def ignore(_number: int, _frame: object) -> None:
        return

    def terminate(_number: int, _frame: object) -> None:
        child.send_signal(SIGTERM)

    endings = [SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, terminate) for number in endings}
    before[SIGINT] = signal.signal(SIGINT, ignore)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
