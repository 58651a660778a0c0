"""`resnet-dsl train`: emit the network and its training script, and run the script."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

from resnet_dsl import __version__
from resnet_dsl.artifacts import Artifacts, output_folder
from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import BuildOptions, again
from resnet_dsl.commands.output import ChildExitError, Outcome, no_option
from resnet_dsl.compiler import Compilation, compile_spec, torch_source
from resnet_dsl.errors import CompileError
from resnet_dsl.language.library import recipe
from resnet_dsl.verify import require

DEFAULT_SPEC = "digits"


def settings_of(
    compilation: Compilation, spec: str | None = None, overrides: Sequence[str] = ()
) -> TrainSettings:
    """The training settings of a spec: its own values over its recipe's. Raises CompileError."""
    section = compilation.spec.train
    if section is None:
        raise CompileError(
            compilation.source.diagnostic(
                "RD102",
                "`train` is missing",
                (),
                why="the spec does not say how to train the network",
                hint="add a `train:` section: a recipe, settings of your own over it, or all of them; "
                "`resnet-dsl list` names the recipes",
            )
        )
    given: dict[str, Any] = {}
    if section.recipe is not None:
        given = recipe(section.recipe, compilation.spec, compilation.source)
    given = section.over(given)
    wanted = [field for field in fields(TrainSettings) if field.name in type(section).model_fields]
    missing = [
        field.name for field in wanted if field.name not in given and field.default is MISSING
    ]
    if missing:
        raise CompileError(
            compilation.source.diagnostic(
                "RD102",
                f"`train` does not say {', '.join(f'`{name}`' for name in missing)}",
                ("train",),
                key=True,
                hint="name a `recipe`, which has every value, and override some",
            )
        )
    values: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in given.items()
    }
    program = compilation.program
    return TrainSettings(
        name=program.name,
        spec=no_option(spec or program.name),
        overrides=tuple(overrides),
        spec_hash=program.spec_hash,
        version=__version__,
        input=program.input,
        classes=program.classes,
        **values,
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
    settings = settings_of(compilation, spec, overrides)
    require("torch", "safetensors", *(["sklearn"] if settings.data == "digits" else []))
    with Artifacts(folder) as artifacts:
        artifacts.text(f"{name}.py", torch_source(compilation))
        artifacts.text("train.py", emit(settings))
    run = folder / "run"
    command = [sys.executable, no_option(folder / "train.py"), f"--out={no_option(run)}"]
    command += ["--resume"] if resume else []
    command += [f"--device={device}"] if device is not None else []
    status = _run(command, quiet=quiet)
    if status:
        raise ChildExitError(status)
    last = run / "last.safetensors"
    return Outcome(
        data={"name": name, "run": str(run), "checkpoint": str(last)},
        written=list(artifacts.records),
        # The script has said what is next to whoever watched it.
        next=[again("build", spec, "onnx", BuildOptions((), out, overrides, weights=last))]
        if quiet
        else [],
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
