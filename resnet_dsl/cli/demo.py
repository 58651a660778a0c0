"""`demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, app, perform

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")] = Path(
        "generated"
    ),
    as_json: AsJson = False,
) -> None:
    """The main job end to end: build, train on digits, ONNX, engine, and a summary."""

    def action() -> Outcome:
        from resnet_dsl.commands.demo import demo

        return demo(out, quiet=as_json)

    perform(action, as_json)
