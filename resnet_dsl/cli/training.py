"""`train` and `study`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, Out, Overrides, app, perform

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


@app.command()
def train(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC]",
            help="A YAML file, or the name of a bundled spec [digits].",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    override: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was interrupted.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Fine-tune: begin with these weights."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="PLACE", help="Where the images lie on this machine [train.path]."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="cpu, cuda, or cuda:1 [cuda where there is one]."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, help="So many together, each on a GPU of its own [1]."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="RUN",
            help="Repeat a run from its manifest.json, and compare the weights.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Emit the training script of a spec and run it."""

    def action() -> Outcome:
        from resnet_dsl.commands.train_options import TrainRequest
        from resnet_dsl.commands.training import train

        request = TrainRequest(
            spec=spec,
            out=out,
            overrides=tuple(override or ()),
            resume=resume,
            weights=weights,
            data=data,
            device=device,
            processes=processes,
            quiet=as_json,
        )
        if replay is None:
            return train(request)
        from resnet_dsl.commands.replay import repeat

        return repeat(replay, request)

    perform(action, as_json)


@app.command()
def study(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A study of the library, or a YAML file; without, they are listed.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of runs and tables [generated/studies]."),
    ] = None,
    override: Overrides = None,
    axis: Annotated[
        list[str] | None,
        typer.Option("--axis", metavar="AXIS=A,B", help="Only these values: --axis depth=8,14."),
    ] = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seeds", metavar="A,B", help="These seeds instead of the study's."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the runs and their costs, and do nothing.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Only the table and figure of what is finished.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Also train what has failed.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Trainings at a time [1].")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda [cuda where there is one].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train the runs of a study and compare them; what is finished is not trained again."""

    def action() -> Outcome:
        from resnet_dsl.commands.study import StudyOptions, studies, study

        options = StudyOptions(
            out=out,
            overrides=tuple(override or ()),
            axes=tuple(axis or ()),
            seeds=tuple(seeds or ()),
            plan=plan,
            table=table,
            retry=retry,
            jobs=jobs,
            device=device,
        )
        return studies(options) if name is None else study(name, options)

    perform(action, as_json)
