"""`resnet-dsl train --replay`: repeat a run from its manifest, and compare the weights, to the bit.

The spec is compiled anew from the file that stands beside the script of the run, and has to have the hash that the
manifest says. The training has the seed, the length, the device and the numbers of processes and threads of the run. It
writes a manifest of its own before its first step: where that tells of other data, it is ended at once. At the end the
SHA-256 of the weights decides.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resnet_dsl.commands.launch import INTERRUPTED
from resnet_dsl.commands.output import ChildExitError, Outcome, shell_path
from resnet_dsl.commands.past_run import (
    MANIFEST,
    PastRun,
    past_run,
    sha256_of,
    version_of,
)
from resnet_dsl.commands.run import Stamp, read_json, stamp
from resnet_dsl.commands.train_options import TrainRequest
from resnet_dsl.commands.training import Prepared, prepare, run_script
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.render import safe


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the weights may depend on, and that is not as it was."""

    what: str
    then: object
    now: object

    def __str__(self) -> str:
        then, now = ("none" if each is None else each for each in (self.then, self.now))
        return f"{self.what}: {then} then, {now} now"


def repeat(place: Path, request: TrainRequest) -> Outcome:
    """Repeat the run of a folder, or of a manifest; the outcome is that of the training, with the comparison.

    Raises CompileError: RD702 for options that would make it another run, RD656 where it cannot be repeated, and what
    `train` raises.
    """
    _check(request)
    run = past_run(place)
    wanted = _request(run, request)
    prepared = prepare(wanted, run.compilation)
    watch = _Watch(run, prepared, say=not request.quiet)
    try:
        outcome = run_script(wanted, prepared, watch=watch)
    except ChildExitError as end:
        if watch.refusal is None:
            if end.status in INTERRUPTED and not request.quiet:
                print(f"to go on, and to compare: {_again(place, request)}", file=sys.stderr)
            raise
    watch()  # a training may have ended before it was asked
    if watch.refusal is not None:
        raise CompileError(watch.refusal)
    _judge(run, prepared, watch.differences, outcome)
    return outcome


def _again(place: Path, request: TrainRequest) -> str:
    """The command that goes on with a replay that was interrupted."""
    words = ["resnet-dsl", "train", "--replay", shell_path(place), "--resume"]
    for option, value in (("--out", request.out), ("--data", request.data)):
        words += [option, shell_path(value)] if value is not None else []
    words += ["--device", request.device] if request.device is not None else []
    return shlex.join(words)


def _check(request: TrainRequest) -> None:
    given = {
        "SPEC": request.spec is not None,
        "--set": bool(request.overrides),
        "--weights": request.weights is not None,
        "--processes": request.processes is not None,
    }
    found = [
        Diagnostic(
            "RD702",
            f"--replay and {name} exclude each other",
            why="the run that is repeated says what is trained, and how",
            hint=f"leave {name} out",
        )
        for name, is_given in given.items()
        if is_given
    ]
    if found:
        raise CompileError(found)


def _request(run: PastRun, request: TrainRequest) -> TrainRequest:
    """The same training in another folder. Raises CompileError RD702 where that is the run's own."""
    home = run.home.resolve()
    out = request.out or run.home.parent / f"{home.name}-replay"
    if out.resolve() == home:
        raise CompileError(
            Diagnostic(
                "RD702",
                f"`{out}` is the folder of the run itself",
                why="repeating it there would replace what it is to be compared with",
                hint="give another folder with --out DIR",
            )
        )
    return replace(
        request,
        spec=str(run.spec),
        out=out,
        weights=None if request.resume else run.initial,
        device=request.device or run.device,
        processes=run.processes,
        arguments=(f"--seed={run.seed}", f"--{run.unit}={run.length}"),
        environment={"OMP_NUM_THREADS": str(run.threads)} if run.threads else {},
    )


@dataclass(slots=True)
class _Watch:
    """Compares the manifest that the training writes with that of the run, once it is there; called now and then, it
    says whether the training is to be ended, and then `refusal` says why."""

    run: PastRun
    prepared: Prepared
    say: bool
    before: Stamp | None = field(init=False)
    seen: bool = False
    differences: list[Difference] = field(default_factory=list)
    refusal: Diagnostic | None = None

    def __post_init__(self) -> None:
        self.before = stamp(self.prepared.run / MANIFEST)

    def __call__(self) -> bool:
        file = self.prepared.run / MANIFEST
        if self.seen or stamp(file) in (None, self.before):
            return False
        found = read_json(file)
        if found is None:
            return False
        self.seen = True
        self.refusal = _other_data(self.run, self.prepared, found.get("data"))
        self.differences = [*_other_version(self.run, self.prepared)]
        self.differences += _differences("", self.run.surroundings, found.get("surroundings"))
        if self.say and self.refusal is None:
            for each in self.differences:
                print(safe(f"replay    {each}"), flush=True)
        return self.refusal is not None


def _other_data(run: PastRun, prepared: Prepared, now: object) -> Diagnostic | None:
    """What is wrong where the data are not those of the run."""
    if not isinstance(now, dict) or now == run.data:
        return None
    names = {"train": "the training images", "test": "the test images"}
    wrong = [name for name in now if run.data.get(name) != now[name]]
    told = [
        f"the SHA-256 of {names.get(name, name)} was {str(run.data.get(name))[:12]}…, and is {str(now[name])[:12]}…"
        for name in wrong
    ]
    return Diagnostic(
        "RD656",
        "the data are not those of the run",
        why="; ".join(told),
        hint="name the place of the run's data with --data"
        if prepared.settings.path
        else "install the versions of the packages that `manifest.json` names",
    )


def _other_version(run: PastRun, prepared: Prepared) -> Iterator[Difference]:
    then, now = (version_of(folder / "train.py") for folder in (run.home, prepared.folder))
    if then is not None and then != now:
        yield Difference("resnet-dsl", then, now)


def _differences(name: str, then: Mapping[str, Any], now: object) -> Iterator[Difference]:
    """What of the machine and the versions is not as it was."""
    for key, value in now.items() if isinstance(now, dict) else ():
        if key not in then or then[key] == value:
            continue
        if isinstance(value, dict) and isinstance(then[key], dict):
            yield from _differences(f"{name}{key} ", then[key], value)
        else:
            yield Difference(f"{name}{key}", then[key], value)


def _judge(
    run: PastRun, prepared: Prepared, differences: Sequence[Difference], outcome: Outcome
) -> None:
    """Compare the weights, and say it in the outcome."""
    found = sha256_of(prepared.run / "last.safetensors")
    same = found == run.weights_sha256
    outcome.data["replay"] = {
        "of": str(run.manifest),
        "same_weights": same,
        "weights_sha256": {"then": run.weights_sha256, "now": found},
        "differences": [
            {"what": each.what, "then": each.then, "now": each.now} for each in differences
        ],
    }
    if same:
        outcome.lines.append(f"replay    the same weights, to the bit: SHA-256 {found}")
        return
    why = "; ".join(map(str, differences))
    outcome.status = 1
    outcome.refused.append(
        Diagnostic(
            "RD657",
            "the weights are not those of the run",
            why=f"their SHA-256 was {run.weights_sha256[:12]}…, and is {str(found)[:12]}…; "
            + (why or "the versions and the machine are the same, as far as the manifest tells"),
            hint=f"compare {shell_path(run.manifest.parent / 'metrics.jsonl')} with "
            f"{shell_path(prepared.run / 'metrics.jsonl')} to see where they part",
        )
    )
