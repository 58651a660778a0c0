"""The command line's application, and what its commands share. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome

_ORDER = (
    "build",
    "check",
    "describe",
    "list",
    "train",
    "study",
    "eval",
    "compile",
    "verify",
    "bench",
    "inspect",
    "demo",
)


class _InOrder(TyperGroup):
    """Lists the commands in the order of their use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    cls=_InOrder,
    name="resnet-dsl",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A YAML file, or the name of a bundled spec.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value, as in --set stages.0.depth=5."
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to [generated/NAME].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of the weights [0].", show_default=False)
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Weights: safetensors or a torch checkpoint."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from resnet_dsl import __version__

        print(f"resnet-dsl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Compile declarative specs of residual networks to PyTorch, ONNX and TensorRT."""


def perform(action: Callable[[], Outcome], as_json: bool) -> None:
    from resnet_dsl.commands.output import guarded

    if status := guarded(action, as_data=as_json):
        raise typer.Exit(status)
