"""`inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, app, perform

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An engine; or ONNX, weights, a manifest.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a file is, and whether an engine is whole; needs neither TensorRT nor a GPU."""

    def action() -> Outcome:
        from resnet_dsl.commands.inspecting import inspect_file

        return inspect_file(file)

    perform(action, as_json)
