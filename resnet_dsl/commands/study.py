"""`resnet-dsl study`: plan the runs of a study, train them, and show what they have come to."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.commands.output import Outcome, shell_path
from resnet_dsl.commands.settings import checked_settings
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.needs import require
from resnet_dsl.render import safe
from resnet_dsl.studies import costs
from resnet_dsl.studies.child import trainer
from resnet_dsl.studies.figure import draw, installed
from resnet_dsl.studies.outcomes import Row, rows
from resnet_dsl.studies.plan import Choice, Run, plan
from resnet_dsl.studies.schema import Study, find_study, library_studies, read_study
from resnet_dsl.studies.table import (
    as_csv,
    as_data,
    as_markdown,
    as_text,
    crossed,
    listed,
    notes,
)
from resnet_dsl.studies.worker import Options, Worker

DEFAULT_OUT = Path("generated/studies")


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """The options of the command. `axes` are as typed, `depth=8,14`; `seeds` likewise, `0,1`."""

    out: Path | None = None
    overrides: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    plan: bool = False
    table: bool = False
    retry: bool = False
    jobs: int | None = None
    device: str | None = None


def studies(options: StudyOptions) -> Outcome:
    """The studies of the library. Raises CompileError RD702 for options, which need a study."""
    if options != StudyOptions():
        raise CompileError(
            Diagnostic(
                "RD702",
                "no study is named, and options are given",
                why="without a name the studies of the library are listed",
                hint="name one: resnet-dsl study degradation --plan",
            )
        )
    found = library_studies()
    width = max(map(len, found))
    return Outcome(
        [f"{name:<{width}}  {doc}" for name, doc in found.items()],
        {"studies": [{"name": name, "doc": doc} for name, doc in found.items()]},
        next=[f"resnet-dsl study {next(iter(found))} --plan"],
    )


def study(name: str, options: StudyOptions) -> Outcome:
    """Train what is to do of a study, and write its table and its figure.

    With `plan`, only say what would be trained; with `table`, only show what is finished. Raises CompileError.
    """
    _check(options)
    wanted, source = read_study(find_study(name))
    choice = Choice(_axes(options.axes), _seeds(options.seeds), options.overrides)
    runs = plan(wanted, source, choice, checked_settings)
    out = options.out or DEFAULT_OUT
    if options.plan:
        found = rows(out, runs)
        return Outcome(costs.as_lines(found), {"study": wanted.name, "runs": costs.as_data(found)})
    if not options.table:
        digits = any(run.case.settings.get("data") == "digits" for run in runs)
        require("torch", "torchvision", *(["sklearn"] if digits else []))
        trained = Options(options.jobs or 1, options.device, options.retry, trainer())
        Worker(out, trained, _say).work(runs)
    return _shown(wanted, out, runs)


def _check(options: StudyOptions) -> None:
    """Raise CompileError RD702 for options that would do nothing."""
    if options.plan and options.table:
        raise CompileError(
            Diagnostic(
                "RD702",
                "--plan and --table do not go together",
                why="one says what would be trained, the other what is",
                hint="give one of them",
            )
        )
    only = "--plan" if options.plan else "--table"
    unused = {
        "--jobs": options.jobs is not None,
        "--device": options.device is not None,
        "--retry": options.retry,
    }
    for option, given in unused.items():
        if given and (options.plan or options.table):
            raise CompileError(
                Diagnostic(
                    "RD702",
                    f"{option} does nothing with {only}",
                    why="nothing is trained then",
                    hint=f"leave {option} out, or {only}",
                )
            )


def _axes(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`depth=8,14` as {"depth": ("8", "14")}."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        labels = [label.strip() for label in values.split(",")]
        if not name.strip() or not all(labels):
            raise _malformed("--axis", text, "write the axis and its values: --axis depth=8,14,20")
        found[name.strip()] = (*found.get(name.strip(), ()), *labels)
    return found


def _seeds(texts: Sequence[str]) -> tuple[int, ...]:
    """`0,1` as (0, 1)."""
    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise _malformed("--seeds", word, "write whole numbers from 0 on: --seeds 0,1,2")
    return tuple(dict.fromkeys(map(int, words)))


def _malformed(option: str, text: str, hint: str) -> CompileError:
    return CompileError(Diagnostic("RD701", f"{option} {text[:60]!r} cannot be read", hint=hint))


def _shown(wanted: Study, out: Path, runs: Sequence[Run]) -> Outcome:
    """The tables and the figure of what is finished, and which runs are not."""
    found = rows(out, runs)
    outcome = Outcome(data=as_data(wanted, found))
    responses: dict[str, Any] = {}
    if wanted.figure is not None and wanted.figure.kind == "responses":
        from resnet_dsl.studies.responses import measured

        responses = measured(found, _say)
        for case in outcome.data["cases"]:
            for run in case["runs"]:
                layers = responses.get(run["id"], ())
                run["responses"] = [{"layer": one.name, "std": one.deviation} for one in layers]
    for cells in (crossed(wanted, found), listed(wanted, found)):
        outcome.lines += [*as_text(cells), ""] if cells else []
    outcome.lines += notes(found)
    if any(row.finished for row in found):
        _write(wanted, out, found, outcome, responses)
    for row in found:
        for one in row.outcomes:
            if one.state == "running":
                outcome.notes.append(
                    ("elsewhere", f"{one.run.label}: {one.folder.claims.holder() or 'a process'}")
                )
            if one.failure is not None:
                outcome.refused.append(
                    Diagnostic(
                        "RD662",
                        f"{one.run.label} has failed",
                        why=one.failure.reason,
                        hint=f"`--retry` tries it again; what it said is in {shell_path(one.folder.path / 'log.txt')}",
                    )
                )
    return outcome


def _write(
    wanted: Study, out: Path, found: Sequence[Row], outcome: Outcome, responses: dict[str, Any]
) -> None:
    """Write the tables and the figure."""
    drawn = draw(wanted, found, responses) if installed() else {}
    if wanted.figure is not None and not installed():
        outcome.notes.append(
            (
                "figure",
                "there is none, for want of matplotlib: pip install 'resnet-dsl[train]', and --table",
            )
        )
    with Artifacts(out) as files:
        shown = [f"{wanted.name}.{kind}" for kind in drawn if kind == "svg"]
        files.text(f"{wanted.name}.md", as_markdown(wanted, found, shown))
        files.text(f"{wanted.name}.csv", as_csv(wanted, found))
        files.text(f"{wanted.name}.json", json.dumps(outcome.data, indent=2) + "\n")
        if drawn:
            files.text(f"{wanted.name}.svg", drawn["svg"].decode())
            with files.binary(f"{wanted.name}.png") as file:
                file.write(drawn["png"])
    outcome.written += files.records


def _say(line: str) -> None:
    """A line of progress: on standard error, since the table is the outcome. Nothing ends for want of a reader."""
    with suppress(OSError, ValueError):
        print(safe(line), file=sys.stderr, flush=True)
