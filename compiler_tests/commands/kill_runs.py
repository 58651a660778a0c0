"""Does a run survive kill -9 at any moment? Kills trainings at random, goes on with them, and compares the weights.

    just kill-test                    50 kills of the digits' training, about ten minutes on two cores
    just kill-test --kills 3          fewer
    just kill-test --seed 1           other moments

A kill comes while the program starts, at a random moment of the training, or as soon as a file is being written: each
of the three in turn. When a training has ended in spite of that, its weights, its best weights and its metrics (but for
what depends on the clock) are compared with those of a training that nothing disturbed, and another one begins, until
there were enough kills. The exit status is 0 where all are the same, to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from compiler_tests.commands.running import command, environment
from resnet_dsl.commands.states import STATES, read_state

CLOCK = ("seconds", "images_per_second")
SPEC, OVERRIDES = "digits", ("train.save_minutes=0.001",)
MOMENTS = ("while it starts", "while it trains", "while it writes")
WRITTEN = ("last.safetensors.part", "state.pt.part")
STARTING_S, TRAINING_S, LONGEST_S = 3.0, 1.5, 120.0


@dataclass
class Killed:
    """What has become of the kills: how many, how many of them left a file half-written, and in how many trainings."""

    kills: int = 0
    writing: int = 0
    finished: int = 0
    differing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        trainings = f"{self.finished} training{'s' * (self.finished != 1)}"
        verdict = "; ".join(self.differing) or (
            "the weights, the best weights and the metrics of each are those of the training that nothing "
            "disturbed, to the bit"
        )
        return f"{self.kills} kills in {trainings}, {self.writing} of them in the middle of writing a file: {verdict}"


class BrokenError(Exception):
    """A training could not go on after a kill."""


def outcome(run: Path) -> dict[str, Any]:
    """What has to be the same in two runs: hashes of the weights, and the metrics without what the clock says."""
    found: dict[str, Any] = {
        name: sha256((run / name).read_bytes()).hexdigest()
        for name in ("last.safetensors", "best.safetensors")
    }
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    found["metrics.jsonl"] = [
        {name: value for name, value in line.items() if name not in CLOCK} for line in lines
    ]
    return found


def start(folder: Path, words: Sequence[str], *, resume: bool) -> subprocess.Popen[bytes]:
    """A training in a session of its own, which can be killed as a whole."""
    log = (folder.parent / f"{folder.name}.log").open("ab")
    with log:
        return subprocess.Popen(
            command("train", *words, "--out", folder, *(["--resume"] if resume else [])),
            cwd=folder.parent,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until(
    running: subprocess.Popen[bytes], condition: Callable[[], object], seconds: float
) -> None:
    """Wait until something is so, the training has ended, or the time is over."""
    end = time.monotonic() + seconds
    while running.poll() is None and not condition() and time.monotonic() < end:
        time.sleep(0.0005)


def kill_at(running: subprocess.Popen[bytes], run: Path, moment: str, dice: random.Random) -> bool:
    """Kill a training at a moment; whether it still ran."""

    def stamp() -> int:
        state = run / STATES[0]
        return state.stat().st_mtime_ns if state.exists() else 0

    before, left = stamp(), half_written(run)
    if moment == MOMENTS[0]:
        wait_until(running, lambda: False, dice.uniform(0, STARTING_S))
    else:
        wait_until(running, lambda: stamp() != before, LONGEST_S)
        wait_until(running, lambda: False, dice.uniform(0, TRAINING_S))
        if moment == MOMENTS[2]:
            aim = dice.choice(WRITTEN)
            wait_until(
                running, lambda: aim in {name for name, _ in half_written(run) - left}, LONGEST_S
            )
    if running.poll() is not None:
        return False
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return True


def half_written(run: Path) -> set[tuple[str, int]]:
    """The files that are being written, or were when a training was killed: names and times."""
    found = set()
    for file in run.glob("*.part"):
        with suppress(FileNotFoundError):
            found.add((file.name, file.stat().st_mtime_ns))
    return found


def check_whole(run: Path) -> int | None:
    """The iteration that the run goes on from, after a kill; None where nothing was saved. Raises BrokenError."""
    if not any((run / name).exists() for name in STATES):
        return None
    wrong = []
    for name in STATES:
        try:
            return int(read_state(run / name)["iteration"])
        except ValueError as error:
            wrong.append(f"{name} {error}")
    raise BrokenError("; ".join(wrong))


def kill_runs(
    folder: Path,
    kills: int,
    *,
    words: Sequence[str],
    dice: random.Random,
    say: Callable[[str], None],
) -> Killed:
    """Disturb trainings by so many kills. Raises BrokenError where one cannot go on, or does not end well."""
    say("a training that nothing disturbs")
    begun = time.monotonic()
    whole = start(folder / "whole", words, resume=False)
    if status := whole.wait():
        raise BrokenError(f"it ended with status {status}: see {folder / 'whole.log'}")
    say(f"took {time.monotonic() - begun:.0f} s")
    expected = outcome(folder / "whole/run")
    found = Killed()
    while found.kills < kills or found.finished == 0:
        number = found.finished + 1
        out = folder / f"killed{number}"
        resume = False
        while True:
            left = half_written(out / "run")
            running = start(out, words, resume=resume)
            if found.kills < kills:
                moment = MOMENTS[found.kills % len(MOMENTS)]
                if kill_at(running, out / "run", moment, dice):
                    found.kills += 1
                    parts = sorted(name for name, _ in half_written(out / "run") - left)
                    found.writing += bool(parts)
                    iteration = check_whole(out / "run")
                    resume = iteration is not None
                    since = "nothing saved" if iteration is None else f"iteration {iteration} saved"
                    say(
                        f"kill {found.kills}/{kills} of training {number}, {moment}: "
                        f"{', '.join([since, *(f'{name} left' for name in parts)])}"
                    )
                    continue
            if status := running.wait():
                raise BrokenError(f"training {number} ended with status {status}: see {out}.log")
            break
        found.finished += 1
        differing = [
            name for name, value in outcome(out / "run").items() if value != expected[name]
        ]
        if differing:
            found.differing.append(f"training {number} has another {', '.join(differing)}")
        say(f"training {number} has ended: {'another' if differing else 'the same'} outcome")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    description, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="just kill-test",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="how many [50]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments [0]")
    options = parser.parse_args(arguments)
    words = [SPEC, *(part for override in OVERRIDES for part in ("--set", override))]
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="resnet_dsl_kills_") as folder:
        try:
            found = kill_runs(
                Path(folder), options.kills, words=words, dice=random.Random(options.seed), say=say
            )
        except BrokenError as error:
            print(f"a training did not survive: {error}", file=sys.stderr)
            return 1
    print(found)
    return 1 if found.differing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
