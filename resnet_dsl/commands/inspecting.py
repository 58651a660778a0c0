"""`resnet-dsl inspect`: what a file is, whether it is whole, and what to do with it, without running anything."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.backends.tensorrt.header import unreadable
from resnet_dsl.backends.tensorrt.products import PRODUCTS
from resnet_dsl.commands.output import Outcome, no_option, size, typed
from resnet_dsl.errors import CompileError, Diagnostic

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.compatibility import Machine
    from resnet_dsl.backends.tensorrt.inspection import Inspection
    from resnet_dsl.backends.tensorrt.manifest import Manifest
    from resnet_dsl.backends.tensorrt.messages import Tensor

DAMAGED = 1
"""The exit status for a file that is known and not whole; one that cannot be read is 2."""
_MOST = 8  # numbers of a mean
_SHOWN = 3  # classes, and layers that stayed wide, that are named


def inspect_file(path: Path) -> Outcome:
    """What is known of a file. The outcome has findings, and status 1, where the file is damaged or was altered.

    Raises CompileError: RD001 for a file that cannot be read, RD631 for one that is nothing of ours.
    """
    start = _start(path)
    if any(start.startswith(item.magic) for item in PRODUCTS.values()):
        return _engine(path)
    from resnet_dsl.commands.looking import look_at, named_engine

    engine = named_engine(path, start)
    return look_at(path, start) if engine is None else _engine(engine)


def _start(path: Path) -> bytes:
    try:
        if os.path.isdir(path):
            raise _is_folder(path)
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(22, "it is a device or a pipe, and no file")
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise unreadable(path, error) from error


def _is_folder(path: Path) -> CompileError:
    found = sorted(path.glob("*.engine")) or sorted(path.glob("*/*.engine"))
    hint = f"`resnet-dsl inspect {typed(found[0])}`" if found else "name a file in it"
    return CompileError(Diagnostic("RD001", f"{path} is a folder", hint=hint))


def _engine(path: Path) -> Outcome:
    from resnet_dsl.backends.tensorrt.compatibility import obstacles, this_machine
    from resnet_dsl.backends.tensorrt.inspection import inspect_engine

    found = inspect_engine(path)
    machine = this_machine()
    hindered = obstacles(path, found.header, found.manifest, machine)
    outcome = Outcome(status=DAMAGED, refused=list(found.findings))
    outcome.lines = [*_of_the_file(found), *_of_the_manifest(found)]
    outcome.data = _data(found, machine, hindered)
    if found.findings:
        outcome.next = [_again(found)]
        return outcome
    outcome.lines.append(f"here      {_verdict(machine, hindered)}")
    for item in hindered:
        outcome.lines.append(f"          {item.message}")
        outcome.lines += [f"          → {item.hint}"] if item.hint else []
    outcome.next = _next(found, runs=not hindered)
    return outcome


def _of_the_file(found: Inspection) -> Iterator[str]:
    header = found.header
    yield f"engine    {header.product.title} {header.version}, {size(header.size)}"
    if found.manifest is not None and found.whole == "yes":
        yield f"whole     yes: its SHA-256 is its manifest's, {found.sha256[:16]}…"
    elif found.whole == "by its length":
        yield "whole     as long as its header says; bytes inside it cannot be checked without a manifest"
    elif found.whole == "not known":
        yield "whole     not known: neither its header nor a manifest says how long it should be"
    else:
        yield "whole     no"


def _of_the_manifest(found: Inspection) -> Iterator[str]:
    known = found.manifest
    if known is None:
        yield (
            f"manifest  none that is this engine's: what it computes, in which precision and for which GPUs is "
            f"not known ({found.path.name}.json would say it)"
        )
        return
    engine = known.engine
    yield f"network   {known.spec.name}, compiled by resnet-dsl {known.resnet_dsl}"
    yield f"from      {_hashes(known)}"
    yield f"precision {_precision(known)}"
    yield f"GPUs      {_targets(known)}"
    for profile in engine.profiles:
        yield f"profile   {profile}"
    for tensor in engine.inputs:
        yield f"input     {_tensor(tensor)}"
    for tensor in engine.outputs:
        yield f"output    {_tensor(tensor)}"
    if engine.kernels is not None:
        yield f"kernels   {engine.kernels}"
    yield f"images    {_preparation(known)}"
    yield f"classes   {_classes(known)}"
    if known.calibration is not None:
        about = known.calibration.about or f"{known.calibration.sha256[:16]}…"
        method = f", by {known.calibration.method}" if known.calibration.method else ""
        yield f"measured  on {about}{method}"
    for item in found.companions:
        yield f"beside    {item.name}, {item.role}: {item.state}"
    if not engine.executed:
        yield "executed  not when it was built"


def _hashes(known: Manifest) -> str:
    parts = {"spec": known.spec.sha256, "weights": known.weights.sha256, "ONNX": known.onnx.sha256}
    return ", ".join(f"{name} {digest[:12]}…" for name, digest in parts.items())


def _precision(known: Manifest) -> str:
    engine = known.engine
    rest = f", the rest in {engine.rest}" if engine.rest else ""
    if not engine.wide:
        return engine.precision + rest
    named = [f"{item.what} ({item.precision}: {item.why})" for item in engine.wide[:_SHOWN]]
    more = f", and {len(engine.wide) - _SHOWN} more" if len(engine.wide) > _SHOWN else ""
    return f"{engine.precision}{rest}; wider stayed {', '.join(named)}{more}"


def _targets(known: Manifest) -> str:
    from resnet_dsl.backends.tensorrt.gpus import describe

    said = ", ".join(map(describe, known.engine.capabilities)) or "the one that it was built on"
    level = known.engine.compatibility
    if level.hardware:
        said += f", and others ({level.hardware})"
    if level.version:
        said += "; also in later releases of the same major version"
    return f"{said}; its weights can be replaced (refit)" if known.engine.refit else said


def _tensor(tensor: Tensor) -> str:
    letters = "N?HW"  # of the dimensions that profiles give
    shape = "×".join(
        str(extent) if extent >= 0 else letters[min(axis, 3)]
        for axis, extent in enumerate(tensor.shape)
    )
    return f"{tensor.name}, {tensor.data_type} {shape}"


def _preparation(known: Manifest) -> str:
    """How an image becomes what the network takes; whatever a manifest says besides comes as it stands."""
    said = dict(known.preprocessing or {})
    origin = said.pop("standardised_by", None)
    names = {"resize": "shorter side", "crop": "centre"}
    words = []
    for name, value in said.items():
        between = "×" if name == "crop" else ", "
        if isinstance(value, list):
            words.append(f"{names.get(name, name)} {between.join(map(_number, value[:_MOST]))}")
        elif value is not None:
            words.append(f"{names.get(name, name.replace('_', ' '))} {_number(value)}")
    words[-1:] = [f"{words[-1]} ({origin})"] if words and origin else words[-1:]
    return "; ".join(words)[:300] or "not known how they are prepared"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _classes(known: Manifest) -> str:
    names = known.class_names
    if names is None:
        return "not known by name"
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"


def _verdict(machine: Machine, hindered: list[Diagnostic]) -> str:
    if hindered:
        return "it cannot run on this machine:"
    names = ", ".join(dict.fromkeys(item.name for item in machine.gpus))
    return f"it can run on this machine ({names})"


def _next(found: Inspection, *, runs: bool) -> list[str]:
    """What to type: run it, and compare it with its network; or compare what it was built from, where it cannot run."""
    spec, folder = _spec(found), found.path.parent
    file = None if found.manifest is None else found.manifest.weights.file
    weights = [] if file is None else [f"--weights {typed(Path(file))}"]
    if runs:
        engine = f"--engine {typed(found.path)}"
        checked = " ".join(["resnet-dsl verify", spec, *weights, engine])
        return [*_runners(found), checked]
    graphs = [item.name for item in found.companions if item.name.endswith(".onnx")]
    named = [f"--onnx {typed(folder / name)}" for name in graphs if (folder / name).is_file()]
    return [" ".join(["resnet-dsl verify", spec, *weights, *named])]


def _runners(found: Inspection) -> list[str]:
    """The commands of the programs beside an engine that run just this one."""
    commands = []
    for program in sorted(found.path.parent.glob("run_*.py")):
        with suppress(OSError):
            if found.sha256.encode() in program.read_bytes():
                commands.append(f"python {typed(program)} --benchmark")
    return commands


def _again(found: Inspection) -> str:
    """The command that builds this engine again, as far as it is known."""
    known = found.manifest
    words = ["resnet-dsl compile", _spec(found), "--target tensorrt"]
    if known is not None:
        if known.weights.file is not None:
            words.append(f"--weights {typed(Path(known.weights.file))}")
        words.append(f"--precision {known.engine.precision}")
        if PRODUCTS[known.engine.product].ahead_of_time:
            words.append(f"--gpus {','.join(known.engine.targets)}")
        if known.batch is not None:
            words.append(f"--batch {known.batch}")
    return " ".join(words)


def _spec(found: Inspection) -> str:
    """The spec as one would type it: as it was named, with its overrides, or a bundled one, or to be filled in."""
    from resnet_dsl.catalogue import bundled

    if found.manifest is None:
        return "SPEC"
    known = found.manifest.spec
    named = known.file or (known.name if known.name in bundled() else None)
    if named is None:
        return "SPEC"
    words = [no_option(named)]
    for override in known.overrides:
        words += ["--set", override]
    return shlex.join(words)


def _data(found: Inspection, machine: Machine, hindered: list[Diagnostic]) -> dict[str, object]:
    header = found.header
    return {
        "kind": "engine",
        "file": str(found.path),
        "whole": found.whole,
        "sha256": found.sha256,
        "product": header.product.key,
        "version": header.version,
        "bytes": header.size,
        "declared_bytes": header.declared_size,
        "manifest": None if found.manifest is None else found.manifest.model_dump(mode="json"),
        "beside": [asdict(item) for item in found.companions],
        "here": {
            "runs": not hindered and not found.findings,
            "obstacles": [
                {"code": item.code, "message": item.message, "hint": item.hint} for item in hindered
            ],
            "products": dict(machine.products),
            "gpus": [
                {"name": item.name, "capability": f"sm{item.capability}"} for item in machine.gpus
            ],
        },
    }
