"""`resnet-dsl study`: plan the runs of a study, train them, and show what they have come to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.commands.output import Outcome, shell_path
from resnet_dsl.commands.settings import checked_settings
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.render import safe
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
        return _planned(wanted, rows(out, runs))
    if not options.table:
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


def _planned(wanted: Study, found: Sequence[Row]) -> Outcome:
    """The runs, their states and their costs; nothing is done."""
    cells = [["run", "state", "parameters", "MACs", "MACs of the training"]]
    data: list[dict[str, Any]] = []
    total, known, macs = 0, 0, 0
    for row in found:
        cost = row.case.training_macs
        for one in row.outcomes:
            shown = "not known" if cost is None else f"{cost:.2e}"
            state: str = one.state
            if state == "running":
                state = f"running, {one.folder.claims.holder() or 'elsewhere'}"
            elif state == "failed" and (failure := one.folder.failure()) is not None:
                state = f"failed: {failure.reason}"
            line = [one.run.label, state, f"{row.case.parameters:,}", f"{row.case.macs:,}", shown]
            cells.append(line)
            open_ = one.state != "finished"
            total += open_
            known += open_ and cost is not None
            macs += cost if open_ and cost is not None else 0
            data.append(
                {
                    "id": one.run.id,
                    "axes": dict(row.case.at),
                    "seed": one.run.seed,
                    "state": one.state,
                    "folder": str(one.folder.path),
                    "spec_sha256": one.run.spec_hash,
                    "parameters": row.case.parameters,
                    "macs": row.case.macs,
                    "training_macs": cost,
                }
            )
    lines = [*as_text(cells), ""]
    lines.append(
        f"{len(data)} runs, {total} of them to do"
        + (f": {macs:.2e} MACs in {known} of them" if known else "")
    )
    lines.append("MACs of a training: three times those of its images, a third of it forward.")
    return Outcome(lines, {"study": wanted.name, "runs": data, "training_macs": macs})


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
            failure = one.folder.failure() if one.state == "failed" else None
            if failure is not None:
                outcome.refused.append(
                    Diagnostic(
                        "RD662",
                        f"{one.run.label} has failed",
                        why=failure.reason,
                        hint=f"`--retry` tries it again; what it said is in {shell_path(one.folder.path / 'log.txt')}",
                    )
                )
    return outcome


def _write(
    wanted: Study, out: Path, found: Sequence[Row], outcome: Outcome, responses: dict[str, Any]
) -> None:
    """Write the tables and the figure."""
    import json

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
        for kind, content in drawn.items():
            with files.binary(f"{wanted.name}.{kind}") as file:
                file.write(content)
    outcome.written += files.records


def _say(line: str) -> None:
    """A line of progress: on standard error, since the table is the outcome."""
    print(safe(line), file=sys.stderr, flush=True)
